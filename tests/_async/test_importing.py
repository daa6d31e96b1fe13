"""Importing conversations by a public call."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from chatmemory import AsyncChatMemory, AsyncTenant, ImportedConversation, InvalidInputError
from tests.cli.test_import import conversation, lunch, node


async def imported(tenant: AsyncTenant, value: Any, **users: Any) -> list[ImportedConversation]:
    """Import a value as a file, and return the outcome."""
    file = io.BytesIO(value if isinstance(value, bytes) else json.dumps(value).encode())
    return [result async for result in tenant.import_conversations(file, **users)]


async def test_each_conversation_has_a_result(async_memory: AsyncChatMemory) -> None:
    """Imported, skipped for a reason, or refused with one; a second import adds nothing."""
    acme = async_memory.tenant("acme")
    alien = conversation("alien", node("a", None, "user", "x"), {"id": "b", "parent": "b", "message": {}})
    file = [lunch(), conversation("empty"), alien]
    results = await imported(acme, file, user_id="ann")
    assert [(each.id, each.outcome, each.messages) for each in results] == [
        ("lunch", "imported", 3),
        ("empty", "empty", 0),
        ("alien", "refused", 0),
    ]
    assert "ancestor" in (results[2].reason or "")
    session = await acme.sessions.get("lunch", user_id="ann")
    assert session.info.status == "completed"
    grown = lunch(node("more", "thanks", "user", "More?"))
    again = await imported(acme, [lunch(), grown], user_id="ann")
    assert [(each.outcome, each.messages, each.new_messages) for each in again] == [
        ("unchanged", 0, 0),
        ("grown", 1, 1),
    ]


async def test_whose_an_imported_conversation_is(async_memory: AsyncChatMemory, tmp_path: Path) -> None:
    """The named user's, else the file's, else the default user's, else it is refused."""
    acme, other = async_memory.tenant("acme"), async_memory.tenant("other")
    [refused] = await imported(acme, [lunch()])
    assert "user_id" in (refused.reason or "")
    await imported(acme, [lunch()], default_user_id="ben")
    export = await (await acme.sessions.get("lunch", user_id="ben")).export()
    path = tmp_path / "lunch.json"
    path.write_text(export)
    assert [each.outcome async for each in other.import_conversations(path, default_user_id="cid")] == ["imported"]
    assert (await other.sessions.get("lunch", user_id="ben")).info.message_count == 3
    third = async_memory.tenant("third")
    assert [each.outcome async for each in third.import_conversations(str(path), user_id="dan")] == ["imported"]
    assert (await third.sessions.get("lunch")).info.user_id == "dan"


async def test_a_broken_file_keeps_what_came_before(async_memory: AsyncChatMemory) -> None:
    """The results before the break are given, then the error says where it is."""
    acme = async_memory.tenant("acme")
    broken = json.dumps([lunch(), conversation("tea", node("a", None, "user", "Tea?"))]).encode()[:-30]
    results = acme.import_conversations(io.BytesIO(broken), user_id="ann")
    assert (await anext(results)).id == "lunch"
    with pytest.raises(InvalidInputError, match=f"at byte {len(broken):,}"):
        await anext(results)
    assert (await acme.sessions.get("lunch")).info.message_count == 3


@pytest.mark.parametrize("wrong", ["session", "message"])
async def test_a_field_that_is_missing_is_named(async_memory: AsyncChatMemory, wrong: str) -> None:
    """An export is read by its records; for a missing field the error says where."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann", session_id="s")
    await session.append("user", "Hello")
    document = json.loads(await session.export())
    del (document["session"] if wrong == "session" else document["messages"][0])["created_at"]
    place = "The session in the file" if wrong == "session" else "Message 1 in the file"
    with pytest.raises(InvalidInputError, match=f"{place} cannot be read: .*'created_at'"):
        await imported(async_memory.tenant("other"), document)


async def exported(tenant: AsyncTenant) -> list[str]:
    """The lines of a whole tenant."""
    return [line async for line in tenant.export()]


async def tenant_with_data(memory: AsyncChatMemory) -> AsyncTenant:
    """A tenant with conversations of two users, a run, a deleted session, a memory and an item."""
    acme = memory.tenant("acme")
    for user in ("ann", "bob"):
        session = await acme.sessions.create(user_id=user, session_id=f"of {user}")
        await session.append_many([{"role": "user", "content": f"{n} {user}"} for n in range(3)])
    run = await acme.sessions.create(user_id="ann", session_id="run", kind="training")
    await run.move("running", reason="go")
    run.log_metrics({"loss": 0.5}, step=1)
    await run.append("user", "Train it.")
    await run.end(results={"rmse": 1})
    await (await acme.sessions.create(user_id="ann", session_id="gone")).delete()
    await acme.memories.remember("Likes tea.", user_id="ann")
    await acme.items.put(("a",), "k", {"v": 1})
    return acme


async def test_the_lines_of_a_tenant(async_memory: AsyncChatMemory) -> None:
    """Its sessions are imported with their users, messages, moves and metrics; a deleted one stays away."""
    acme, other = await tenant_with_data(async_memory), async_memory.tenant("other")
    lines = "\n".join(await exported(acme)).encode()
    results = await imported(other, lines)
    assert [(each.id, each.outcome, each.messages) for each in results] == [
        ("of ann", "imported", 3),
        ("of bob", "imported", 3),
        ("run", "imported", 1),
        ("gone", "refused", 0),
    ]
    for id in ("of ann", "of bob", "run"):
        ours, theirs = await acme.sessions.get(id), await other.sessions.get(id)
        assert ours.info.user_id == theirs.info.user_id
        assert await ours.history() == await theirs.history()
    assert [tuple(curve) for curve in (await theirs.metrics()).values()] == [
        tuple(curve) for curve in (await ours.metrics()).values()
    ]
    moves = theirs.info.metadata["imported"]["status_history"]
    assert (moves[0]["old"], moves[0]["new"], moves[0]["reason"]) == ("pending", "running", "go")
    assert theirs.info.results == {"rmse": 1}
    again = await imported(other, lines)
    assert [each.outcome for each in again] == ["unchanged", "unchanged", "unchanged", "refused"]


async def test_the_lines_of_one_session(async_memory: AsyncChatMemory) -> None:
    """The lines of a session and of a user are read likewise."""
    acme = await tenant_with_data(async_memory)
    lines = [line async for line in (await acme.sessions.get("of bob")).export_lines()]
    assert [each.id for each in await imported(async_memory.tenant("b"), "\n".join(lines).encode())] == ["of bob"]
    lines = [line async for line in acme.users.export("bob")]
    assert [each.id for each in await imported(async_memory.tenant("c"), "\n".join(lines).encode())] == ["of bob"]


async def test_broken_lines(async_memory: AsyncChatMemory) -> None:
    """A bad record refuses its session and no other one; broken JSON ends the import and says where."""
    acme, other = await tenant_with_data(async_memory), async_memory.tenant("other")
    lines = await exported(acme)
    records = [json.loads(line) for line in lines]
    bad = next(index for index, each in enumerate(records) if each["record"] == "message")
    del records[bad]["created_at"]
    results = await imported(other, "\n".join(map(json.dumps, records)).encode())
    assert [each.outcome for each in results] == ["refused", "imported", "imported", "refused"]
    assert "'created_at'" in (results[0].reason or "")
    cut = "\n".join([*lines[: bad + 6], lines[bad + 6][:-10]]).encode()
    results_so_far = async_memory.tenant("third").import_conversations(io.BytesIO(cut))
    assert (await anext(results_so_far)).id == "of ann"
    with pytest.raises(InvalidInputError, match=f"not valid JSON at byte {len(cut):,}"):
        [each async for each in results_so_far]
    for head in (b'{"record": "export", "format": "chatmemory/9"}', b'{"record": "session"}', b'{"record"'):
        with pytest.raises(InvalidInputError):
            await imported(other, head)
