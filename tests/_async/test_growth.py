"""A turn touches as many pages in a large database as in a small one, even before Postgres has analysed it.

And a long session leaves no more behind than a short one, in this process and in Redis.
"""

import gc
import json
import sys
import tracemalloc
from typing import Any

import pytest
from psycopg import AsyncConnection
from redis import Redis

from chatmemory import AsyncChatMemory, AsyncSession, Settings
from chatmemory.storage.redis_keys import window_key

pytestmark = pytest.mark.usefixtures("asks_redis")

FILL = """
alter table chatmemory.sessions set (autovacuum_enabled = off);
alter table chatmemory.messages set (autovacuum_enabled = off);
insert into chatmemory.sessions (tenant_id, id, user_id, kind, created_at, updated_at, last_active_at)
    select 'acme', 's' || n, 'ann', 'chat', 'epoch', now(), now() from generate_series(1, 20000) n;
insert into chatmemory.messages (tenant_id, session_id, seq, id, role, content, created_at)
    select 'acme', 'long', n, 'm' || n, 'user', 'x', now() from generate_series(1, 20000) n;
update chatmemory.sessions set last_seq = 20000, message_count = 20000 where id = 'long';
"""
TEXT = "The invoice of last month still shows the old address."
MESSAGE = json.dumps([{"id": "m-7", "role": "user", "content": "x"}])
DECLARED = json.dumps({"learns": "messages", "due_messages": 40, "due_tokens": 4000})
LEVELS = 40  # pages: where an update has no room beside the row, each index of the session takes a few
CALLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "append": (
        "append_turn(%s, %s, 'epoch', null, 'estimate', %s, 'user', 'x', null, null, 1, null,"
        "null, null, null, null, null, null, null)",
        ("acme", "long", "new"),
    ),
    "append again": ("append(%s, %s, 'epoch', %s, 1, null, false, 1, null, true)", ("acme", "long", MESSAGE)),
    "window": ("read_window(%s, %s, 'epoch', 20, null)", ("acme", "long")),
    "messages": ("messages_after(%s, %s, 10000, 20)", ("acme", "long")),
    "resume": (
        "resume_or_create(%s, %s, 'fresh', 'ann', 'chat', true, true, null, interval '1 day', 20, true, %s)",
        ("acme", "long", DECLARED),
    ),
    "end": ("end_sessions(%s, %s, true)", ("acme", json.dumps([{"id": "long", "status": "completed"}]))),
}


async def pages(url: str, call: tuple[str, tuple[Any, ...]]) -> int:
    """Return the pages that a call touches, after one call that has filled the connection's caches."""
    function, params = call
    explain = f"explain (analyze, buffers, format json) select * from chatmemory.{function}".encode()
    async with await AsyncConnection.connect(url) as connection:
        for _ in range(2):
            await connection.execute("savepoint before")
            [(plan,)] = await (await connection.execute(explain, params)).fetchall()
            await connection.execute("rollback to savepoint before")
        await connection.rollback()
    return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


@pytest.mark.parametrize("name", CALLS)
async def test_a_large_database_costs_no_more_pages(
    async_memory: AsyncChatMemory, postgres_url: str, name: str
) -> None:
    """20,000 sessions of the user, and 20,000 messages in this one, add no more than index levels."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann", session_id="long")
    await session.append_many([{"role": "user", "content": "x", "message_id": f"m{n}"} for n in range(1, 31)])
    async with await AsyncConnection.connect(postgres_url) as connection:
        await connection.execute("update chatmemory.sessions set created_at = 'epoch'")
    small = await pages(postgres_url, CALLS[name])
    async with await AsyncConnection.connect(postgres_url) as connection:
        await connection.execute("delete from chatmemory.messages")
        await connection.execute(FILL.encode())
    large = await pages(postgres_url, CALLS[name])
    assert large <= small + LEVELS, f"{name}: {small} pages in a small database, {large} in a large one"


async def grow(session: AsyncSession, length: int) -> None:
    """Equal messages up to this length; the last 300 of them, one batch, fill a window that there is by then."""
    for end in (*range(5000, length - 300, 5000), length - 300, length):
        count = end - session.info.last_seq
        await session.append_many({"role": ("user", "assistant")[n % 2], "content": TEXT} for n in range(count))
        await session.context()


async def left_behind(session: AsyncSession, redis_url: str) -> tuple[int, int, int]:
    """The bytes of a session's window in Redis, and of a context at most; how many blocks this process then holds."""
    gc.collect()
    tracemalloc.start()
    context = await session.context(max_messages=150)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (context.source, len(context), context.messages[-1].seq) == ("redis", 150, session.info.last_seq)
    del context
    gc.collect()
    with Redis.from_url(redis_url) as client:
        window = client.memory_usage(window_key("acme", session.id), samples=0)
    assert isinstance(window, int)
    return window, peak, sys.getallocatedblocks()


async def test_a_long_session_leaves_no_more_behind(postgres_url: str, redis_url: str, settings: Settings) -> None:
    """At 100,000 messages about what there is at 1000: nothing in Redis or in this process grows with the length."""
    settings = settings.model_copy(update={"redis_timeout_seconds": 60})  # a busy machine is no fault of Redis
    async with AsyncChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        await memory.health()  # the vocabulary is there before anything is measured
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        await grow(session, 1000)
        window, peak, blocks = await left_behind(session, redis_url)
        await grow(session, 100_000)
        long_window, long_peak, more_blocks = await left_behind(session, redis_url)
    assert long_window < 1.2 * window
    assert long_peak < 1.2 * peak
    assert more_blocks - blocks < 5000
