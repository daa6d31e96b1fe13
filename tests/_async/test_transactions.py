"""Statements of a tenant that travel together: what fails in the middle, and what is left of the connection."""

import logging
from typing import Any

import pytest
from psycopg import AsyncConnection, OperationalError
from psycopg.pq import PipelineStatus

from chatmemory import AsyncChatMemory, Settings
from chatmemory._async.storage.database import AsyncDatabase
from chatmemory._async.storage.transaction import first_error
from chatmemory.errors import StorageError, StorageUnavailableError

NUMBER = ("select 1", ())
FAILS = ("select 1 / %s", (0,))
SETTINGS = Settings(cleanup_inactive_sessions=False, postgres_pool_max_size=1, postgres_timeout_seconds=5)


async def only_connection(database: AsyncDatabase) -> AsyncConnection[Any]:
    """The one connection of the pool."""
    pool = await database.connect()
    async with pool.connection() as connection:
        return connection


async def rename_and_fail(database: AsyncDatabase, session_id: str) -> None:
    """Change a session in one round trip, and fail in the next."""
    async with database.transaction("acme") as transaction:
        await transaction.run(("update chatmemory.sessions set title = 'new' where id = %s", (session_id,)))
        await transaction.finish(FAILS, NUMBER)


async def interrupted(database: AsyncDatabase, connection: AsyncConnection[Any]) -> None:
    """Leave a transaction while its connection is in pipeline mode."""
    async with database.transaction("acme") as transaction:
        await transaction.run(NUMBER)
        connection.pgconn.enter_pipeline_mode()
        raise KeyboardInterrupt


@pytest.mark.parametrize("behind", [0, 1, 50])
@pytest.mark.parametrize("prepared", [True, False])
async def test_the_statement_that_failed_is_reported(
    postgres_url: str, behind: int, prepared: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """However many statements follow it, its own error is raised; nothing is logged, and the next call works."""
    settings = SETTINGS.model_copy(update={"prepared_statements": prepared})
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        database = memory._database
        for _ in range(8):  # also once the statements are prepared
            with caplog.at_level(logging.WARNING), pytest.raises(StorageError, match="22012") as raised:
                await database.run("acme", NUMBER, FAILS, *[NUMBER] * behind)
            assert not isinstance(raised.value, StorageUnavailableError)
            assert await database.run("acme", NUMBER, NUMBER) == [[(1,)], [(1,)]]
    assert not caplog.records


async def test_a_failure_in_a_later_round_trip_undoes_the_first(async_memory: AsyncChatMemory) -> None:
    """The writes of an earlier run() of the transaction are rolled back."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann")
    with pytest.raises(StorageError, match="22012"):
        await rename_and_fail(async_memory._database, session.id)
    assert (await session.refresh()).title is None


async def test_a_connection_left_in_a_pipeline_is_replaced(postgres_url: str) -> None:
    """An interrupt that leaves a connection between two modes does not hand it to the next caller."""
    async with AsyncChatMemory.open(postgres_url, settings=SETTINGS) as memory:
        first = await only_connection(memory._database)
        with pytest.raises(KeyboardInterrupt):
            await interrupted(memory._database, first)
        assert await memory._database.run("acme", NUMBER) == [[(1,)]]
        second = await only_connection(memory._database)
        assert first.closed
        assert second.pgconn.pipeline_status == PipelineStatus.OFF


async def test_an_interrupt_is_raised_as_itself() -> None:
    """Neither an error that psycopg raises after it, nor one that was handled before, replaces an interrupt."""
    replaced = OperationalError("cannot exit pipeline mode while busy")
    replaced.__context__ = KeyboardInterrupt()
    assert first_error(replaced) is replaced.__context__
    assert first_error(replaced, replaced.__context__) is replaced
