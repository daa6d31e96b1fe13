"""Statements that travel together, cancelled or cut off in the middle."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator

import psycopg
import pytest

from chatmemory import AsyncChatMemory, Settings
from chatmemory._async.storage.database import AsyncDatabase
from chatmemory.errors import StorageUnavailableError

NUMBER = ("select 1", ())
SLOW = ("select pg_sleep(30)", ())
TENANT = ("select current_setting('chatmemory.tenant_id')", ())
SETTINGS = Settings(cleanup_inactive_sessions=False, postgres_pool_max_size=1, postgres_timeout_seconds=5)
SLEEPING = "from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'"


@pytest.fixture
async def database(postgres_url: str) -> AsyncIterator[AsyncDatabase]:
    """A database with one connection, which has answered."""
    async with AsyncChatMemory.open(postgres_url, settings=SETTINGS) as memory:
        await memory._database.ping()
        yield memory._database


async def test_statements_cancelled_at_any_moment_leave_no_trace(
    database: AsyncDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    """100 transactions are cancelled up to three times: the only connection serves the next call, as its tenant."""
    rng = random.Random(5)
    cancelled = number = 0
    with caplog.at_level(logging.WARNING):
        while cancelled < 100:
            number += 1
            sent = (SLOW, NUMBER) if number % 10 == 0 else (NUMBER,) * 5
            task = asyncio.ensure_future(database.run("acme", *sent))
            await asyncio.wait([task], timeout=rng.random() * 0.003)
            for _ in range(rng.randint(1, 3)):
                task.cancel()
                await asyncio.sleep(0)
            await asyncio.wait([task])
            cancelled += task.cancelled()
            async with asyncio.timeout(10):
                assert await database.run("umbrella", TENANT) == [[("umbrella",)]]
    assert not [record for record in caplog.records if "error ignored" in record.getMessage()]


async def test_a_server_that_hangs_up_in_the_middle_is_unavailable(database: AsyncDatabase, postgres_url: str) -> None:
    """A connection that Postgres closes between two statements: a typed error, and the next call has a new one."""
    task = asyncio.ensure_future(database.run_once("acme", NUMBER, SLOW, NUMBER))
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as observer, asyncio.timeout(5):
        while not (await observer.execute(f"select pg_terminate_backend(pid) {SLEEPING}".encode())).rowcount:  # noqa: ASYNC110  # Postgres sets no event
            await asyncio.sleep(0.01)
    with pytest.raises(StorageUnavailableError, match="lost"):
        await task
    assert await database.run("acme", NUMBER) == [[(1,)]]
