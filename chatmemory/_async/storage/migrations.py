"""Bringing a database's schema up to date, under a lock, so that any number of processes may start at once."""

from typing import Any

import psycopg
from psycopg import AsyncConnection

from chatmemory.errors import SchemaPermissionError, SchemaVersionError
from chatmemory.storage import queries
from chatmemory.storage.schema import MIGRATION_LOCK, bootstrap_sql, lacking, record_sql

Link = AsyncConnection[tuple[Any, ...]]


async def ensure_schema(connection: Link, *, migrate: bool) -> None:
    """Leave the database as this library needs it, or say why that cannot be."""
    todo = lacking(await applied(connection))
    if todo and not migrate:
        raise SchemaVersionError(
            f"The database's schema lacks {', '.join(each.name for each in todo)}, and auto_migrate is off; "
            "run `chatmemory migrate`."
        )
    if todo:
        await apply(connection)


async def applied(connection: Link) -> dict[int, str | None]:
    """The checksum of each migration the database has seen, by version; empty where there is no schema."""
    if not await _value(connection, queries.admin.SCHEMA_EXISTS):
        return {}
    try:
        return dict(await (await connection.execute(queries.admin.APPLIED_MIGRATIONS)).fetchall())
    except psycopg.errors.InsufficientPrivilege:
        raise await _permission_error(connection) from None


async def apply(connection: Link) -> list[str]:
    """Apply what is missing and replace functions that have changed; return the names of what was applied."""
    try:
        async with connection.transaction():
            await connection.execute(queries.admin.MIGRATION_LOCK, (MIGRATION_LOCK,))
            seen = await applied(connection)
            if not seen:
                await connection.execute(bootstrap_sql(str(await _value(connection, queries.admin.LOGIN))).encode())
            todo = lacking(seen)
            for migration in todo:
                await connection.execute(migration.sql.encode())
                await connection.execute(record_sql(migration).encode())
            return [migration.name for migration in todo]
    except psycopg.errors.InsufficientPrivilege:
        raise await _permission_error(connection) from None


async def _value(connection: Link, query: str) -> Any:
    row = await (await connection.execute(query.encode())).fetchone()
    assert row is not None
    return row[0]


async def _permission_error(connection: Link) -> SchemaPermissionError:
    login = str(await _value(connection, queries.admin.LOGIN))
    return SchemaPermissionError(
        f"The database user {login!r} may not create the roles or the schema of chatmemory. Ask an administrator "
        f"to run this once, then try again:\n\n{bootstrap_sql(login)}\n"
        "`chatmemory migrate --print` prints this and all tables and functions as one script."
    )
