# Generated from chatmemory/_async/storage/migrations.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Migration of a database's schema, under a lock, so that any number of processes may start at once."""

import shlex
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_random_exponential

from chatmemory._sync.storage.transaction import pinned
from chatmemory.errors import SchemaPermissionError, SchemaVersionError, StorageUnavailableError
from chatmemory.storage import queries
from chatmemory.storage.schema import (
    MIGRATION_LOCK,
    access_revision,
    access_sql,
    bootstrap_sql,
    check_release,
    lacking,
    record_sql,
    repair_sql,
)
from chatmemory.storage.schema.files import Migration

PATIENCE = 60  # seconds in which the tables must become free for a moment
_IN_USE = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected)


class Deviation(NamedTuple):
    """A difference between a database's access rules and the declared ones.

    Attributes:
        part: "roles", "row-level security", "grants", "functions" or "vectors".
        problem: A short description.
    """

    part: str
    problem: str


class Differences(NamedTuple):
    """The differences between a database and what this library needs.

    Attributes:
        missing: The numbered files that were not applied.
        deviations: The deviations; they are looked for only if no file is missing.
    """

    missing: list[Migration]
    deviations: list[Deviation]

    @property
    def done(self) -> list[str]:
        """The names of the files and of the repaired parts, for a report after the migration."""
        parts = dict.fromkeys(deviation.part for deviation in self.deviations)
        return [migration.name for migration in self.missing] + [f"{part} (repaired)" for part in parts]


Link = Connection[tuple[Any, ...]]


def ensure_schema(connection: Link, *, migrate: bool) -> bool:
    """Check the schema, and bring it up to date if `migrate` is set; return whether it was changed.

    Raises:
        SchemaPermissionError: The login may not read or change the schema.
        SchemaVersionError: The schema does not fit this library, and was not or cannot be migrated.
        StorageUnavailableError: The tables were in use for a minute without a pause.
    """
    found = differences(connection)
    if migrate and (found.missing or found.deviations):
        apply(connection)
        return True
    needed = [f"lacks {each.name}" for each in found.missing]
    needed += [
        each.problem for each in found.deviations if each.part != "vectors"
    ]  # without vectors, recall is lexical
    if needed:
        raise SchemaVersionError(
            f"The database does not fit this library ({summary(needed)}), and auto_migrate is off; "
            "run `chatmemory migrate`."
        )
    return False


def differences(connection: Link) -> Differences:
    """Compare a database with what this library needs.

    Raises:
        SchemaPermissionError: The login may not read the schema's own tables.
        SchemaVersionError: The database is too new, or was made by other files.
    """
    try:
        with pinned(connection):
            return _compare(connection)
    except psycopg.errors.InsufficientPrivilege:
        raise _permission_error(connection) from None


def summary(problems: list[str], most: int = 3) -> str:
    """Return the first problems, and the number of the others."""
    more = f", and {len(problems) - most} more" if len(problems) > most else ""
    return "; ".join(problems[:most]) + more


def _compare(connection: Link) -> Differences:
    missing = lacking(_applied(connection))
    return Differences(missing, [] if missing else _deviations(connection))


def _applied(connection: Link) -> dict[int, str | None]:
    """Return the checksum of each applied migration, by version; empty if there is no schema."""
    tables = _column(connection, queries.admin.SCHEMA_TABLES)
    if "schema_parts" in tables:
        check_release(_revision(connection, "oldest release"))
    if "schema_migrations" not in tables:
        return {}
    return dict(connection.execute(queries.admin.APPLIED_MIGRATIONS).fetchall())


def _deviations(connection: Link) -> list[Deviation]:
    rows = connection.execute(access_sql().encode()).fetchall()
    return [Deviation(part, problem) for _, part, problem, _, _ in rows]


def apply(connection: Link) -> list[str]:
    """Apply missing files and repair deviations; return what was done.

    Raises:
        SchemaPermissionError: The login lacks a right; the error has the SQL for an administrator.
        SchemaVersionError: The database is too new, or was made by other files.
        StorageUnavailableError: The tables were in use for a minute without a pause.
    """
    try:
        for attempt in Retrying(
            retry=retry_if_exception_type(_IN_USE),
            stop=stop_after_delay(PATIENCE),
            wait=wait_random_exponential(multiplier=0.1, max=2),
            reraise=True,
        ):
            with attempt:
                done = _apply_once(connection)
    except psycopg.errors.InsufficientPrivilege:
        raise _permission_error(connection) from None
    except _IN_USE:
        raise StorageUnavailableError(
            f"Tables of chatmemory were in use for {PATIENCE} seconds without a pause, so nothing was changed. "
            "End the transactions that hold them (pg_stat_activity lists them), and run `chatmemory migrate` again."
        ) from None
    return done


def _apply_once(connection: Link) -> list[str]:
    with pinned(connection):
        connection.execute(queries.admin.MIGRATION_LOCK, (MIGRATION_LOCK,))
        connection.execute(queries.admin.MIGRATION_TIMEOUTS)
        found = _compare(connection)
        if not found.missing and not found.deviations:
            return []
        if not found.missing and _revision(connection, "access") > access_revision():
            raise _lost_by_newer(found)
        connection.execute(bootstrap_sql(_login(connection)).encode())
        for migration in found.missing:
            connection.execute(migration.sql.encode())
            connection.execute(record_sql(migration).encode())
        connection.execute(repair_sql().encode())
        return found.done


def _lost_by_newer(found: Differences) -> SchemaVersionError:
    """Return the error for missing roles in a database that has the access rules of a newer release."""
    problems = summary([deviation.problem for deviation in found.deviations])
    return SchemaVersionError(
        f"The database was migrated by a newer chatmemory, and {problems}: run `chatmemory migrate` of that release."
    )


def _revision(connection: Link, part: str) -> int:
    """Return the recorded revision of a part, 0 if there is none."""
    row = connection.execute(queries.admin.REVISION, (part,)).fetchone()
    assert row is not None
    return int(row[0])


def _column(connection: Link, query: str) -> list[Any]:
    return [value for (value,) in connection.execute(query.encode()).fetchall()]


def _login(connection: Link) -> str:
    [login] = _column(connection, queries.admin.LOGIN)
    return str(login)


def _permission_error(connection: Link) -> SchemaPermissionError:
    """Return the error with the SQL or the command that an administrator has to run."""
    with pinned(connection):
        login = _login(connection)
        [database] = _column(connection, queries.admin.DATABASE)
        owners = _column(connection, queries.admin.FOREIGN_OWNERS)
    if owners:
        return SchemaPermissionError(
            f"The schema chatmemory of database {database!r} belongs to {', '.join(sorted(owners))}, so the database "
            f"user {login!r} cannot bring it up to date. Ask an administrator to run this, then try again:\n\n"
            f"chatmemory migrate --print --login {shlex.quote(login)} | psql {shlex.quote(database)}\n"
        )
    return SchemaPermissionError(
        f"The database user {login!r} may not create the roles or the schema of chatmemory. Ask an administrator to "
        f"run this once in database {database!r}, then try again:\n\n{bootstrap_sql(login)}\n"
        "`chatmemory migrate --print` prints this and all tables and functions as one script."
    )
