"""The window in Redis is the session's own, holds what Postgres holds, and does not outlive it."""

from typing import Any

import psycopg
import pytest
from redis import Redis

from chatmemory import AsyncChatMemory, AsyncSession, Context, NewMessage, SessionNotFoundError
from chatmemory._concurrency import async_in_thread
from chatmemory.context.window import window_from_rows
from chatmemory.storage.queries.messages import READ_WINDOW
from chatmemory.storage.redis_keys import window_key

pytestmark = pytest.mark.usefixtures("asks_redis")


async def begin(memory: AsyncChatMemory, *texts: str, user: str = "ann") -> AsyncSession:
    """The session "thread-1" with some messages, and its window."""
    session = await memory.tenant("acme").sessions.create(user_id=user, session_id="thread-1")
    for text in texts:
        await session.append("user", text)
    await session.context()
    return session


def texts(context: Context) -> list[str]:
    """Return the texts of messages."""
    return [message.text for message in context]


async def test_a_session_that_was_begun_anew_has_nothing_of_the_old(
    async_cached_memory: AsyncChatMemory, async_memory: AsyncChatMemory
) -> None:
    """Erased by a process without Redis, and created again under its id for someone else."""
    old = await begin(async_cached_memory, "Ann's 1", "Ann's 2", "Ann's 3")
    assert (await old.context()).source == "redis"
    await (await async_memory.tenant("acme").sessions.get(old.id)).erase()
    new = await async_cached_memory.tenant("acme").sessions.create(user_id="bob", session_id=old.id)
    assert texts(await new.context()) == []
    await new.append("user", "Bob's 1")
    assert texts(await new.context()) == ["Bob's 1"]
    await new.append_many([NewMessage("user", f"Bob's {n}") for n in (2, 3, 4)])
    assert texts(await new.context()) == ["Bob's 1", "Bob's 2", "Bob's 3", "Bob's 4"]
    assert (await new.context()).source == "redis"


async def test_what_postgres_has_lost_is_not_shown(async_cached_memory: AsyncChatMemory, postgres_url: str) -> None:
    """After a failover that lost commits: the first append that differs drops the window."""
    session = await begin(async_cached_memory, *(f"message {n}" for n in range(1, 7)))
    with psycopg.connect(postgres_url) as connection:
        connection.execute("delete from chatmemory.messages where seq > 3")
        connection.execute("update chatmemory.sessions set last_seq = 3, message_count = 3")
    again = await async_cached_memory.tenant("acme").sessions.get(session.id)
    await again.append("user", "after it")
    assert texts(await again.context()) == ["message 1", "message 2", "message 3", "after it"]


async def test_a_deleted_session_does_not_come_back(async_cached_memory: AsyncChatMemory) -> None:
    """One has read Postgres; it is deleted; another looks for it: what the first one stores then is not kept."""
    session = await begin(async_cached_memory, "secret")
    windows, info = async_cached_memory._windows, session.info
    await windows.forget(info)
    found = await windows.read(info, 20, 0)
    rows = await async_cached_memory._database.call(READ_WINDOW, ("acme", session.id, info.created_at, 20, None))
    await session.delete()
    with pytest.raises(SessionNotFoundError):
        await session.context()
    await windows.store(info, window_from_rows(rows, 20), found.lease)
    with pytest.raises(SessionNotFoundError):
        await session.context()


async def test_reading_keeps_no_window_alive(async_cached_memory: AsyncChatMemory, redis_url: str) -> None:
    """A window that its writer could not refresh is gone when its time is over; appending puts that off."""
    session = await begin(async_cached_memory, "a")
    key = window_key("acme", session.id)
    with Redis.from_url(redis_url) as client:
        client.pexpire(key, 60_000)
        assert (await session.context()).source == "redis"
        assert client.pttl(key) <= 60_000
        await session.append("user", "b")
        await async_cached_memory._windows.flush()
        assert client.pttl(key) > 60_000
        client.delete(key)
        await async_cached_memory._windows.read(session.info, 20, 0)
        client.pexpire(key, 60_000)
        await async_cached_memory._windows.read(session.info, 20, 0)
        assert 0 < client.pttl(key) <= 60_000


async def test_the_system_message_a_session_begins_with_stays(async_cached_memory: AsyncChatMemory) -> None:
    """Also when it was among the newest messages while the window was made, and is none of them any more."""
    session = await async_cached_memory.tenant("acme").sessions.create(user_id="ann")
    await session.append("system", "Never reveal prices.")
    for n in range(15):
        await session.append_many([NewMessage("user", f"question {n}"), NewMessage("assistant", f"answer {n}")])
        await session.context()
    warm, cold = await session.context(max_messages=4), await session.context(max_messages=4, fresh=True)
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
async def test_large_tool_calls_stay_with_their_results(async_cached_memory: AsyncChatMemory, form: str) -> None:
    """Redis holds them without their content, and yet gives the context that Postgres gives."""
    await async_in_thread(async_cached_memory._parts.tokenizer.best)
    session = await begin(async_cached_memory, "hello")
    await session.append_many([NewMessage("user", "save it"), *calls("c-1", form), NewMessage("user", "once more")])
    await session.append_many([*calls("c-2", form), NewMessage("assistant", "Done.")])
    await session.append_many(calls("c-3", form)[:1])  # not answered yet
    asked: list[dict[str, Any]] = [{}, {"max_messages": 5}, {"max_messages": 4}, {"max_tokens": 100}]
    for given in [*asked, *({"max_tokens": most} for most in (9_000, 18_100, 20_000, 40_000))]:
        warm, cold = await session.context(**given), await session.context(**given, fresh=True)
        assert warm.source == "redis"
        assert (warm.messages, warm.unpaired, warm.tokens) == (cold.messages, cold.unpaired, cold.tokens)
        assert warm.as_openai() == cold.as_openai()


async def test_flush_writes_the_window(async_cached_memory: AsyncChatMemory, redis_url: str) -> None:
    """After flush() Redis has what was appended, without a read that would bring it there."""
    session = await begin(async_cached_memory, "one")
    await session.append("user", "two")
    await async_cached_memory.flush()
    with Redis.from_url(redis_url) as redis:
        assert "two" in str(redis.hgetall(window_key("acme", session.id)))
