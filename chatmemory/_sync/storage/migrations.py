# Generated from chatmemory/_async/storage/migrations.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Bringing a database's schema up to date, under a lock, so that any number of processes may start at once."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from chatmemory.errors import SchemaPermissionError, SchemaVersionError
from chatmemory.storage import queries
from chatmemory.storage.schema import MIGRATION_LOCK, access_sql, bootstrap_sql, lacking, record_sql, repair_sql


class Deviation(NamedTuple):
    """Something in a database that is not as this library needs it, and the part it belongs to."""

    part: str
    problem: str


Link = Connection[tuple[Any, ...]]


def ensure_schema(connection: Link, *, migrate: bool) -> None:
    """Leave the database as this library needs it, or say why that cannot be."""
    todo = [migration.name for migration in lacking(applied(connection))]
    todo = todo or parts(deviations(connection))
    if todo and not migrate:
        raise SchemaVersionError(
            f"The database is not as this library needs it ({', '.join(todo)}), and auto_migrate is off; "
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


def deviations(connection: Link) -> list[Deviation]:
    """What the roles, policies, grants and functions of a migrated database lack."""
    rows = connection.execute(access_sql().encode()).fetchall()
    return [Deviation(part, problem) for _, part, problem, _ in rows]


def parts(found: Iterable[Deviation]) -> list[str]:
    """The parts that something is wrong with, each once."""
    return list(dict.fromkeys(deviation.part for deviation in found))


def apply(connection: Link) -> list[str]:
    """Apply what is missing, replace functions that have changed, repair access; return what was done."""
    try:
        with connection.transaction():
            connection.execute(queries.admin.MIGRATION_LOCK, (MIGRATION_LOCK,))
            seen = applied(connection)
            connection.execute(bootstrap_sql(str(_value(connection, queries.admin.LOGIN))).encode())
            todo = lacking(seen)
            for migration in todo:
                connection.execute(migration.sql.encode())
                connection.execute(record_sql(migration).encode())
            wrong = deviations(connection)
            if wrong:
                connection.execute(repair_sql().encode())
            return [migration.name for migration in todo] or [f"{part} (repaired)" for part in parts(wrong)]
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
