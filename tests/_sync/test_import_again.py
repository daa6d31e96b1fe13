# Generated from tests/_async/test_import_again.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Second imports, the dates of imported sessions, and the archives in which exports are downloaded."""

import io
import json
import os
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_STORED, ZipFile

import pytest

from chatmemory import (
    ChatMemory,
    Conversation,
    ImportedConversation,
    InvalidInputError,
    NewMessage,
    Tenant,
)
from tests.cli.test_import import conversation, lunch, node

LONG_AGO = datetime(2019, 5, 1, 12, 30, 0, 123456, UTC)
MORE = node("more", "thanks", "user", "More?", create_time=1_710_000_000.0)


def imported(tenant: Tenant, value: Any, **whose: Any) -> list[ImportedConversation]:
    """Import a value as a file."""
    file = io.BytesIO(value if isinstance(value, bytes) else json.dumps(value).encode())
    return [result for result in tenant.import_conversations(file, **{"user_id": "ann", **whose})]


def archive(files: dict[str, Any], compression: int = ZIP_DEFLATED) -> bytes:
    """An archive with these files."""
    made = io.BytesIO()
    with ZipFile(made, "w", compression) as target:
        for name, value in files.items():
            target.writestr(name, value if isinstance(value, (bytes, str)) else json.dumps(value))
    return made.getvalue()


def test_a_session_keeps_the_date_it_is_given(memory: ChatMemory) -> None:
    """To the microsecond, in lists too; once ended, its last activity is that of its newest message."""
    sessions = memory.tenant("acme").sessions
    session = sessions.create(user_id="ann", session_id="s-1", created_at=LONG_AGO)
    assert (session.info.created_at, session.info.is_active) == (LONG_AGO, True)
    said = LONG_AGO + timedelta(hours=1)
    session.append("user", "Soup or salad?", created_at=said)
    assert [message.seq for message in session.context()] == [1]
    session.end()
    sessions.create(user_id="ann")
    listed = sessions.list(order="created")
    assert [info.created_at == LONG_AGO for info in listed] == [False, True]
    assert listed[1].last_active_at == said
    assert [info.id for info in sessions.list(created_before=LONG_AGO + timedelta(days=1))] == ["s-1"]
    assert session.fork().info.created_at > said
    for wrong in (datetime.now(UTC) + timedelta(days=9), datetime(2020, 1, 1), "2020"):  # that is the point
        with pytest.raises(InvalidInputError, match="created_at"):
            sessions.create(user_id="ann", created_at=wrong)  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("cached", [True, False])
def test_a_handle_knows_its_session_from_a_later_one_with_the_same_date(
    memory: ChatMemory, redis_url: str, cached: bool
) -> None:
    """Erased, and created again under the same id with the same date for another: the old handle gets nothing of it."""
    settings = memory.settings.model_copy(update={"redis_url": None})
    with ChatMemory.open(settings=settings, redis=redis_url if cached else None) as memory:
        sessions = memory.tenant("acme").sessions
        anns = sessions.create(user_id="ann", session_id="s-1", created_at=LONG_AGO)
        anns.append("user", "of ann")
        anns.erase()
        bobs = sessions.create(user_id="bob", session_id="s-1", created_at=LONG_AGO)
        bobs.append("user", "of bob")
        assert [message.text for message in bobs.context()] == ["of bob"]
        for act in (anns.context, anns.refresh, anns.end, anns.erase, anns.delete, anns.events, anns.reopen, anns.fork):
            with pytest.raises(LookupError):
                act()
        with pytest.raises(LookupError):
            anns.append("user", "mine")
        assert [message.text for message in bobs.history()] == ["of bob"]


def test_imported_sessions_keep_their_dates(memory: ChatMemory) -> None:
    """Of ChatGPT's, Claude's and our own exports, conversations and runs."""
    acme, other = memory.tenant("acme"), memory.tenant("other")
    imported(acme, [lunch()])
    claude = {"uuid": "c-1", "created_at": "2021-03-04T05:06:07Z", "chat_messages": [
        {"uuid": "m-1", "sender": "human", "text": "Hi", "created_at": "2021-03-04T05:06:08Z"}
    ]}  # fmt: skip
    imported(acme, [claude])
    run = acme.sessions.create(user_id="ann", session_id="run-1", kind="training", created_at=LONG_AGO)
    run.move("running")
    run.end(results={"rmse": 1})
    run_at = run.refresh().last_active_at
    for id, created, active in (
        ("lunch", datetime.fromtimestamp(1_600_000_000, UTC), datetime.fromtimestamp(1_700_000_000.5, UTC)),
        ("c-1", datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC), datetime(2021, 3, 4, 5, 6, 8, tzinfo=UTC)),
        ("run-1", LONG_AGO, run_at),
    ):
        session = acme.sessions.get(id)
        assert (session.info.created_at, session.info.last_active_at) == (created, active)
        imported(other, session.export().encode())
        copy = other.sessions.get(id).info
        assert (copy.created_at, copy.last_active_at) == (created, active)
    future = conversation("future", node("a", None, "user", "Hi"), create_time=9e9)
    assert [each.outcome for each in imported(acme, [future])] == ["imported"]


def test_a_grown_file_adds_what_is_new(memory: ChatMemory) -> None:
    """It is added to the ended session, which ends again; only that is learnt, and its dates are those of the file."""
    acme = memory.tenant("acme")
    imported(acme, [lunch()])
    memory.run_due()
    for expected in (["grown"], ["unchanged"]):
        assert [each.outcome for each in imported(acme, [lunch(MORE)])] == expected
    session = acme.sessions.get("lunch")
    assert [message.id for message in session.history()] == ["ask", "answer", "thanks", "more"]
    assert session.info.status == "completed"
    assert session.info.last_active_at == datetime.fromtimestamp(1_710_000_000, UTC)
    memory.run_due()
    episodes = acme.memories.list(user_id="ann", kinds=["episode"])
    assert len({source.from_seq for each in episodes for source in each.sources}) == len(episodes)


def test_a_grown_file_does_not_end_what_goes_on_here(memory: ChatMemory) -> None:
    """A session that was continued here since gets the new messages, and stays active."""
    acme = memory.tenant("acme")
    imported(acme, [lunch()])
    session = acme.sessions.get("lunch")
    session.reopen()
    session.append("user", "Here again", message_id="here")
    assert [each.outcome for each in imported(acme, [lunch(MORE)])] == ["grown"]
    assert session.refresh().is_active
    assert [message.id for message in session.history()][-2:] == ["here", "more"]


def test_a_grown_file_adds_nothing_to_another_users_session(memory: ChatMemory) -> None:
    """Bob imports what Ann has imported, with a message more: hers stays as it is; the default user is no claim."""
    acme = memory.tenant("acme")
    imported(acme, [lunch()])
    [refused] = imported(acme, [lunch(MORE)], user_id="bob")
    assert (refused.outcome, "another user" in (refused.reason or "")) == ("refused", True)
    info = acme.sessions.get("lunch").info
    assert (info.message_count, info.status) == (3, "completed")
    assert [each.outcome for each in imported(acme, [lunch(MORE)], user_id=None, default_user_id="bob")] == ["grown"]


def test_a_grown_run_is_refused(memory: ChatMemory) -> None:
    """A run that has ended takes no more messages."""
    acme, other = memory.tenant("acme"), memory.tenant("other")
    run = acme.sessions.create(user_id="ann", session_id="run-1", kind="training")
    run.append("user", "Go")
    imported(other, run.export().encode())
    run.append("user", "Go on")
    document = json.loads(run.export())
    with pytest.raises(Exception, match="a run that has ended"):
        imported(other, document)


@pytest.mark.parametrize("compression", [ZIP_STORED, ZIP_DEFLATED])
def test_an_archive_as_it_is_downloaded(memory: ChatMemory, compression: int) -> None:
    """The conversations of all its parts, in order, and nothing else of it."""
    parts = {f"export/conversations-{n}.json": [conversation(f"c-{n}", node("a", None, "user", "Hi"))] for n in (2, 10)}
    rest = {"export/chat.html": "<html>", "export/user.json": {"id": 1}, "__MACOSX/export/._conversations.json": b"\0"}
    results = imported(memory.tenant("acme"), archive({**rest, **parts}, compression))
    assert [(each.id, each.outcome) for each in results] == [("c-2", "imported"), ("c-10", "imported")]
    acme, other = memory.tenant("acme"), memory.tenant("other")
    ours = [acme.sessions.get(id).export() for id in ("c-2", "c-10")]
    results = imported(other, archive({"a.json": ours[0], "b.json": ours[1]}, compression))
    assert [each.id for each in results] == ["c-2", "c-10"]


def damaged(value: bytes) -> bytes:
    """The same archive, whose packed data is not what its checksum says."""
    at = value.index(b"conversations.json") + 25
    return value[:at] + bytes(byte ^ 0xFF for byte in value[at : at + 20]) + value[at + 20 :]


def encrypted(value: bytes) -> bytes:
    """The same archive, said to be encrypted."""
    at = value.rindex(b"PK\x01\x02")
    return value[: at + 8] + struct.pack("<H", 1) + value[at + 10 :]


def endless(value: bytes) -> bytes:
    """The same archive with a list of files that is said to be long."""
    at = value.rindex(b"PK\x05\x06")
    return value[: at + 12] + struct.pack("<I", 2**31) + value[at + 16 :]


NOISE = [conversation("c", node("a", None, "user", os.urandom(2000).hex()))]
HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "a bomb": (lambda: archive({"conversations.json": b"[" + b" " * 11_000_000 + b"]"}), "100 times"),
    "a bomb beside a picture": (
        lambda: archive({"conversations.json": b"[" + b" " * 11_000_000 + b"]", "a.jpg": os.urandom(200_000)}),
        "100 times",
    ),
    "many small bombs": (
        lambda: archive({f"conversations-{n}.json": b"[" + b" " * 2_000_000 + b"]" for n in range(6)}), "100 times"
    ),
    "damaged": (lambda: damaged(archive({"conversations.json": NOISE})), "damaged"),
    "cut off": (lambda: archive({"conversations.json": NOISE})[:-30], "damaged"),
    "encrypted": (lambda: encrypted(archive({"conversations.json": NOISE})), "encrypted"),
    "unusual": (lambda: archive({"conversations.json": NOISE}, ZIP_BZIP2), "unusual"),
    "too many files": (lambda: endless(archive({"conversations.json": NOISE})), "too many"),
    "nothing of ours": (lambda: archive({"holiday.jpg": b"\xff"}), "no conversations.json"),
    "empty": (lambda: archive({}), "no conversations.json"),
    "no JSON": (lambda: archive({"conversations.json": b"[{]"}), "conversations.json in the archive: .*byte"),
    "deep": (lambda: archive({"conversations.json": b"[" * 100_000}), "deeper"),
    "an archive in it": (lambda: archive({"conversations.json": archive({"conversations.json": NOISE})}), "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_archive_is_refused(memory: ChatMemory, what: str) -> None:
    """Bounded before it is unpacked, with an error that says why; nothing is imported."""
    make, why = HOSTILE[what]
    with pytest.raises(InvalidInputError, match=why):
        imported(memory.tenant("acme"), make())
    assert len(memory.tenant("acme").sessions.list()) == 0


def test_a_session_that_was_begun_here_gets_nothing(memory: ChatMemory) -> None:
    """A conversation that has its id by chance is refused; one with the same messages is unchanged."""
    acme = memory.tenant("acme")
    acme.sessions.create(user_id="ann", session_id="thread")
    other = Conversation(
        id="thread", source="ours", origin={}, messages=[NewMessage("user", "Hi", "m-1")], status="expired"
    )
    [result] = [each for each in acme.import_conversations([other], user_id="ann")]
    assert (result.outcome, result.reason) == (
        "refused",
        "a session with its id was begun here and has other messages; nothing was added",
    )
    acme.sessions.get("thread").append("user", "Hi", message_id="m-1")
    again = replace(other, messages=[NewMessage("user", "Hi", "m-1")])
    [result] = [each for each in acme.import_conversations([again], user_id="ann")]
    assert result.outcome == "unchanged"
    [result] = [each for each in acme.import_conversations([again], user_id="eve")]
    assert (result.outcome, "belongs to another user" in str(result.reason)) == ("refused", True)
