# Generated from chatmemory/_async/migrations.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Bringing a database's schema up to date, under a lock, so that any number of processes may start at once."""

from typing import Any

import psycopg
from psycopg import Connection

from chatmemory import queries
from chatmemory.errors import SchemaPermissionError, SchemaVersionError
from chatmemory.schema import (
    MIGRATION_LOCK,
    bootstrap_sql,
    functions_sql,
    latest_version,
    pending,
    record_sql,
)

Link = Connection[tuple[Any, ...]]


def ensure_schema(connection: Link, *, migrate: bool) -> None:
    """Leave the database at this library's version, or say why that cannot be."""
    version = schema_version(connection)
    if version == latest_version():
        return
    if version < latest_version() and not migrate:
        raise SchemaVersionError(
            f"The database's schema has version {version}, this library needs {latest_version()}, and "
            "auto_migrate is off; run `chatmemory migrate`."
        )
    apply(connection)


def schema_version(connection: Link) -> int:
    """The database's version; 0 where there is no schema."""
    if not _value(connection, queries.SCHEMA_EXISTS):
        return 0
    try:
        return int(_value(connection, queries.SCHEMA_VERSION))
    except psycopg.errors.InsufficientPrivilege:
        raise _permission_error(connection) from None


def apply(connection: Link) -> list[str]:
    """Apply what is missing and replace the functions; return the names of the files applied."""
    try:
        with connection.transaction():
            connection.execute(queries.MIGRATION_LOCK, (MIGRATION_LOCK,))
            version = schema_version(connection)
            if version > latest_version():
                raise SchemaVersionError(
                    f"The database's schema has version {version}; this library knows {latest_version()} at most. "
                    "Upgrade chatmemory, or use another database."
                )
            return _apply_pending(connection, version)
    except psycopg.errors.InsufficientPrivilege:
        raise _permission_error(connection) from None


def _apply_pending(connection: Link, version: int) -> list[str]:
    todo = pending(version)
    login = str(_value(connection, queries.LOGIN))
    if version == 0:
        connection.execute(bootstrap_sql(login).encode())
    for migration in todo:
        connection.execute(migration.sql.encode())
        connection.execute(record_sql(migration).encode())
    connection.execute(functions_sql().encode())
    return [migration.name for migration in todo]


def _value(connection: Link, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _permission_error(connection: Link) -> SchemaPermissionError:
    login = str(_value(connection, queries.LOGIN))
    return SchemaPermissionError(
        f"The database user {login!r} may not create the roles or the schema of chatmemory. Ask an administrator "
        f"to run this once, then try again:\n\n{bootstrap_sql(login)}\n"
        "`chatmemory migrate --print` prints this and all tables and functions as one script."
    )
