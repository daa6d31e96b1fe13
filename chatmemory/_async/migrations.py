"""Bringing a database's schema up to date, under a lock, so that any number of processes may start at once."""

from typing import Any

import psycopg
from psycopg import AsyncConnection

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

Link = AsyncConnection[tuple[Any, ...]]


async def ensure_schema(connection: Link, *, migrate: bool) -> None:
    """Leave the database at this library's version, or say why that cannot be."""
    version = await schema_version(connection)
    if version == latest_version():
        return
    if version < latest_version() and not migrate:
        raise SchemaVersionError(
            f"The database's schema has version {version}, this library needs {latest_version()}, and "
            "auto_migrate is off; run `chatmemory migrate`."
        )
    await apply(connection)


async def schema_version(connection: Link) -> int:
    """The database's version; 0 where there is no schema."""
    if not await _value(connection, queries.SCHEMA_EXISTS):
        return 0
    try:
        return int(await _value(connection, queries.SCHEMA_VERSION))
    except psycopg.errors.InsufficientPrivilege:
        raise await _permission_error(connection) from None


async def apply(connection: Link) -> list[str]:
    """Apply what is missing and replace the functions; return the names of the files applied."""
    try:
        async with connection.transaction():
            await connection.execute(queries.MIGRATION_LOCK, (MIGRATION_LOCK,))
            version = await schema_version(connection)
            if version > latest_version():
                raise SchemaVersionError(
                    f"The database's schema has version {version}; this library knows {latest_version()} at most. "
                    "Upgrade chatmemory, or use another database."
                )
            return await _apply_pending(connection, version)
    except psycopg.errors.InsufficientPrivilege:
        raise await _permission_error(connection) from None


async def _apply_pending(connection: Link, version: int) -> list[str]:
    todo = pending(version)
    login = str(await _value(connection, queries.LOGIN))
    if version == 0:
        await connection.execute(bootstrap_sql(login).encode())
    for migration in todo:
        await connection.execute(migration.sql.encode())
        await connection.execute(record_sql(migration).encode())
    await connection.execute(functions_sql().encode())
    return [migration.name for migration in todo]


async def _value(connection: Link, query: str) -> Any:
    row = await (await connection.execute(query.encode())).fetchone()
    assert row is not None
    return row[0]


async def _permission_error(connection: Link) -> SchemaPermissionError:
    login = str(await _value(connection, queries.LOGIN))
    return SchemaPermissionError(
        f"The database user {login!r} may not create the roles or the schema of chatmemory. Ask an administrator "
        f"to run this once, then try again:\n\n{bootstrap_sql(login)}\n"
        "`chatmemory migrate --print` prints this and all tables and functions as one script."
    )
