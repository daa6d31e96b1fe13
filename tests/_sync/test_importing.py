# Generated from tests/_async/test_importing.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Importing conversations by a public call."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from chatmemory import ChatMemory, ImportedConversation, InvalidInputError, Tenant
from tests.cli.test_import import conversation, lunch, node


def imported(tenant: Tenant, value: Any, **users: Any) -> list[ImportedConversation]:
    """Import a value as a file, and return the outcome."""
    file = io.BytesIO(value if isinstance(value, bytes) else json.dumps(value).encode())
    return [result for result in tenant.import_conversations(file, **users)]


def test_each_conversation_has_a_result(memory: ChatMemory) -> None:
    """Imported, skipped for a reason, or refused with one; a second import adds nothing."""
    acme = memory.tenant("acme")
    alien = conversation("alien", node("a", None, "user", "x"), {"id": "b", "parent": "b", "message": {}})
    file = [lunch(), conversation("empty"), alien]
    results = imported(acme, file, user_id="ann")
    assert [(each.id, each.outcome, each.messages) for each in results] == [
        ("lunch", "imported", 3),
        ("empty", "empty", 0),
        ("alien", "refused", 0),
    ]
    assert "ancestor" in (results[2].reason or "")
    session = acme.sessions.get("lunch", user_id="ann")
    assert session.info.status == "completed"
    grown = lunch(node("more", "thanks", "user", "More?"))
    again = imported(acme, [lunch(), grown], user_id="ann")
    assert [(each.outcome, each.messages, each.new_messages) for each in again] == [
        ("unchanged", 0, 0),
        ("grown", 1, 1),
    ]


def test_whose_an_imported_conversation_is(memory: ChatMemory, tmp_path: Path) -> None:
    """The named user's, else the file's, else the default user's, else it is refused."""
    acme, other = memory.tenant("acme"), memory.tenant("other")
    [refused] = imported(acme, [lunch()])
    assert "user_id" in (refused.reason or "")
    imported(acme, [lunch()], default_user_id="ben")
    export = acme.sessions.get("lunch", user_id="ben").export()
    path = tmp_path / "lunch.json"
    path.write_text(export)
    assert [each.outcome for each in other.import_conversations(path, default_user_id="cid")] == ["imported"]
    assert other.sessions.get("lunch", user_id="ben").info.message_count == 3
    third = memory.tenant("third")
    assert [each.outcome for each in third.import_conversations(str(path), user_id="dan")] == ["imported"]
    assert third.sessions.get("lunch").info.user_id == "dan"


def test_a_broken_file_keeps_what_came_before(memory: ChatMemory) -> None:
    """The results before the break are given, then the error says where it is."""
    acme = memory.tenant("acme")
    broken = json.dumps([lunch(), conversation("tea", node("a", None, "user", "Tea?"))]).encode()[:-30]
    results = acme.import_conversations(io.BytesIO(broken), user_id="ann")
    assert next(results).id == "lunch"
    with pytest.raises(InvalidInputError, match=f"at byte {len(broken):,}"):
        next(results)
    assert acme.sessions.get("lunch").info.message_count == 3


@pytest.mark.parametrize("wrong", ["session", "message"])
def test_a_field_that_is_missing_is_named(memory: ChatMemory, wrong: str) -> None:
    """An export is read by its records; for a missing field the error says where."""
    session = memory.tenant("acme").sessions.create(user_id="ann", session_id="s")
    session.append("user", "Hello")
    document = json.loads(session.export())
    del (document["session"] if wrong == "session" else document["messages"][0])["created_at"]
    place = "The session in the file" if wrong == "session" else "Message 1 in the file"
    with pytest.raises(InvalidInputError, match=f"{place} cannot be read: .*'created_at'"):
        imported(memory.tenant("other"), document)
