"""The schema as files: what to apply, and what to print for an administrator."""

import re
from functools import cache
from importlib.resources import files
from typing import NamedTuple

RECORD_MIGRATION = "insert into chatmemory.schema_migrations (version, name) values ({version}, '{name}');"
MIGRATION_LOCK = 7_310_587_201  # one number for all chatmemory migrations of a database


class Migration(NamedTuple):
    """One numbered file."""

    version: int
    name: str
    sql: str


@cache
def migrations() -> tuple[Migration, ...]:
    """The numbered files, in order."""
    found = []
    for file in files(__name__).iterdir():
        match = re.fullmatch(r"(\d{4})_\w+\.sql", file.name)
        if match:
            found.append(Migration(int(match[1]), file.name, file.read_text()))
    return tuple(sorted(found))


def latest_version() -> int:
    """The schema version this library works with."""
    return migrations()[-1].version


@cache
def functions_sql() -> str:
    """The functions, replaced at every migration, and who owns them."""
    folder = files(__name__) / "functions"
    parts = [file.read_text() for file in sorted(folder.iterdir(), key=lambda file: file.name)]
    return "\n".join([*parts, (files(__name__) / "ownership.sql").read_text()])


def bootstrap_sql(login: str) -> str:
    """What an administrator has to run once: roles and schema, for the database user `login`."""
    identifier = '"' + login.replace('"', '""') + '"'
    literal = "'" + login.replace("'", "''") + "'"
    sql = (files(__name__) / "bootstrap.sql").read_text()
    return sql.replace("{login_text}", literal).replace("{login}", identifier)


def pending(version: int) -> list[Migration]:
    """The migrations a database at `version` lacks."""
    return [migration for migration in migrations() if migration.version > version]


def record_sql(migration: Migration) -> str:
    """The statement that notes a migration as applied."""
    return RECORD_MIGRATION.format(version=int(migration.version), name=migration.name)


def script(login: str, version: int = 0) -> str:
    """All that brings a database from `version` to the latest, for psql, in one transaction."""
    parts = ["begin;", f"select pg_advisory_xact_lock({MIGRATION_LOCK});", bootstrap_sql(login)]
    for migration in pending(version):
        parts += [f"-- {migration.name}", migration.sql, record_sql(migration)]
    return "\n".join([*parts, functions_sql(), "commit;"]) + "\n"
