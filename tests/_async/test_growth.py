"""A turn touches as many pages in a large database as in a small one, even before Postgres has analysed it."""

import json
from typing import Any

import pytest
from psycopg import AsyncConnection

from chatmemory import AsyncChatMemory

FILL = """
alter table chatmemory.sessions set (autovacuum_enabled = off);
alter table chatmemory.messages set (autovacuum_enabled = off);
insert into chatmemory.sessions (tenant_id, id, user_id, kind, created_at, updated_at, last_active_at)
    select 'acme', 's' || n, 'ann', 'chat', now(), now(), now() from generate_series(1, 20000) n;
insert into chatmemory.messages (tenant_id, session_id, seq, id, role, content, created_at)
    select 'acme', 'long', n, 'm' || n, 'user', 'x', now() from generate_series(1, 20000) n;
update chatmemory.sessions set last_seq = 20000, message_count = 20000 where id = 'long';
"""
MESSAGE = json.dumps([{"id": "m-7", "role": "user", "content": "x"}])
CALLS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "append": (
        "append_turn(%s, %s, null, 'estimate', %s, 'user', 'x', null, null, 1, null,"
        "null, null, null, null, null, null, null)",
        ("acme", "long", "new"),
    ),
    "append again": ("append(%s, %s, %s, 1, null, false, 1, null, true)", ("acme", "long", MESSAGE)),
    "history": ("read_messages(%s, %s, 20, null)", ("acme", "long")),
    "window": ("read_window(%s, %s, 20, null)", ("acme", "long")),
    "messages": ("messages_after(%s, %s, 10000, 20)", ("acme", "long")),
    "resume": (
        "resume_or_create(%s, %s, 'fresh', 'ann', 'chat', true, null, interval '1 day', 20, true, 4)",
        ("acme", "long"),
    ),
    "end": ("end_session(%s, %s, 'completed', null, null, 4)", ("acme", "long")),
}


async def pages(url: str, call: tuple[str, tuple[Any, ...]]) -> int:
    """How many pages a call touches, after one call that has filled the connection's caches."""
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
    small = await pages(postgres_url, CALLS[name])
    async with await AsyncConnection.connect(postgres_url) as connection:
        await connection.execute("delete from chatmemory.messages")
        await connection.execute(FILL.encode())
    large = await pages(postgres_url, CALLS[name])
    assert large <= small + 25, f"{name}: {small} pages in a small database, {large} in a large one"
