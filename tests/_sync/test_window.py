# Generated from tests/_async/test_window.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The window in Redis is the session's own, holds what Postgres holds, and does not outlive it."""

from typing import Any

import psycopg
import pytest
from redis import Redis

from chatmemory import ChatMemory, Context, NewMessage, Session, SessionNotFoundError
from chatmemory._concurrency import in_thread
from chatmemory.context.window import window_from_rows
from chatmemory.storage.queries.messages import READ_WINDOW
from chatmemory.storage.redis_keys import window_key

pytestmark = pytest.mark.usefixtures("asks_redis")


def begin(memory: ChatMemory, *texts: str, user: str = "ann") -> Session:
    """The session "thread-1" with some messages, and its window."""
    session = memory.tenant("acme").sessions.create(user_id=user, session_id="thread-1")
    for text in texts:
        session.append("user", text)
    session.context()
    return session


def texts(context: Context) -> list[str]:
    """Return the texts of messages."""
    return [message.text for message in context]


def test_a_session_that_was_begun_anew_has_nothing_of_the_old(cached_memory: ChatMemory, memory: ChatMemory) -> None:
    """Erased by a process without Redis, and created again under its id for someone else."""
    old = begin(cached_memory, "Ann's 1", "Ann's 2", "Ann's 3")
    assert old.context().source == "redis"
    (memory.tenant("acme").sessions.get(old.id)).erase()
    new = cached_memory.tenant("acme").sessions.create(user_id="bob", session_id=old.id)
    assert texts(new.context()) == []
    new.append("user", "Bob's 1")
    assert texts(new.context()) == ["Bob's 1"]
    new.append_many([NewMessage("user", f"Bob's {n}") for n in (2, 3, 4)])
    assert texts(new.context()) == ["Bob's 1", "Bob's 2", "Bob's 3", "Bob's 4"]
    assert new.context().source == "redis"


def test_what_postgres_has_lost_is_not_shown(cached_memory: ChatMemory, postgres_url: str) -> None:
    """After a failover that lost commits: the first append that differs drops the window."""
    session = begin(cached_memory, *(f"message {n}" for n in range(1, 7)))
    with psycopg.connect(postgres_url) as connection:
        connection.execute("delete from chatmemory.messages where seq > 3")
        connection.execute("update chatmemory.sessions set last_seq = 3, message_count = 3")
    again = cached_memory.tenant("acme").sessions.get(session.id)
    again.append("user", "after it")
    assert texts(again.context()) == ["message 1", "message 2", "message 3", "after it"]


def test_a_deleted_session_does_not_come_back(cached_memory: ChatMemory) -> None:
    """One has read Postgres; it is deleted; another looks for it: what the first one stores then is not kept."""
    session = begin(cached_memory, "secret")
    windows, info = cached_memory._windows, session.info
    windows.forget(info)
    found = windows.read(info, 20, 0)
    rows = cached_memory._database.call(READ_WINDOW, ("acme", session.id, info.created_at, 20, None))
    session.delete()
    with pytest.raises(SessionNotFoundError):
        session.context()
    windows.store(info, window_from_rows(rows, 20), found.lease)
    with pytest.raises(SessionNotFoundError):
        session.context()


def test_reading_keeps_no_window_alive(cached_memory: ChatMemory, redis_url: str) -> None:
    """A window that its writer could not refresh is gone when its time is over; appending puts that off."""
    session = begin(cached_memory, "a")
    key = window_key("acme", session.id)
    with Redis.from_url(redis_url) as client:
        client.pexpire(key, 60_000)
        assert session.context().source == "redis"
        assert client.pttl(key) <= 60_000
        session.append("user", "b")
        cached_memory._windows.flush()
        assert client.pttl(key) > 60_000
        client.delete(key)
        cached_memory._windows.read(session.info, 20, 0)
        client.pexpire(key, 60_000)
        cached_memory._windows.read(session.info, 20, 0)
        assert 0 < client.pttl(key) <= 60_000


def test_the_system_message_a_session_begins_with_stays(cached_memory: ChatMemory) -> None:
    """Also when it was among the newest messages while the window was made, and is none of them any more."""
    session = cached_memory.tenant("acme").sessions.create(user_id="ann")
    session.append("system", "Never reveal prices.")
    for n in range(15):
        session.append_many([NewMessage("user", f"question {n}"), NewMessage("assistant", f"answer {n}")])
        session.context()
    warm, cold = session.context(max_messages=4), session.context(max_messages=4, fresh=True)
    assert (warm.source, texts(warm)[0]) == ("redis", "Never reveal prices.")
    assert (texts(warm), warm.prefix_id) == (texts(cold), cold.prefix_id)


def calls(id: str, form: str) -> list[NewMessage]:
    """A tool call that is too large for Redis, and its result, as OpenAI or as Anthropic writes them."""
    large = "word " * 9000
    if form == "openai":
        call = {"id": id, "type": "function", "function": {"name": "save", "arguments": f'{{"text": "{large}"}}'}}
        return [
            NewMessage("assistant", "I save it.", metadata={"tool_calls": [call]}),
            NewMessage("tool", large, metadata={"tool_call_id": id}),
        ]
    return [
        NewMessage("assistant", [{"type": "tool_use", "id": id, "name": "save", "input": {"text": large}}]),
        NewMessage("user", [{"type": "tool_result", "tool_use_id": id, "content": large}]),
    ]


@pytest.mark.parametrize("form", ["openai", "anthropic"])
def test_large_tool_calls_stay_with_their_results(cached_memory: ChatMemory, form: str) -> None:
    """Redis holds them without their content, and yet gives the context that Postgres gives."""
    in_thread(cached_memory._parts.tokenizer.best)
    session = begin(cached_memory, "hello")
    session.append_many([NewMessage("user", "save it"), *calls("c-1", form), NewMessage("user", "once more")])
    session.append_many([*calls("c-2", form), NewMessage("assistant", "Done.")])
    session.append_many(calls("c-3", form)[:1])  # not answered yet
    asked: list[dict[str, Any]] = [{}, {"max_messages": 5}, {"max_messages": 4}, {"max_tokens": 100}]
    for given in [*asked, *({"max_tokens": most} for most in (9_000, 18_100, 20_000, 40_000))]:
        warm, cold = session.context(**given), session.context(**given, fresh=True)
        assert warm.source == "redis"
        assert (warm.messages, warm.unpaired, warm.tokens) == (cold.messages, cold.unpaired, cold.tokens)
        assert warm.as_openai() == cold.as_openai()


def test_flush_writes_the_window(cached_memory: ChatMemory, redis_url: str) -> None:
    """After flush() Redis has what was appended, without a read that would bring it there."""
    session = begin(cached_memory, "one")
    session.append("user", "two")
    cached_memory.flush()
    with Redis.from_url(redis_url) as redis:
        assert "two" in str(redis.hgetall(window_key("acme", session.id)))
