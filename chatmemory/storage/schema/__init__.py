"""The schema as SQL: the statements to apply and repair it, and the script for an administrator."""

from collections.abc import Iterable, Mapping
from functools import cache

from chatmemory.errors import SchemaVersionError
from chatmemory.storage.schema.files import (
    OLDEST_RELEASE,
    RETIRED,
    Function,
    Migration,
    functions,
    latest_version,
    migrations,
    read,
    release_number,
    revision,
)
from chatmemory.storage.schema.pins import PINS
from chatmemory.storage.schema.roles import with_roles

__all__ = [
    "MIGRATION_LOCK",
    "access_revision",
    "access_sql",
    "bootstrap_sql",
    "check_release",
    "lacking",
    "latest_version",
    "record_sql",
    "repair_sql",
    "script",
]

MIGRATION_LOCK = 7_310_587_201  # one number for all chatmemory migrations of a database
_RECORD = (
    "insert into chatmemory.schema_migrations (version, name, checksum) values ({version}, '{name}', '{checksum}')"
    " on conflict (version) do update set checksum = excluded.checksum, applied_at = now();"
)
_UNLESS_APPLIED = """do $migration$
begin
    if not exists (select from pg_tables where schemaname = 'chatmemory' and tablename = 'schema_migrations') then
        null;
    elsif exists (select from chatmemory.schema_migrations where version = {version}) then
        return;
    end if;
    execute $sql${sql}
{record}$sql$;
end $migration$;"""


def check_release(oldest: int) -> None:
    """Check that a database still supports this library.

    Args:
        oldest: The number of the oldest release that may use it.

    Raises:
        SchemaVersionError: This library is an older release.
    """
    if oldest > release_number():
        raise SchemaVersionError(
            "The database was migrated by a chatmemory that is more than one release newer than this one. "
            "Upgrade chatmemory, or use another database."
        )


def lacking(applied: Mapping[int, str | None]) -> list[Migration]:
    """Return the numbered files that a database lacks; files of a newer library that it has do not matter.

    Args:
        applied: The checksum of each applied migration, by version; empty if there is no schema.

    Raises:
        SchemaVersionError: A file was applied with another checksum.
    """
    for migration in migrations():
        if migration.version in applied and applied[migration.version] != migration.checksum:
            raise SchemaVersionError(
                f"The database's schema was made by another, unreleased chatmemory: its {migration.name} differs from "
                "this library's. Export its data with the chatmemory that made it, and use another database."
            )
    return [migration for migration in migrations() if migration.version not in applied]


def bootstrap_sql(login: str) -> str:
    """Return the SQL that an administrator runs once: roles and schema, for the database user `login`."""
    identifier = '"' + login.replace('"', '""') + '"'
    literal = "'" + login.replace("'", "''") + "'"
    return with_roles(read("bootstrap.sql")).replace("{login_text}", literal).replace("{login}", identifier)


def record_sql(migration: Migration) -> str:
    """Return the statement that records a migration as applied."""
    return _RECORD.format(version=int(migration.version), name=migration.name, checksum=migration.checksum)


def access_revision() -> int:
    """Return the revision of the access rules."""
    return revision("access.sql")


@cache
def access_sql() -> str:
    """Return the query that finds deviations in roles, policies, grants, functions and vectors, one row for each."""
    return (
        with_roles(read("access.sql"))
        .replace("{revision}", str(access_revision()))
        .replace("{functions}", _expected(functions()))
        .replace("{vector_functions}", _expected(functions("vectors")))
        .replace("{vectors}", str(migrations("vectors")[-1].version))
        .replace("{retired}", f"array[{', '.join(map(_literal, RETIRED))}]::text[]")
    )


@cache
def repair_sql() -> str:
    """Return the statements that repair what access_sql() finds."""
    return (
        read("repair.sql")
        .replace("{access}", access_sql())
        .replace("{access_revision}", str(access_revision()))
        .replace("{oldest_release}", str(OLDEST_RELEASE))
        .replace(
            "{migrations}", ", ".join(f"({each.version}, {_literal(each.text)})" for each in migrations("vectors"))
        )
        .replace("{texts}", ", ".join(map(_text, (*functions(), *functions("vectors")))))
    )


def _expected(each: Iterable[Function]) -> str:
    return ", ".join(f"('{f.name}', '{f.owner}', {f.revision}, '{f.checksum}')" for f in each)


def _text(function: Function) -> str:
    return f"('{function.name}', {function.revision}, '{function.checksum}', {_literal(function.text)})"


def _literal(text: str) -> str:
    return f"$chatmemory${text}$chatmemory$"


def script(login: str) -> str:
    """Return the whole schema as a psql script in one transaction, for an empty, an older or a restored database."""
    statements = ["begin isolation level read committed;", f"select {PINS};", "set local client_encoding = 'UTF8';"]
    statements += [f"select pg_advisory_xact_lock({MIGRATION_LOCK});", bootstrap_sql(login)]
    for migration in migrations():
        record = record_sql(migration)
        statements += [f"-- {migration.name}"]
        statements += [_UNLESS_APPLIED.format(version=migration.version, sql=migration.sql, record=record)]
    return "\n".join([*statements, repair_sql(), "commit;"]) + "\n"
