"""The connection to another store in Postgres, whose errors say what to change."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias

import psycopg
from psycopg import errors, sql

from chatmemory import ConfigurationError, StorageUnavailableError

Source: TypeAlias = psycopg.Connection[Any]
CONNECT_SECONDS = 10


@contextmanager
def connected(url: str) -> Iterator[Source]:
    """Connect to the store for reading.

    Raises:
        ConfigurationError: The URL cannot be read, or the server cannot be reached.
    """
    plain = re.sub(r"^(postgres(?:ql)?)\+\w+://", r"\1://", url)  # as SQLAlchemy names its driver
    try:
        connection: Source = psycopg.connect(
            plain, autocommit=True, connect_timeout=CONNECT_SECONDS, prepare_threshold=None
        )
    except psycopg.ProgrammingError:
        raise ConfigurationError(
            "The source's URL cannot be read; write postgresql://user:password@host/database."
        ) from None
    except psycopg.Error as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigurationError(f"The source cannot be reached: {reason}") from None
    with connection:
        yield connection


def fetch(connection: Source, statement: sql.SQL | sql.Composed, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    with translated():
        return connection.execute(statement, params).fetchall()


def columns_of(connection: Source, statement: sql.Composed) -> set[str]:
    """Return the names of the columns that a statement gives."""
    with translated():
        return {column.name for column in connection.execute(statement).description or ()}


@contextmanager
def translated() -> Iterator[None]:
    """Raise Postgres' errors as ours.

    Raises:
        ConfigurationError: A table is missing or must not be read, or lacks a column.
        StorageUnavailableError: The source stopped answering.
    """
    try:
        yield
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        raise ConfigurationError("The source has no such table; name its table, or the database that has it.") from None
    except errors.InsufficientPrivilege:
        raise ConfigurationError("The source's user may not read the table; grant select on it.") from None
    except errors.OperationalError:
        raise StorageUnavailableError(
            "The source stopped answering. Importing again is safe: it adds only what is missing."
        ) from None
    except psycopg.Error as error:
        reason = error.diag.message_primary or type(error).__name__
        raise ConfigurationError(f"The source cannot be read: {reason}") from None
