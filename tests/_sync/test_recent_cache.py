# Generated from tests/_async/test_recent_cache.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The cache of recent messages: which handles use it, what it forgets, and how much memory it takes."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from chatmemory import ChatMemory, Context, Session, SessionNotFoundError, Sessions, Settings
from chatmemory._concurrency import side_by_side

SYSTEM = {"role": "system", "content": "Be brief."}


def said(*texts: str) -> list[dict[str, Any]]:
    """Messages of a user."""
    return [{"role": "user", "content": text} for text in texts]


def texts(context: Context) -> list[str]:
    """The messages of a context."""
    return [message.text for message in context]


def resumed(memory: ChatMemory, session_id: str = "s-1") -> Session:
    """A new handle, as an app makes one at each turn."""
    sessions = memory.tenant("acme").sessions
    return sessions.resume_or_create(session_id, user_id="ann", on_missing="adopt")


@pytest.fixture
def another(postgres_url: str, settings: Settings) -> Iterator[ChatMemory]:
    """The memory of another process."""
    with ChatMemory.open(postgres_url, settings=settings) as memory:
        yield memory


def test_a_turn_is_two_round_trips(memory: ChatMemory, round_trips: list[str]) -> None:
    """An app that resumes at each turn: resuming is one, the context none, appending one, from the first turn on."""
    memory.health()  # connects
    for turn in range(4):
        round_trips.clear()
        session = resumed(memory)
        assert len(round_trips) == 1
        context = session.context()
        assert (len(round_trips), texts(context)) == (1, [str(number) for number in range(2 * turn)])
        assert context.source == "process"
        session.append_many(said(str(2 * turn), str(2 * turn + 1)))
        assert len(round_trips) == 2
    round_trips.clear()
    context = resumed(memory).append_and_context(said("8"))
    assert (len(round_trips), texts(context)) == (2, [str(number) for number in range(9)])


def test_whatever_reads_the_row_spares_the_next_reading(memory: ChatMemory, round_trips: list[str]) -> None:
    """After get() and refresh() context(), history() and messages() read nothing; the one after that does."""
    session = resumed(memory)
    session.append_and_context([SYSTEM, *said("one", "two")])
    session = memory.tenant("acme").sessions.get("s-1")
    readings: list[Callable[[], Any]] = [
        session.context,
        session.history,
        partial(collected, session),
        partial(session.context, max_messages=0),
    ]
    for read in readings:
        session.refresh()
        round_trips.clear()
        first = read()
        assert not round_trips
        assert list(first) == list(read())
        assert len(round_trips) == 1
    session.refresh()
    round_trips.clear()
    session.context(fresh=True)
    assert len(round_trips) == 1


def collected(session: Session) -> list[Any]:
    """All messages of a session."""
    return [message for message in session.messages()]


def test_another_process_is_heard_at_the_next_resume(
    memory: ChatMemory, another: ChatMemory, round_trips: list[str]
) -> None:
    """Two handles of one process, and another process that appends, and learns, in between."""
    mine, same = resumed(memory), resumed(memory)
    mine.append_and_context(said("one"))
    theirs = resumed(another)
    theirs.append_and_context(said("two"))
    assert texts(same.context()) == ["one", "two"]
    same.append_many(said("three"))
    assert texts(resumed(memory).context()) == ["one", "two", "three"]
    assert texts(mine.append_and_context(said("four"))) == ["one", "two", "three", "four"]
    assert theirs.consolidate().status == "success"
    again = resumed(memory)
    round_trips.clear()
    context = again.context(max_messages=1)
    assert (texts(context), context.summary, bool(context.summary)) == (["four"], again.summary, True)
    assert not round_trips  # the row brings the summary
    theirs.append_many(said("five"))
    assert texts(resumed(memory).context()) == ["one", "two", "three", "four", "five"]


def test_no_handle_reads_older_than_its_process_has_seen(cached_memory: ChatMemory, another: ChatMemory) -> None:
    """A resume that Redis answers knows an old seq, and Redis' window is as old: neither is believed."""
    session = resumed(cached_memory)
    session.append_and_context(said("one"))
    session.context(fresh=True)  # Redis gets the window
    resumed(cached_memory)  # from here on, Redis answers
    cached_memory._windows.flush()
    resumed(another).append_many(said("two"))  # Redis does not hear of it
    assert len((cached_memory.tenant("acme").sessions.get("s-1")).history()) == 2  # this process does
    cached_memory._database.heal()  # nothing read before is believed, but what was seen counts
    old = resumed(cached_memory)
    assert old.info.last_seq < 2
    assert texts(old.context()) == ["one", "two"]


def test_a_resume_that_redis_answers_is_no_fresh_row(cached_memory: ChatMemory, rows_stay_new: None) -> None:
    """It may be half an hour old: Redis' window decides, or Postgres."""
    session = resumed(cached_memory)
    assert session.context().source == "process"
    session.append_many(said("one"))
    resumed(cached_memory)
    assert (resumed(cached_memory).context()).source != "process"


@pytest.mark.parametrize("how", ["delete", "erase", "erase the user", "adopted by another"])
def test_nothing_of_an_erased_session_is_shown(memory: ChatMemory, round_trips: list[str], how: str) -> None:
    """Its messages leave the cache, and no handle, old or new, is given them, nor a successor's under its id."""
    tenant = memory.tenant("acme")
    session, old = resumed(memory), resumed(memory)
    session.append_and_context(said("secret"))
    old.refresh()  # its row is new: its next context would read nothing
    match how:
        case "delete":
            session.delete()
        case "erase the user":
            tenant.users.erase("ann")
        case _:
            session.erase()
    assert memory._parts.recent.size == 0
    if how == "adopted by another":
        adopted = tenant.sessions.resume_or_create("s-1", user_id="bob", on_missing="adopt")
        adopted.append_and_context(said("of bob"))
    for read in (old.context, old.history, session.context, partial(collected, old)):
        with pytest.raises(SessionNotFoundError):
            read()
    if how == "delete":
        tenant.sessions.restore("s-1")
        assert texts(resumed(memory).context()) == ["secret"]


def test_a_handle_of_an_erased_session_leaves_its_successor_alone(memory: ChatMemory) -> None:
    """Ann's session is erased, and Bob adopts its id: Ann's handle reads, changes, ends and erases nothing of his."""
    sessions = memory.tenant("acme").sessions
    anns = resumed(memory)
    anns.append("user", "of ann")
    sessions.get("s-1").erase()
    bobs = sessions.resume_or_create("s-1", user_id="bob", on_missing="adopt")
    bobs.append("user", "of bob", metadata={"long": "x" * 40_000})
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
            call()
    assert bobs.refresh().is_active
    assert [message.text for message in bobs.history()] == ["of bob"]
    assert bobs.info.title != "of ann"


def test_what_is_read_while_a_session_is_forgotten_is_not_kept(
    memory: ChatMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A read that begins before an erasure and ends after it caches nothing."""
    session = resumed(memory)
    session.append("user", "secret")
    stretch = session._state.contexts._stretch

    def then_erase(*arguments: Any) -> Any:
        window = stretch(*arguments)
        (memory.tenant("acme").sessions.get("s-1")).erase()
        return window

    monkeypatch.setattr(session._state.contexts, "_stretch", then_erase)
    assert texts(session.context(fresh=True)) == ["secret"]
    assert memory._parts.recent.size == 0


def test_a_stretch_says_what_it_covers(memory: ChatMemory, another: ChatMemory) -> None:
    """No context of a few messages, or none, spoils the next one, with or without a system message at the beginning."""
    for number, begin in enumerate(([], [SYSTEM])):
        session = memory.tenant("acme").sessions.create(user_id="ann", session_id=f"s-{number}")
        session.append_many(begin or said("first"))
        for size in (0, 1, 2, 20):
            for few in (0, 1, size, 1000):
                session.context(max_messages=few)
                many = session.append_and_context(said("more"), max_messages=size)
                there = another.tenant("acme").sessions.get(session.id)
                assert list(many) == list(there.context(max_messages=size, fresh=True))
                for most in (0, 1, few):
                    session.refresh()
                    expected = there.context(max_messages=most, fresh=True)
                    assert list(session.context(max_messages=most)) == list(expected)
            session.append_many(said(*map(str, range(size))))


@pytest.mark.parametrize("has_redis", [True, False])
def test_no_messages_wanted_spoils_nothing(
    postgres_url: str, redis_url: str, settings: Settings, has_redis: bool
) -> None:
    """context(max_messages=0) of a session of 20 messages that begins with a system message; large ones as stubs."""
    small = settings.model_copy(update={"window_message_bytes": 200})
    with ChatMemory.open(postgres_url, redis=redis_url if has_redis else None, settings=small) as memory:
        session = resumed(memory)
        session.append_many([SYSTEM, *said(*(f"{number} " * 100 for number in range(19)))])
        for handle in (session, memory.tenant("acme").sessions.get("s-1")):
            assert texts(handle.context(max_messages=0, fresh=handle is session)) == ["Be brief."]
            handle.append("user", "and more")
            last_seq = handle.info.last_seq
            newest = [1, *range(last_seq - 18, last_seq + 1)]
            assert [message.seq for message in handle.context(max_messages=19)] == newest
            context = handle.append_and_context(said("the end"), max_messages=20)
            assert [message.seq for message in context] == [*newest, last_seq + 1]


def test_the_least_recently_used_goes_first(postgres_url: str, settings: Settings, round_trips: list[str]) -> None:
    """Under a bound of a few sessions the last ones used are in the cache, and every context is right."""
    tiny = settings.model_copy(update={"recent_messages_bytes": 8_000})
    with ChatMemory.open(postgres_url, settings=tiny) as memory:
        sessions = memory.tenant("acme").sessions
        for number in range(20):
            session = sessions.create(user_id=f"u-{number}", session_id=f"s-{number}")
            session.append_and_context(said(f"of {number}", "more"))
            assert 0 < memory._parts.recent.size <= 8_000
        for number, reads in ((19, 0), (0, 1), (0, 0), (19, 0), (1, 1)):
            session = sessions.get(f"s-{number}")
            round_trips.clear()
            assert texts(session.context()) == [f"of {number}", "more"]
            assert len(round_trips) == reads
    none = settings.model_copy(update={"recent_messages_bytes": 0})
    with ChatMemory.open(postgres_url, settings=none) as memory:
        session = memory.tenant("acme").sessions.get("s-1")
        assert texts(session.append_and_context(said("last"))) == ["of 1", "more", "last"]
        assert texts(session.context()) == ["of 1", "more", "last"]
        assert memory._parts.recent.size == 0


def test_many_handles_at_once(memory: ChatMemory, another: ChatMemory) -> None:
    """Each writer makes a new handle at each turn, in two processes: no context has a gap, or lacks the newest turn."""
    created = resumed(memory)

    def write(sessions: Sessions, name: int) -> None:
        for number in range(8):
            session = sessions.get("s-1")
            context = session.context(max_messages=100)
            assert len(context) >= session.info.last_seq
            session.append_many(said(f"{name} {number}"))
            now = session.append_and_context(said(f"{name} {number} too"), max_messages=100)
            assert [message.seq for message in now] == list(range(1, len(now) + 1))
            assert f"{name} {number} too" in texts(now)

    memories = [memory, memory, another, another]
    side_by_side([partial(write, memory.tenant("acme").sessions, name) for name, memory in enumerate(memories)])
    stored = [message.text for message in created.history(100)]
    for each in (memory, another):
        assert texts((each.tenant("acme").sessions.get("s-1")).context(max_messages=100)) == stored
