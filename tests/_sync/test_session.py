# Generated from tests/_async/test_session.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chatmemory import (
    ChatMemory,
    InvalidInputError,
    MessageConflictError,
    NewMessage,
    Session,
    SessionEndedError,
    SessionLimitError,
    SessionNotFoundError,
    Settings,
)
from tests.helpers import calls


def begin(memory: ChatMemory) -> Session:
    """A session of its own."""
    return memory.tenant("acme").sessions.create(user_id="ann")


def test_append_returns_what_is_stored(memory: ChatMemory) -> None:
    """The message that append returns equals the one in history, in every field."""
    session = begin(memory)
    first = session.append("human", "Hello", metadata={"b": 1e22, "a": -0.0})
    second = session.append("ai", [{"type": "text", "text": "Hi"}], message_id="m-2")
    assert [first.seq, second.seq] == [1, 2]
    assert [first.role, second.role] == ["user", "assistant"]
    assert session.history() == [first, second]
    assert list(first.metadata) == ["b", "a"]
    assert second.text == "Hi"


def test_append_many_keeps_the_order(memory: ChatMemory) -> None:
    """Messages appended together stand in the order given, with contiguous seq."""
    session = begin(memory)
    stored = session.append_many(
        [{"role": "user", "content": str(n)} if n % 2 else NewMessage("assistant", str(n)) for n in range(50)]
    )
    assert [message.seq for message in stored] == list(range(1, 51))
    assert [message.content for message in session.history(50)] == [str(n) for n in range(50)]


def test_append_many_is_all_or_nothing(memory: ChatMemory) -> None:
    """One bad message, or one conflict, keeps all of them out."""
    session = begin(memory)
    session.append("user", "first", message_id="taken")
    with pytest.raises(InvalidInputError, match="message 1"):
        session.append_many([{"role": "user", "content": "good"}, {"role": "robot", "content": "bad"}])
    with pytest.raises(MessageConflictError, match="taken"):
        session.append_many(
            [{"role": "user", "content": "good"}, {"role": "user", "content": "other", "message_id": "taken"}]
        )
    assert [message.content for message in session.history()] == ["first"]
    assert session.refresh().message_count == 1


def test_an_empty_append_many_does_nothing(memory: ChatMemory) -> None:
    """Nothing to append is not an error."""
    session = begin(memory)
    assert session.append_many([]) == []


def test_the_same_id_again_returns_the_stored_message(memory: ChatMemory) -> None:
    """Appending again adds nothing, alone, in a batch, and twice in one batch."""
    session = begin(memory)
    first = session.append("user", "Hello", message_id="m-1")
    assert session.append("user", "Hello", message_id="m-1") == first
    again, new, twice = session.append_many(
        [
            {"role": "user", "content": "Hello", "message_id": "m-1"},
            {"role": "assistant", "content": "Hi", "message_id": "m-2"},
            {"role": "assistant", "content": "Hi", "message_id": "m-2"},
        ]
    )
    assert (again, new.seq, twice) == (first, 2, new)
    assert session.refresh().message_count == 2


def test_a_repeated_append_is_recognisable(memory: ChatMemory) -> None:
    """was_stored says which messages of an append stood there before; it is no part of the record."""
    session = begin(memory)
    first = session.append("user", "Hello", message_id="m-1")
    again = session.append("user", "Hello", message_id="m-1")
    assert (first.was_stored, again.was_stored) == (False, True)
    assert again.to_dict() == first.to_dict()
    batch = [
        NewMessage("user", "Hello", "m-1"),
        NewMessage("assistant", "Hi", "m-2"),
        NewMessage("assistant", "Hi", "m-2"),
        NewMessage("user", "Hello"),
    ]
    assert [message.was_stored for message in session.append_many(batch)] == [True, False, False, False]
    assert [message.was_stored for message in session.append_many(batch)] == [True, True, True, False]
    assert not any(message.was_stored for message in session.history())
    assert not any(message.was_stored for message in session.context())


def test_the_same_id_in_an_ended_session_is_still_answered(memory: ChatMemory) -> None:
    """A retry that comes after the end gets the stored message; a new message is refused."""
    session = begin(memory)
    first = session.append("user", "Hello", message_id="m-1")
    session.end()
    assert session.append("user", "Hello", message_id="m-1") == first
    with pytest.raises(SessionEndedError, match=session.id):
        session.append("user", "More")


def test_what_stands_there_is_what_comes_back(memory: ChatMemory) -> None:
    """The answer to a repeated id is the stored message, whatever metadata came with the repetition."""
    session = begin(memory)
    stored = session.append("user", [{"n": 1}], message_id="m-1", metadata={"a": 1})
    again = session.append("user", [{"n": 1.0}], message_id="m-1", metadata={"b": 2})
    assert repr(again.content) == repr(stored.content)
    assert again == stored


def test_an_append_that_adds_nothing_changes_nothing(memory: ChatMemory) -> None:
    """A retry leaves no trace in the session, in a running and in an ended one; the handle agrees with the database."""
    session = begin(memory)
    session.append("user", "Hello", message_id="m-1")
    for prepare in calls(lambda: session.refresh(), lambda: session.end()):
        before = prepare()
        session.append("user", "Hello", message_id="m-1")
        assert session.info == before
        assert session.refresh() == before


def test_a_long_import_can_be_repeated(memory: ChatMemory) -> None:
    """All of it again adds nothing; half of it again adds the other half, in order."""
    session = begin(memory)
    rows = [NewMessage("user", str(n), f"m-{n}") for n in range(10_000)]
    half = session.append_many(rows[:5_000])
    both = session.append_many(rows)
    assert both[:5_000] == half
    assert [message.seq for message in both] == list(range(1, 10_001))
    assert session.append_many(rows) == both


def test_the_newest_message_stays_the_newest(memory: ChatMemory) -> None:
    """Importing the past never moves last_message_at back, and handle and database agree."""
    session = begin(memory)
    now = datetime.now(UTC)
    past, future = now - timedelta(days=9), now + timedelta(days=9)
    at: dict[str, Any] = {"role": "user", "content": "x"}
    expected = [past, past, now, now, future, future]
    for rows, newest in zip(
        [
            [{**at, "created_at": past}],
            [{**at, "created_at": past, "message_id": "m"}, {**at, "created_at": past - timedelta(days=1)}],
            [at, {**at, "created_at": past}],
            [{**at, "created_at": past}] * 3,
            [{**at, "created_at": future}, at],
            [at, at, at],
        ],
        expected,
        strict=True,
    ):
        session.append_many(rows)
        told = session.info.last_message_at
        assert told is not None
        assert abs(told - newest) < timedelta(minutes=1)
        assert told == session.refresh().last_message_at


def test_another_content_under_an_id_is_a_conflict(memory: ChatMemory) -> None:
    """Other text, another role, or other blocks of the same text conflict; the error does not show them."""
    session = begin(memory)
    session.append("user", "secret text", message_id="m-1")
    for role, content in [
        ("user", "other"),
        ("assistant", "secret text"),
        ("user", [{"type": "text", "text": "secret text"}]),
    ]:
        with pytest.raises(MessageConflictError, match="m-1") as raised:
            session.append(role, content, message_id="m-1")  # type: ignore[arg-type]  # str or list
        assert "secret" not in str(raised.value)


def test_messages_of_the_past_keep_their_time(memory: ChatMemory) -> None:
    """created_at is stored to the microsecond, and must say its zone."""
    session = begin(memory)
    at = datetime(2023, 5, 8, 13, 56, 0, 123456, tzinfo=UTC)
    session.append("user", "Long ago", created_at=at)
    assert session.history()[0].created_at == at
    with pytest.raises(InvalidInputError, match="time zone"):
        session.append("user", "When?", created_at=at.replace(tzinfo=None))


def test_history_pages_back(memory: ChatMemory) -> None:
    """before_seq reaches older messages; the newest come by default."""
    session = begin(memory)
    session.append_many([{"role": "user", "content": str(n)} for n in range(1, 31)])
    assert [message.seq for message in session.history()] == list(range(11, 31))
    assert [message.seq for message in session.history(5, before_seq=11)] == [6, 7, 8, 9, 10]
    assert session.history(0) == []
    for bad in (-1, 1.5, True):
        with pytest.raises(InvalidInputError, match="limit"):
            session.history(bad)  # type: ignore[arg-type]  # that is the point


def test_messages_gives_all_in_batches(memory: ChatMemory) -> None:
    """The iterator crosses its batches without a gap."""
    session = begin(memory)
    session.append_many([{"role": "user", "content": str(n)} for n in range(1, 12)])
    assert [message.seq for message in session.messages(batch_size=5)] == list(range(1, 12))


def test_info_follows_what_was_appended(memory: ChatMemory) -> None:
    """The handle's info agrees with the database after an append."""
    session = begin(memory)
    session.append("user", "Is this counted?")
    known = session.info
    assert known == session.refresh()
    assert known.message_count == known.last_seq == 1


def test_the_title_comes_from_the_first_message_that_says_enough(memory: ChatMemory) -> None:
    """A greeting gives no title, a question does, later messages do not change it, nor one that was given."""
    session = begin(memory)
    session.append("user", "Hi there")
    session.append("assistant", "Hello! How can I help you today, dear user?")
    assert session.refresh().title is None
    session.append("user", "Can I work from Lisbon in July, or would that be against the rules?")
    assert session.info.title == "Can I work from Lisbon in July, or would that be…"
    session.append("user", "Another long question that could be a title?")
    assert session.refresh().title == "Can I work from Lisbon in July, or would that be…"
    named = memory.tenant("acme").sessions.create(user_id="ann", title="Mine")
    named.append("user", "Would this be a title?")
    assert named.refresh().title == "Mine"


def test_update_merges_key_by_key(memory: ChatMemory) -> None:
    """Metadata and details keep the keys that are not named; the title changes on its own."""
    sessions = memory.tenant("acme").sessions
    session = sessions.create(user_id="ann", metadata={"a": 1, "b": {"x": 1}}, details={"d": 1})
    info = session.update(title="New", metadata={"b": 2, "c": None})
    assert (info.title, info.metadata, info.details) == ("New", {"a": 1, "b": 2, "c": None}, {"d": 1})
    with pytest.raises(InvalidInputError, match=r"NaN|nan"):
        session.update(title="Newer", metadata={"n": float("nan")})
    assert session.refresh().title == "New"


def test_end_is_idempotent(memory: ChatMemory) -> None:
    """The first end counts; later ones return it unchanged."""
    session = begin(memory)
    first = session.end(success=False, results={"score": [1, 2]})
    assert (first.status, first.results) == ("failed", {"score": [1, 2]})
    assert session.end(success=True, results={"score": 3}) == first


def test_fork_copies_up_to_a_seq(memory: ChatMemory) -> None:
    """The fork has the messages and counters up to there, goes its own way, and names its parent."""
    session = begin(memory)
    stored = session.append_many([{"role": "user", "content": str(n)} for n in range(10)])
    fork = session.fork(at_seq=4, user_id="bob")
    assert (fork.info.parent_id, fork.info.user_id) == (session.id, "bob")
    assert fork.history() == stored[:4]
    assert fork.append("user", "on").seq == 5
    assert session.refresh().message_count == 10
    assert (session.fork().history(50)) == stored
    with pytest.raises(InvalidInputError, match=r"last seq .* is 10"):
        session.fork(at_seq=11)


def test_a_deleted_session_is_hidden_everywhere_until_restored(memory: ChatMemory) -> None:
    """No public call finds it; restore brings all of it back."""
    sessions = memory.tenant("acme").sessions
    session = begin(memory)
    stored = session.append("user", "Hello", message_id="m-1")
    session.delete()
    for call in calls(
        lambda: session.history(),
        lambda: session.append("user", "x"),
        lambda: session.append("user", "Hello", message_id="m-1"),
        lambda: session.refresh(),
        lambda: session.update(title="t"),
        lambda: session.end(),
        lambda: session.fork(),
        lambda: session.delete(),
        lambda: session.export(),
        lambda: session.events(),
        lambda: sessions.get(session.id),
    ):
        with pytest.raises(SessionNotFoundError):
            call()
    with pytest.raises(SessionNotFoundError):
        [message for message in session.messages()]
    assert sessions.list(with_total=True).total == 0
    assert sessions.resume_or_create(session.id, user_id="ann").id != session.id
    assert isinstance(sessions.end_many([session.id])[session.id], SessionNotFoundError)
    session.restore()
    assert session.history() == [stored]
    session.delete()
    assert sessions.restore(session.id).history() == [stored]


def test_a_restored_session_needs_room(postgres_url: str, settings: Settings) -> None:
    """Within the limit of active sessions: refused, or the one that was idle longest is ended."""
    few = settings.model_copy(update={"max_sessions_per_user": 1, "session_limit_policy": "refuse"})
    with ChatMemory.open(postgres_url, settings=few) as memory:
        first = begin(memory)
        first.delete()
        second = begin(memory)
        for restore in calls(lambda: first.restore(), lambda: memory.tenant("acme").sessions.restore(first.id)):
            with pytest.raises(SessionLimitError):
                restore()
        with pytest.raises(SessionNotFoundError):
            first.refresh()
    few = few.model_copy(update={"session_limit_policy": "end_oldest"})
    with ChatMemory.open(postgres_url, settings=few) as memory:
        restored = memory.tenant("acme").sessions.restore(first.id)
        assert restored.info.is_active
        assert (memory.tenant("acme").sessions.get(second.id)).info.status == "completed"


def test_erase_leaves_nothing(memory: ChatMemory) -> None:
    """The receipt counts what is gone, and then there is nothing to find, restore or erase."""
    session = begin(memory)
    session.append_many([{"role": "user", "content": str(n)} for n in range(3)])
    session.delete()
    receipt = session.erase()
    assert (receipt.sessions, receipt.messages, receipt.events) == (1, 3, 2)
    for call in calls(
        lambda: session.erase(),
        lambda: session.restore(),
        lambda: session.history(),
    ):
        with pytest.raises(SessionNotFoundError):
            call()


def test_events_tell_the_story(memory: ChatMemory) -> None:
    """The timeline has each turn of the session's life, in order, with what belongs to it."""
    sessions = memory.tenant("acme").sessions
    session = begin(memory)
    sessions.resume_or_create(session.id, user_id="ann")
    session.update(title="Renamed", metadata={"k": 1})
    fork = session.fork()
    session.delete()
    session.restore()
    session.end(success=False)
    session.end()
    events = session.events()
    assert [event.type for event in events] == [
        "created",
        "resumed",
        "renamed",
        "updated",
        "forked",
        "deleted",
        "restored",
        "ended",
    ]
    assert events[2].data == {"old": None, "new": "Renamed"}
    assert events[4].data["into"] == fork.id
    assert events[-1].data == {"status": "failed"}
    assert [event.type for event in session.events(limit=2)] == ["restored", "ended"]


def test_export_holds_everything(memory: ChatMemory) -> None:
    """JSON has every message to the letter, Markdown can be read, and there is no third format."""
    import json

    session = begin(memory)
    session.append("user", "Ünïcode & <b>bold</b>?", metadata={"k": [1, None]})
    document = json.loads(session.export())
    assert document["session"]["id"] == session.id
    assert document["messages"][0]["content"] == "Ünïcode & <b>bold</b>?"
    assert document["messages"][0]["metadata"] == {"k": [1, None]}
    assert "Ünïcode & <b>bold</b>?" in session.export("markdown")
    with pytest.raises(InvalidInputError, match="markdown"):
        session.export("pdf")  # type: ignore[arg-type]  # that is the point


def test_what_has_nothing_left_to_learn_is_archived(memory: ChatMemory) -> None:
    """An ended session without messages at once, a short one once it was learnt from."""
    settings = memory.settings.model_copy(update={"session_timeout_hours": 1e-9})
    empty, short = begin(memory), begin(memory)
    short.append("user", "x")
    empty.end()
    short.end()
    url = memory.settings.postgres_url
    assert url is not None
    with ChatMemory.open(url.get_secret_value(), settings=settings) as cleaner:
        assert cleaner.clean_up().archived == 1
        assert empty.refresh().archived_at is not None
        assert short.refresh().archived_at is None
        assert cleaner.run_due().processed == 1
        assert cleaner.clean_up().archived == 1
    assert short.refresh().archived_at is not None


def test_a_handle_repr_can_be_read(memory: ChatMemory) -> None:
    """A session shows its id, title and state."""
    session = begin(memory)
    session.append("user", "Shall we?")
    assert session.id in repr(session)
    assert "'Shall we?'" in repr(session)
    assert "active, 1 message" in repr(session)
    assert session.info.created_at > datetime.now(UTC) - timedelta(minutes=5)


def test_a_repeated_id_with_other_tool_calls_is_a_conflict(memory: ChatMemory) -> None:
    """Tool calls and the answered call are part of a message's content; other metadata is not."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    said: list[dict[str, Any]] = [
        {"tool_calls": [{"id": "a", "function": {"name": "pay", "arguments": "{}"}}]},
        {"tool_call_id": "a"},
        {"invalid_tool_calls": [{"id": "a"}]},
        {"of_any_host": {"type": "ai", "tool_calls": [{"id": "a"}]}},
        {"of_any_host": {"call_id": "a"}},
        {"host_item": {"type": "reasoning"}},
    ]
    for number, metadata in enumerate(said):
        stored = session.append("assistant", "", message_id=f"m-{number}", metadata=metadata)
        again = session.append("assistant", "", message_id=f"m-{number}", metadata={**metadata, "cost": 1})
        assert again == stored
        with pytest.raises(MessageConflictError):
            session.append("assistant", "", message_id=f"m-{number}")


def test_calls_are_the_same_wherever_an_adapter_keeps_them(memory: ChatMemory) -> None:
    """A message stored with its calls one level down is found again by one with the calls at the top."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    calls = [{"id": "a", "name": "look", "args": {}}]
    first = session.append("assistant", "", message_id="m", metadata={"of_any_host": {"tool_calls": calls}})
    assert session.append("assistant", "", message_id="m", metadata={"tool_calls": calls}) == first
    other = {"tool_calls": "none", "of_any_host": {"tool_calls": calls, "stats": [1]}}
    assert session.append("assistant", "", message_id="m", metadata=other) == first


@pytest.mark.parametrize("size", [1, 2, 3, 2**31, 2**63 - 2, 2**63 - 1])
def test_messages_in_batches_of_any_size(memory: ChatMemory, size: int) -> None:
    """All of them, in order, once, up to the largest batch that an integer of Postgres can name."""
    session = begin(memory)
    stored = session.append_many([{"role": "user", "content": str(n)} for n in range(3)])
    memory._parts.recent.forget("acme", session.id)
    assert [message for message in session.messages(batch_size=size)] == stored
