"""Tasks are cancelled wherever they happen to be."""

import asyncio
import random
from typing import Any

import psycopg
import pytest

from chatmemory import AsyncChatMemory, Settings
from tests.processes import work

CANCELLATIONS = 200
WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def test_cancelled_appends_leave_the_pool_whole(postgres_url: str) -> None:
    """200 appends are cancelled at random points, with two connections: both stay usable, seq has no gap."""
    session_id = work.new_session(postgres_url)
    settings = Settings(cleanup_inactive_sessions=False, postgres_pool_max_size=2, postgres_timeout_seconds=5)
    rng = random.Random(11)
    acknowledged: list[tuple[int, str]] = []
    cancelled = number = 0
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        session = await memory.tenant(work.TENANT).sessions.get(session_id)
        while cancelled < CANCELLATIONS:
            tasks = []
            for _ in range(rng.randint(1, 4)):  # up to two have to wait for a connection
                pair = [{"role": "user", "content": "x", "message_id": f"{number}-{half}"} for half in "ab"]
                tasks.append(asyncio.create_task(session.append_many(pair)))
                number += 1
            await asyncio.wait(tasks, timeout=rng.random() * 0.004)
            for task in tasks:
                task.cancel()
            for answer in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(answer, list):
                    acknowledged += [(message.seq, message.id) for message in answer]
                else:
                    assert isinstance(answer, asyncio.CancelledError), answer
                    cancelled += 1
        await _both_connections_work(postgres_url, memory, session_id)
    stored = await asyncio.to_thread(work.stored, postgres_url, session_id)
    assert acknowledged
    assert set(acknowledged) <= set(stored)
    pairs = [id for _, id in stored if id.endswith(("-a", "-b"))]
    assert pairs[::2] == [id.replace("b", "a") for id in pairs[1::2]]  # all of an append_many or nothing


async def _both_connections_work(url: str, memory: AsyncChatMemory, session_id: str) -> None:
    """Two appends reach Postgres at once: both wait there for a row that is locked, and then both succeed."""
    session = await memory.tenant(work.TENANT).sessions.get(session_id)
    async with await psycopg.AsyncConnection.connect(url) as other:
        await other.execute("select from chatmemory.sessions for update")
        appends = [asyncio.create_task(session.append("user", "last", message_id=f"last-{n}")) for n in (1, 2)]
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as observer:
            async with asyncio.timeout(5):
                while await (await observer.execute(WAITING)).fetchone() != (2,):
                    assert not any(append.done() for append in appends)
        await other.rollback()
    first, second = await asyncio.gather(*appends)
    assert abs(first.seq - second.seq) == 1


@pytest.mark.parametrize("method", ["append", "refresh"])
async def test_a_call_cancelled_while_it_gives_its_connection_back(postgres_url: str, method: str) -> None:
    """The connection is not lost: the next call has it."""
    settings = Settings(cleanup_inactive_sessions=False, postgres_pool_max_size=1, postgres_timeout_seconds=2)
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        session = await memory.tenant(work.TENANT).sessions.create(user_id=work.USER)
        pool: Any = memory._database._pool
        give_back, giving, may_go_on = pool.putconn, asyncio.Event(), asyncio.Event()

        async def slow(connection: object) -> None:  # as when another task holds the pool's lock
            giving.set()
            await may_go_on.wait()
            await give_back(connection)

        pool.putconn = slow
        call = session.append("user", "x") if method == "append" else session.refresh()
        task = asyncio.ensure_future(call)
        await giving.wait()
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await session.append("user", "y")).text == "y"
