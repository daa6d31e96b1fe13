"""The cache of recent messages: which handles use it, what it forgets, and how much memory it takes."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

import pytest

from chatmemory import AsyncChatMemory, AsyncSession, AsyncSessions, Context, SessionNotFoundError, Settings
from chatmemory._concurrency import async_side_by_side

SYSTEM = {"role": "system", "content": "Be brief."}


def said(*texts: str) -> list[dict[str, Any]]:
    """Messages of a user."""
    return [{"role": "user", "content": text} for text in texts]


def texts(context: Context) -> list[str]:
    """The messages of a context."""
    return [message.text for message in context]


async def resumed(memory: AsyncChatMemory, session_id: str = "s-1") -> AsyncSession:
    """A new handle, as an app makes one at each turn."""
    sessions = memory.tenant("acme").sessions
    return await sessions.resume_or_create(session_id, user_id="ann", on_missing="adopt")


@pytest.fixture
async def another(postgres_url: str, settings: Settings) -> AsyncIterator[AsyncChatMemory]:
    """The memory of another process."""
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        yield memory


async def test_a_turn_is_two_round_trips(async_memory: AsyncChatMemory, round_trips: list[str]) -> None:
    """An app that resumes at each turn: resuming is one, the context none, appending one, from the first turn on."""
    await async_memory.health()  # connects
    for turn in range(4):
        round_trips.clear()
        session = await resumed(async_memory)
        assert len(round_trips) == 1
        context = await session.context()
        assert (len(round_trips), texts(context)) == (1, [str(number) for number in range(2 * turn)])
        assert context.source == "process"
        await session.append_many(said(str(2 * turn), str(2 * turn + 1)))
        assert len(round_trips) == 2
    round_trips.clear()
    context = await (await resumed(async_memory)).append_and_context(said("8"))
    assert (len(round_trips), texts(context)) == (2, [str(number) for number in range(9)])


async def test_whatever_reads_the_row_spares_the_next_reading(
    async_memory: AsyncChatMemory, round_trips: list[str]
) -> None:
    """After get() and refresh() context(), history() and messages() read nothing; the one after that does."""
    session = await resumed(async_memory)
    await session.append_and_context([SYSTEM, *said("one", "two")])
    session = await async_memory.tenant("acme").sessions.get("s-1")
    readings: list[Callable[[], Any]] = [
        session.context,
        session.history,
        partial(collected, session),
        partial(session.context, max_messages=0),
    ]
    for read in readings:
        await session.refresh()
        round_trips.clear()
        first = await read()
        assert not round_trips
        assert list(first) == list(await read())
        assert len(round_trips) == 1
    await session.refresh()
    round_trips.clear()
    await session.context(fresh=True)
    assert len(round_trips) == 1


async def collected(session: AsyncSession) -> list[Any]:
    """All messages of a session."""
    return [message async for message in session.messages()]


async def test_another_process_is_heard_at_the_next_resume(
    async_memory: AsyncChatMemory, another: AsyncChatMemory, round_trips: list[str]
) -> None:
    """Two handles of one process, and another process that appends, and learns, in between."""
    mine, same = await resumed(async_memory), await resumed(async_memory)
    await mine.append_and_context(said("one"))
    theirs = await resumed(another)
    await theirs.append_and_context(said("two"))
    assert texts(await same.context()) == ["one", "two"]
    await same.append_many(said("three"))
    assert texts(await (await resumed(async_memory)).context()) == ["one", "two", "three"]
    assert texts(await mine.append_and_context(said("four"))) == ["one", "two", "three", "four"]
    assert (await theirs.consolidate()).status == "success"
    again = await resumed(async_memory)
    round_trips.clear()
    context = await again.context(max_messages=1)
    assert (texts(context), context.summary, bool(context.summary)) == (["four"], again.summary, True)
    assert not round_trips  # the row brings the summary
    await theirs.append_many(said("five"))
    assert texts(await (await resumed(async_memory)).context()) == ["one", "two", "three", "four", "five"]


async def test_no_handle_reads_older_than_its_process_has_seen(
    async_cached_memory: AsyncChatMemory, another: AsyncChatMemory
) -> None:
    """A resume that Redis answers knows an old seq, and Redis' window is as old: neither is believed."""
    session = await resumed(async_cached_memory)
    await session.append_and_context(said("one"))
    await session.context(fresh=True)  # Redis gets the window
    await resumed(async_cached_memory)  # from here on, Redis answers
    await async_cached_memory._windows.flush()
    await (await resumed(another)).append_many(said("two"))  # Redis does not hear of it
    assert len(await (await async_cached_memory.tenant("acme").sessions.get("s-1")).history()) == 2  # this process does
    await async_cached_memory._database.heal()  # nothing read before is believed, but what was seen counts
    old = await resumed(async_cached_memory)
    assert old.info.last_seq < 2
    assert texts(await old.context()) == ["one", "two"]


async def test_a_resume_that_redis_answers_is_no_fresh_row(
    async_cached_memory: AsyncChatMemory, rows_stay_new: None
) -> None:
    """It may be half an hour old: Redis' window decides, or Postgres."""
    session = await resumed(async_cached_memory)
    assert (await session.context()).source == "process"
    await session.append_many(said("one"))
    await resumed(async_cached_memory)
    assert (await (await resumed(async_cached_memory)).context()).source != "process"


@pytest.mark.parametrize("how", ["delete", "erase", "erase the user", "adopted by another"])
async def test_nothing_of_an_erased_session_is_shown(
    async_memory: AsyncChatMemory, round_trips: list[str], how: str
) -> None:
    """Its messages leave the cache, and no handle, old or new, is given them, nor a successor's under its id."""
    tenant = async_memory.tenant("acme")
    session, old = await resumed(async_memory), await resumed(async_memory)
    await session.append_and_context(said("secret"))
    await old.refresh()  # its row is new: its next context would read nothing
    match how:
        case "delete":
            await session.delete()
        case "erase the user":
            await tenant.users.erase("ann")
        case _:
            await session.erase()
    assert async_memory._parts.recent.size == 0
    if how == "adopted by another":
        adopted = await tenant.sessions.resume_or_create("s-1", user_id="bob", on_missing="adopt")
        await adopted.append_and_context(said("of bob"))
    for read in (old.context, old.history, session.context, partial(collected, old)):
        with pytest.raises(SessionNotFoundError):
            await read()
    if how == "delete":
        await tenant.sessions.restore("s-1")
        assert texts(await (await resumed(async_memory)).context()) == ["secret"]


async def test_a_handle_of_an_erased_session_leaves_its_successor_alone(async_memory: AsyncChatMemory) -> None:
    """Ann's session is erased, and Bob adopts its id: Ann's handle reads, changes, ends and erases nothing of his."""
    sessions = async_memory.tenant("acme").sessions
    anns = await resumed(async_memory)
    await anns.append("user", "of ann")
    await (await sessions.get("s-1")).erase()
    bobs = await sessions.resume_or_create("s-1", user_id="bob", on_missing="adopt")
    await bobs.append("user", "of bob", metadata={"long": "x" * 40_000})
    calls: list[Callable[[], Any]] = [
        anns.refresh,
        anns.history,
        partial(collected, anns),
        anns.events,
        anns.status_history,
        anns.export,
        anns.consolidate,
        anns.fork,
        partial(anns.update, title="of ann"),
        anns.end,
        anns.cancel,
        anns.expire,
        anns.delete,
        anns.erase,
        partial(anns.context, fresh=True),
    ]
    for call in calls:
        with pytest.raises(SessionNotFoundError, match="s-1"):
            await call()
    assert (await bobs.refresh()).is_active
    assert [message.text for message in await bobs.history()] == ["of bob"]
    assert bobs.info.title != "of ann"


async def test_what_is_read_while_a_session_is_forgotten_is_not_kept(
    async_memory: AsyncChatMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that begins before an erasure and ends after it caches nothing."""
    session = await resumed(async_memory)
    await session.append("user", "secret")
    stretch = session._state.contexts._stretch

    async def then_erase(*arguments: Any) -> Any:
        window = await stretch(*arguments)
        await (await async_memory.tenant("acme").sessions.get("s-1")).erase()
        return window

    monkeypatch.setattr(session._state.contexts, "_stretch", then_erase)
    assert texts(await session.context(fresh=True)) == ["secret"]
    assert async_memory._parts.recent.size == 0


async def test_a_stretch_says_what_it_covers(async_memory: AsyncChatMemory, another: AsyncChatMemory) -> None:
    """No context of a few messages, or none, spoils the next one, with or without a system message at the beginning."""
    for number, begin in enumerate(([], [SYSTEM])):
        session = await async_memory.tenant("acme").sessions.create(user_id="ann", session_id=f"s-{number}")
        await session.append_many(begin or said("first"))
        for size in (0, 1, 2, 20):
            for few in (0, 1, size, 1000):
                await session.context(max_messages=few)
                many = await session.append_and_context(said("more"), max_messages=size)
                there = await another.tenant("acme").sessions.get(session.id)
                assert list(many) == list(await there.context(max_messages=size, fresh=True))
                for most in (0, 1, few):
                    await session.refresh()
                    expected = await there.context(max_messages=most, fresh=True)
                    assert list(await session.context(max_messages=most)) == list(expected)
            await session.append_many(said(*map(str, range(size))))


@pytest.mark.parametrize("has_redis", [True, False])
async def test_no_messages_wanted_spoils_nothing(
    postgres_url: str, redis_url: str, settings: Settings, has_redis: bool
) -> None:
    """context(max_messages=0) of a session of 20 messages that begins with a system message; large ones as stubs."""
    small = settings.model_copy(update={"window_message_bytes": 200})
    async with AsyncChatMemory.open(postgres_url, redis=redis_url if has_redis else None, settings=small) as memory:
        session = await resumed(memory)
        await session.append_many([SYSTEM, *said(*(f"{number} " * 100 for number in range(19)))])
        for handle in (session, await memory.tenant("acme").sessions.get("s-1")):
            assert texts(await handle.context(max_messages=0, fresh=handle is session)) == ["Be brief."]
            await handle.append("user", "and more")
            last_seq = handle.info.last_seq
            newest = [1, *range(last_seq - 18, last_seq + 1)]
            assert [message.seq for message in await handle.context(max_messages=19)] == newest
            context = await handle.append_and_context(said("the end"), max_messages=20)
            assert [message.seq for message in context] == [*newest, last_seq + 1]


async def test_the_least_recently_used_goes_first(
    postgres_url: str, settings: Settings, round_trips: list[str]
) -> None:
    """Under a bound of a few sessions the last ones used are in the cache, and every context is right."""
    tiny = settings.model_copy(update={"recent_messages_bytes": 8_000})
    async with AsyncChatMemory.open(postgres_url, settings=tiny) as memory:
        sessions = memory.tenant("acme").sessions
        for number in range(20):
            session = await sessions.create(user_id=f"u-{number}", session_id=f"s-{number}")
            await session.append_and_context(said(f"of {number}", "more"))
            assert 0 < memory._parts.recent.size <= 8_000
        for number, reads in ((19, 0), (0, 1), (0, 0), (19, 0), (1, 1)):
            session = await sessions.get(f"s-{number}")
            round_trips.clear()
            assert texts(await session.context()) == [f"of {number}", "more"]
            assert len(round_trips) == reads
    none = settings.model_copy(update={"recent_messages_bytes": 0})
    async with AsyncChatMemory.open(postgres_url, settings=none) as memory:
        session = await memory.tenant("acme").sessions.get("s-1")
        assert texts(await session.append_and_context(said("last"))) == ["of 1", "more", "last"]
        assert texts(await session.context()) == ["of 1", "more", "last"]
        assert memory._parts.recent.size == 0


async def test_many_handles_at_once(async_memory: AsyncChatMemory, another: AsyncChatMemory) -> None:
    """Each writer makes a new handle at each turn, in two processes: no context has a gap, or lacks the newest turn."""
    created = await resumed(async_memory)

    async def write(sessions: AsyncSessions, name: int) -> None:
        for number in range(8):
            session = await sessions.get("s-1")
            context = await session.context(max_messages=100)
            assert len(context) >= session.info.last_seq
            await session.append_many(said(f"{name} {number}"))
            now = await session.append_and_context(said(f"{name} {number} too"), max_messages=100)
            assert [message.seq for message in now] == list(range(1, len(now) + 1))
            assert f"{name} {number} too" in texts(now)

    memories = [async_memory, async_memory, another, another]
    await async_side_by_side(
        [partial(write, memory.tenant("acme").sessions, name) for name, memory in enumerate(memories)]
    )
    stored = [message.text for message in await created.history(100)]
    for each in (async_memory, another):
        assert texts(await (await each.tenant("acme").sessions.get("s-1")).context(max_messages=100)) == stored
