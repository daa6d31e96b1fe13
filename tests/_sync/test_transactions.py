# Generated from tests/_async/test_transactions.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Statements of a tenant that travel together: what fails in the middle, and what is left of the connection."""

import logging
from typing import Any

import pytest
from psycopg import Connection, OperationalError
from psycopg.pq import PipelineStatus

from chatmemory import ChatMemory, Settings
from chatmemory._sync.storage.database import Database
from chatmemory._sync.storage.transaction import first_error
from chatmemory.errors import StorageError, StorageUnavailableError

NUMBER = ("select 1", ())
FAILS = ("select 1 / %s", (0,))
SETTINGS = Settings(cleanup_inactive_sessions=False, postgres_pool_max_size=1, postgres_timeout_seconds=5)


def only_connection(database: Database) -> Connection[Any]:
    """The one connection of the pool."""
    pool = database.connect()
    with pool.connection() as connection:
        return connection


def rename_and_fail(database: Database, session_id: str) -> None:
    """Change a session in one round trip, and fail in the next."""
    with database.transaction("acme") as transaction:
        transaction.run(("update chatmemory.sessions set title = 'new' where id = %s", (session_id,)))
        transaction.finish(FAILS, NUMBER)


def interrupted(database: Database, connection: Connection[Any]) -> None:
    """Leave a transaction while its connection is in pipeline mode."""
    with database.transaction("acme") as transaction:
        transaction.run(NUMBER)
        connection.pgconn.enter_pipeline_mode()
        raise KeyboardInterrupt


@pytest.mark.parametrize("behind", [0, 1, 50])
@pytest.mark.parametrize("prepared", [True, False])
def test_the_statement_that_failed_is_reported(
    postgres_url: str, behind: int, prepared: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """However many statements follow it, its own error is raised; nothing is logged, and the next call works."""
    settings = SETTINGS.model_copy(update={"prepared_statements": prepared})
    with ChatMemory.open(postgres_url, settings=settings) as memory:
        database = memory._database
        for _ in range(8):  # also once the statements are prepared
            with caplog.at_level(logging.WARNING), pytest.raises(StorageError, match="22012") as raised:
                database.run("acme", NUMBER, FAILS, *[NUMBER] * behind)
            assert not isinstance(raised.value, StorageUnavailableError)
            assert database.run("acme", NUMBER, NUMBER) == [[(1,)], [(1,)]]
    assert not caplog.records


def test_a_failure_in_a_later_round_trip_undoes_the_first(memory: ChatMemory) -> None:
    """The writes of an earlier run() of the transaction are rolled back."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    with pytest.raises(StorageError, match="22012"):
        rename_and_fail(memory._database, session.id)
    assert session.refresh().title is None


def test_a_connection_left_in_a_pipeline_is_replaced(postgres_url: str) -> None:
    """An interrupt that leaves a connection between two modes does not hand it to the next caller."""
    with ChatMemory.open(postgres_url, settings=SETTINGS) as memory:
        first = only_connection(memory._database)
        with pytest.raises(KeyboardInterrupt):
            interrupted(memory._database, first)
        assert memory._database.run("acme", NUMBER) == [[(1,)]]
        second = only_connection(memory._database)
        assert first.closed
        assert second.pgconn.pipeline_status == PipelineStatus.OFF


def test_an_interrupt_is_raised_as_itself() -> None:
    """Neither an error that psycopg raises after it, nor one that was handled before, replaces an interrupt."""
    replaced = OperationalError("cannot exit pipeline mode while busy")
    replaced.__context__ = KeyboardInterrupt()
    assert first_error(replaced) is replaced.__context__
    assert first_error(replaced, replaced.__context__) is replaced
