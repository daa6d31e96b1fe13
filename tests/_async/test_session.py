from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chatmemory import (
    AsyncChatMemory,
    AsyncSession,
    InvalidInputError,
    MessageConflictError,
    NewMessage,
    SessionEndedError,
    SessionLimitError,
    SessionNotFoundError,
    Settings,
)
from tests.helpers import calls


async def begin(memory: AsyncChatMemory) -> AsyncSession:
    """A session of its own."""
    return await memory.tenant("acme").sessions.create(user_id="ann")


async def test_append_returns_what_is_stored(async_memory: AsyncChatMemory) -> None:
    """The message that append returns equals the one in history, in every field."""
    session = await begin(async_memory)
    first = await session.append("human", "Hello", metadata={"b": 1e22, "a": -0.0})
    second = await session.append("ai", [{"type": "text", "text": "Hi"}], message_id="m-2")
    assert [first.seq, second.seq] == [1, 2]
    assert [first.role, second.role] == ["user", "assistant"]
    assert await session.history() == [first, second]
    assert list(first.metadata) == ["b", "a"]
    assert second.text == "Hi"


async def test_append_many_keeps_the_order(async_memory: AsyncChatMemory) -> None:
    """Messages appended together stand in the order given, with contiguous seq."""
    session = await begin(async_memory)
    stored = await session.append_many(
        [{"role": "user", "content": str(n)} if n % 2 else NewMessage("assistant", str(n)) for n in range(50)]
    )
    assert [message.seq for message in stored] == list(range(1, 51))
    assert [message.content for message in await session.history(50)] == [str(n) for n in range(50)]


async def test_append_many_is_all_or_nothing(async_memory: AsyncChatMemory) -> None:
    """One bad message, or one conflict, keeps all of them out."""
    session = await begin(async_memory)
    await session.append("user", "first", message_id="taken")
    with pytest.raises(InvalidInputError, match="message 1"):
        await session.append_many([{"role": "user", "content": "good"}, {"role": "robot", "content": "bad"}])
    with pytest.raises(MessageConflictError, match="taken"):
        await session.append_many(
            [{"role": "user", "content": "good"}, {"role": "user", "content": "other", "message_id": "taken"}]
        )
    assert [message.content for message in await session.history()] == ["first"]
    assert (await session.refresh()).message_count == 1


async def test_an_empty_append_many_does_nothing(async_memory: AsyncChatMemory) -> None:
    """Nothing to append is not an error."""
    session = await begin(async_memory)
    assert await session.append_many([]) == []


async def test_the_same_id_again_returns_the_stored_message(async_memory: AsyncChatMemory) -> None:
    """Appending again adds nothing, alone, in a batch, and twice in one batch."""
    session = await begin(async_memory)
    first = await session.append("user", "Hello", message_id="m-1")
    assert await session.append("user", "Hello", message_id="m-1") == first
    again, new, twice = await session.append_many(
        [
            {"role": "user", "content": "Hello", "message_id": "m-1"},
            {"role": "assistant", "content": "Hi", "message_id": "m-2"},
            {"role": "assistant", "content": "Hi", "message_id": "m-2"},
        ]
    )
    assert (again, new.seq, twice) == (first, 2, new)
    assert (await session.refresh()).message_count == 2


async def test_a_repeated_append_is_recognisable(async_memory: AsyncChatMemory) -> None:
    """was_stored says which messages of an append stood there before; it is no part of the record."""
    session = await begin(async_memory)
    first = await session.append("user", "Hello", message_id="m-1")
    again = await session.append("user", "Hello", message_id="m-1")
    assert (first.was_stored, again.was_stored) == (False, True)
    assert again.to_dict() == first.to_dict()
    batch = [
        NewMessage("user", "Hello", "m-1"),
        NewMessage("assistant", "Hi", "m-2"),
        NewMessage("assistant", "Hi", "m-2"),
        NewMessage("user", "Hello"),
    ]
    assert [message.was_stored for message in await session.append_many(batch)] == [True, False, False, False]
    assert [message.was_stored for message in await session.append_many(batch)] == [True, True, True, False]
    assert not any(message.was_stored for message in await session.history())
    assert not any(message.was_stored for message in await session.context())


async def test_the_same_id_in_an_ended_session_is_still_answered(async_memory: AsyncChatMemory) -> None:
    """A retry that comes after the end gets the stored message; a new message is refused."""
    session = await begin(async_memory)
    first = await session.append("user", "Hello", message_id="m-1")
    await session.end()
    assert await session.append("user", "Hello", message_id="m-1") == first
    with pytest.raises(SessionEndedError, match=session.id):
        await session.append("user", "More")


async def test_what_stands_there_is_what_comes_back(async_memory: AsyncChatMemory) -> None:
    """The answer to a repeated id is the stored message, whatever metadata came with the repetition."""
    session = await begin(async_memory)
    stored = await session.append("user", [{"n": 1}], message_id="m-1", metadata={"a": 1})
    again = await session.append("user", [{"n": 1.0}], message_id="m-1", metadata={"b": 2})
    assert repr(again.content) == repr(stored.content)
    assert again == stored


async def test_an_append_that_adds_nothing_changes_nothing(async_memory: AsyncChatMemory) -> None:
    """A retry leaves no trace in the session, in a running and in an ended one; the handle agrees with the database."""
    session = await begin(async_memory)
    await session.append("user", "Hello", message_id="m-1")
    for prepare in calls(lambda: session.refresh(), lambda: session.end()):
        before = await prepare()
        await session.append("user", "Hello", message_id="m-1")
        assert session.info == before
        assert await session.refresh() == before


async def test_a_long_import_can_be_repeated(async_memory: AsyncChatMemory) -> None:
    """All of it again adds nothing; half of it again adds the other half, in order."""
    session = await begin(async_memory)
    rows = [NewMessage("user", str(n), f"m-{n}") for n in range(10_000)]
    half = await session.append_many(rows[:5_000])
    both = await session.append_many(rows)
    assert both[:5_000] == half
    assert [message.seq for message in both] == list(range(1, 10_001))
    assert await session.append_many(rows) == both


async def test_the_newest_message_stays_the_newest(async_memory: AsyncChatMemory) -> None:
    """Importing the past never moves last_message_at back, and handle and database agree."""
    session = await begin(async_memory)
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
        await session.append_many(rows)
        told = session.info.last_message_at
        assert told is not None
        assert abs(told - newest) < timedelta(minutes=1)
        assert told == (await session.refresh()).last_message_at


async def test_another_content_under_an_id_is_a_conflict(async_memory: AsyncChatMemory) -> None:
    """Other text, another role, or other blocks of the same text conflict; the error does not show them."""
    session = await begin(async_memory)
    await session.append("user", "secret text", message_id="m-1")
    for role, content in [
        ("user", "other"),
        ("assistant", "secret text"),
        ("user", [{"type": "text", "text": "secret text"}]),
    ]:
        with pytest.raises(MessageConflictError, match="m-1") as raised:
            await session.append(role, content, message_id="m-1")  # type: ignore[arg-type]  # str or list
        assert "secret" not in str(raised.value)


async def test_messages_of_the_past_keep_their_time(async_memory: AsyncChatMemory) -> None:
    """created_at is stored to the microsecond, and must say its zone."""
    session = await begin(async_memory)
    at = datetime(2023, 5, 8, 13, 56, 0, 123456, tzinfo=UTC)
    await session.append("user", "Long ago", created_at=at)
    assert (await session.history())[0].created_at == at
    with pytest.raises(InvalidInputError, match="time zone"):
        await session.append("user", "When?", created_at=at.replace(tzinfo=None))


async def test_history_pages_back(async_memory: AsyncChatMemory) -> None:
    """before_seq reaches older messages; the newest come by default."""
    session = await begin(async_memory)
    await session.append_many([{"role": "user", "content": str(n)} for n in range(1, 31)])
    assert [message.seq for message in await session.history()] == list(range(11, 31))
    assert [message.seq for message in await session.history(5, before_seq=11)] == [6, 7, 8, 9, 10]
    assert await session.history(0) == []
    for bad in (-1, 1.5, True):
        with pytest.raises(InvalidInputError, match="limit"):
            await session.history(bad)  # type: ignore[arg-type]  # that is the point


async def test_messages_gives_all_in_batches(async_memory: AsyncChatMemory) -> None:
    """The iterator crosses its batches without a gap."""
    session = await begin(async_memory)
    await session.append_many([{"role": "user", "content": str(n)} for n in range(1, 12)])
    assert [message.seq async for message in session.messages(batch_size=5)] == list(range(1, 12))


async def test_info_follows_what_was_appended(async_memory: AsyncChatMemory) -> None:
    """The handle's info agrees with the database after an append."""
    session = await begin(async_memory)
    await session.append("user", "Is this counted?")
    known = session.info
    assert known == await session.refresh()
    assert known.message_count == known.last_seq == 1


async def test_the_title_comes_from_the_first_message_that_says_enough(async_memory: AsyncChatMemory) -> None:
    """A greeting gives no title, a question does, later messages do not change it, nor one that was given."""
    session = await begin(async_memory)
    await session.append("user", "Hi there")
    await session.append("assistant", "Hello! How can I help you today, dear user?")
    assert (await session.refresh()).title is None
    await session.append("user", "Can I work from Lisbon in July, or would that be against the rules?")
    assert session.info.title == "Can I work from Lisbon in July, or would that be…"
    await session.append("user", "Another long question that could be a title?")
    assert (await session.refresh()).title == "Can I work from Lisbon in July, or would that be…"
    named = await async_memory.tenant("acme").sessions.create(user_id="ann", title="Mine")
    await named.append("user", "Would this be a title?")
    assert (await named.refresh()).title == "Mine"


async def test_update_merges_key_by_key(async_memory: AsyncChatMemory) -> None:
    """Metadata and details keep the keys that are not named; the title changes on its own."""
    sessions = async_memory.tenant("acme").sessions
    session = await sessions.create(user_id="ann", metadata={"a": 1, "b": {"x": 1}}, details={"d": 1})
    info = await session.update(title="New", metadata={"b": 2, "c": None})
    assert (info.title, info.metadata, info.details) == ("New", {"a": 1, "b": 2, "c": None}, {"d": 1})
    with pytest.raises(InvalidInputError, match=r"NaN|nan"):
        await session.update(title="Newer", metadata={"n": float("nan")})
    assert (await session.refresh()).title == "New"


async def test_end_is_idempotent(async_memory: AsyncChatMemory) -> None:
    """The first end counts; later ones return it unchanged."""
    session = await begin(async_memory)
    first = await session.end(success=False, results={"score": [1, 2]})
    assert (first.status, first.results) == ("failed", {"score": [1, 2]})
    assert await session.end(success=True, results={"score": 3}) == first


async def test_fork_copies_up_to_a_seq(async_memory: AsyncChatMemory) -> None:
    """The fork has the messages and counters up to there, goes its own way, and names its parent."""
    session = await begin(async_memory)
    stored = await session.append_many([{"role": "user", "content": str(n)} for n in range(10)])
    fork = await session.fork(at_seq=4, user_id="bob")
    assert (fork.info.parent_id, fork.info.user_id) == (session.id, "bob")
    assert await fork.history() == stored[:4]
    assert (await fork.append("user", "on")).seq == 5
    assert (await session.refresh()).message_count == 10
    assert (await (await session.fork()).history(50)) == stored
    with pytest.raises(InvalidInputError, match=r"last seq .* is 10"):
        await session.fork(at_seq=11)


async def test_a_deleted_session_is_hidden_everywhere_until_restored(async_memory: AsyncChatMemory) -> None:
    """No public call finds it; restore brings all of it back."""
    sessions = async_memory.tenant("acme").sessions
    session = await begin(async_memory)
    stored = await session.append("user", "Hello", message_id="m-1")
    await session.delete()
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
            await call()
    with pytest.raises(SessionNotFoundError):
        [message async for message in session.messages()]
    assert (await sessions.list(with_total=True)).total == 0
    assert (await sessions.resume_or_create(session.id, user_id="ann")).id != session.id
    assert isinstance((await sessions.end_many([session.id]))[session.id], SessionNotFoundError)
    await session.restore()
    assert await session.history() == [stored]
    await session.delete()
    assert await (await sessions.restore(session.id)).history() == [stored]


async def test_a_restored_session_needs_room(postgres_url: str, settings: Settings) -> None:
    """Within the limit of active sessions: refused, or the one that was idle longest is ended."""
    few = settings.model_copy(update={"max_sessions_per_user": 1, "session_limit_policy": "refuse"})
    async with AsyncChatMemory.open(postgres_url, settings=few) as memory:
        first = await begin(memory)
        await first.delete()
        second = await begin(memory)
        for restore in calls(lambda: first.restore(), lambda: memory.tenant("acme").sessions.restore(first.id)):
            with pytest.raises(SessionLimitError):
                await restore()
        with pytest.raises(SessionNotFoundError):
            await first.refresh()
    few = few.model_copy(update={"session_limit_policy": "end_oldest"})
    async with AsyncChatMemory.open(postgres_url, settings=few) as memory:
        restored = await memory.tenant("acme").sessions.restore(first.id)
        assert restored.info.is_active
        assert (await memory.tenant("acme").sessions.get(second.id)).info.status == "completed"


async def test_erase_leaves_nothing(async_memory: AsyncChatMemory) -> None:
    """The receipt counts what is gone, and then there is nothing to find, restore or erase."""
    session = await begin(async_memory)
    await session.append_many([{"role": "user", "content": str(n)} for n in range(3)])
    await session.delete()
    receipt = await session.erase()
    assert (receipt.sessions, receipt.messages, receipt.events) == (1, 3, 2)
    for call in calls(
        lambda: session.erase(),
        lambda: session.restore(),
        lambda: session.history(),
    ):
        with pytest.raises(SessionNotFoundError):
            await call()


async def test_events_tell_the_story(async_memory: AsyncChatMemory) -> None:
    """The timeline has each turn of the session's life, in order, with what belongs to it."""
    sessions = async_memory.tenant("acme").sessions
    session = await begin(async_memory)
    await sessions.resume_or_create(session.id, user_id="ann")
    await session.update(title="Renamed", metadata={"k": 1})
    fork = await session.fork()
    await session.delete()
    await session.restore()
    await session.end(success=False)
    await session.end()
    events = await session.events()
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
    assert [event.type for event in await session.events(limit=2)] == ["restored", "ended"]


async def test_export_holds_everything(async_memory: AsyncChatMemory) -> None:
    """JSON has every message to the letter, Markdown can be read, and there is no third format."""
    import json

    session = await begin(async_memory)
    await session.append("user", "Ünïcode & <b>bold</b>?", metadata={"k": [1, None]})
    document = json.loads(await session.export())
    assert document["session"]["id"] == session.id
    assert document["messages"][0]["content"] == "Ünïcode & <b>bold</b>?"
    assert document["messages"][0]["metadata"] == {"k": [1, None]}
    assert "Ünïcode & <b>bold</b>?" in await session.export("markdown")
    with pytest.raises(InvalidInputError, match="markdown"):
        await session.export("pdf")  # type: ignore[arg-type]  # that is the point


async def test_what_has_nothing_left_to_learn_is_archived(async_memory: AsyncChatMemory) -> None:
    """An ended session without messages at once, a short one once it was learnt from."""
    settings = async_memory.settings.model_copy(update={"session_timeout_hours": 1e-9})
    empty, short = await begin(async_memory), await begin(async_memory)
    await short.append("user", "x")
    await empty.end()
    await short.end()
    url = async_memory.settings.postgres_url
    assert url is not None
    async with AsyncChatMemory.open(url.get_secret_value(), settings=settings) as cleaner:
        assert (await cleaner.clean_up()).archived == 1
        assert (await empty.refresh()).archived_at is not None
        assert (await short.refresh()).archived_at is None
        assert (await cleaner.run_due()).processed == 1
        assert (await cleaner.clean_up()).archived == 1
    assert (await short.refresh()).archived_at is not None


async def test_a_handle_repr_can_be_read(async_memory: AsyncChatMemory) -> None:
    """A session shows its id, title and state."""
    session = await begin(async_memory)
    await session.append("user", "Shall we?")
    assert session.id in repr(session)
    assert "'Shall we?'" in repr(session)
    assert "active, 1 message" in repr(session)
    assert session.info.created_at > datetime.now(UTC) - timedelta(minutes=5)


async def test_a_repeated_id_with_other_tool_calls_is_a_conflict(async_memory: AsyncChatMemory) -> None:
    """Tool calls and the answered call are part of a message's content; other metadata is not."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann")
    said: list[dict[str, Any]] = [
        {"tool_calls": [{"id": "a", "function": {"name": "pay", "arguments": "{}"}}]},
        {"tool_call_id": "a"},
        {"invalid_tool_calls": [{"id": "a"}]},
        {"of_any_host": {"type": "ai", "tool_calls": [{"id": "a"}]}},
        {"of_any_host": {"call_id": "a"}},
        {"host_item": {"type": "reasoning"}},
    ]
    for number, metadata in enumerate(said):
        stored = await session.append("assistant", "", message_id=f"m-{number}", metadata=metadata)
        again = await session.append("assistant", "", message_id=f"m-{number}", metadata={**metadata, "cost": 1})
        assert again == stored
        with pytest.raises(MessageConflictError):
            await session.append("assistant", "", message_id=f"m-{number}")


async def test_calls_are_the_same_wherever_an_adapter_keeps_them(async_memory: AsyncChatMemory) -> None:
    """A message stored with its calls one level down is found again by one with the calls at the top."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann")
    calls = [{"id": "a", "name": "look", "args": {}}]
    first = await session.append("assistant", "", message_id="m", metadata={"of_any_host": {"tool_calls": calls}})
    assert await session.append("assistant", "", message_id="m", metadata={"tool_calls": calls}) == first
    other = {"tool_calls": "none", "of_any_host": {"tool_calls": calls, "stats": [1]}}
    assert await session.append("assistant", "", message_id="m", metadata=other) == first


@pytest.mark.parametrize("size", [1, 2, 3, 2**31, 2**63 - 2, 2**63 - 1])
async def test_messages_in_batches_of_any_size(async_memory: AsyncChatMemory, size: int) -> None:
    """All of them, in order, once, up to the largest batch that an integer of Postgres can name."""
    session = await begin(async_memory)
    stored = await session.append_many([{"role": "user", "content": str(n)} for n in range(3)])
    async_memory._parts.recent.forget("acme", session.id)
    assert [message async for message in session.messages(batch_size=size)] == stored
