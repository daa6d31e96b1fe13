# Generated from chatmemory/_async/storage/migrations.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Bringing a database's schema up to date, under a lock, so that any number of processes may start at once."""

from typing import Any

import psycopg
from psycopg import Connection

from chatmemory.errors import SchemaPermissionError, SchemaVersionError
from chatmemory.storage import queries
from chatmemory.storage.schema import MIGRATION_LOCK, bootstrap_sql, lacking, record_sql

Link = Connection[tuple[Any, ...]]


def ensure_schema(connection: Link, *, migrate: bool) -> None:
    """Leave the database as this library needs it, or say why that cannot be."""
    todo = lacking(applied(connection))
    if todo and not migrate:
        raise SchemaVersionError(
            f"The database's schema lacks {', '.join(each.name for each in todo)}, and auto_migrate is off; "
            "run `chatmemory migrate`."
        )
    if todo:
        apply(connection)


def applied(connection: Link) -> dict[int, str | None]:
    """The checksum of each migration the database has seen, by version; empty where there is no schema."""
    if not _value(connection, queries.admin.SCHEMA_EXISTS):
        return {}
    try:
        return dict(connection.execute(queries.admin.APPLIED_MIGRATIONS).fetchall())
    except psycopg.errors.InsufficientPrivilege:
        raise _permission_error(connection) from None


def apply(connection: Link) -> list[str]:
    """Apply what is missing and replace functions that have changed; return the names of what was applied."""
    try:
        with connection.transaction():
            connection.execute(queries.admin.MIGRATION_LOCK, (MIGRATION_LOCK,))
            seen = applied(connection)
            if not seen:
                connection.execute(bootstrap_sql(str(_value(connection, queries.admin.LOGIN))).encode())
            todo = lacking(seen)
            for migration in todo:
                connection.execute(migration.sql.encode())
                connection.execute(record_sql(migration).encode())
            return [migration.name for migration in todo]
    except psycopg.errors.InsufficientPrivilege:
        raise _permission_error(connection) from None


def _value(connection: Link, query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


def _permission_error(connection: Link) -> SchemaPermissionError:
    login = str(_value(connection, queries.admin.LOGIN))
    return SchemaPermissionError(
        f"The database user {login!r} may not create the roles or the schema of chatmemory. Ask an administrator "
        f"to run this once, then try again:\n\n{bootstrap_sql(login)}\n"
        "`chatmemory migrate --print` prints this and all tables and functions as one script."
    )
