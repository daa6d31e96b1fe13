"""The schema as files: what to apply, and what to print for an administrator."""

import re
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from chatmemory.errors import SchemaVersionError

RECORD = (
    "insert into chatmemory.schema_migrations (version, name, checksum) values ({version}, '{name}', '{checksum}')"
    " on conflict (version) do update set checksum = excluded.checksum, applied_at = now();"
)
MIGRATION_LOCK = 7_310_587_201  # one number for all chatmemory migrations of a database
FUNCTIONS = 0  # the number under which the functions are noted


class Migration(NamedTuple):
    """One numbered file, or all functions."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """What tells it from another text under the same number."""
        return sha256(self.sql.encode()).hexdigest()


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
def functions() -> Migration:
    """The functions, replaced whenever they have changed, and who owns them."""
    here = files(__name__)
    folder = sorted((here / "functions").iterdir(), key=lambda file: file.name)
    texts = [
        file.read_text()
        for file in (here / "drop_functions.sql", here / "vectors.sql", *folder, here / "ownership.sql")
    ]
    return Migration(FUNCTIONS, "functions", "\n".join(texts))


def lacking(applied: Mapping[int, str | None]) -> list[Migration]:
    """What a database lacks.

    Args:
        applied: The checksum of each migration it has seen, by version; empty where there is no schema.

    Raises:
        SchemaVersionError: It is newer than this library, or was made by other files under the same numbers.
    """
    newest = max(applied, default=0)
    if newest > latest_version():
        raise SchemaVersionError(
            f"The database's schema has version {newest}; this library knows {latest_version()} at most. "
            "Upgrade chatmemory, or use another database."
        )
    for migration in migrations():
        if migration.version in applied and applied[migration.version] != migration.checksum:
            raise SchemaVersionError(
                f"The database's schema was made by another, unreleased chatmemory: its {migration.name} is not the "
                "one this library has. Use another database; or, if what it holds is not needed, run "
                "`drop schema chatmemory cascade` in it, or remove the data directory of the embedded server."
            )
    return [each for each in (*migrations(), functions()) if applied.get(each.version) != each.checksum]


def bootstrap_sql(login: str) -> str:
    """What an administrator has to run once: roles and schema, for the database user `login`."""
    identifier = '"' + login.replace('"', '""') + '"'
    literal = "'" + login.replace("'", "''") + "'"
    sql = (files(__name__) / "bootstrap.sql").read_text()
    return sql.replace("{login_text}", literal).replace("{login}", identifier)


def record_sql(migration: Migration) -> str:
    """The statement that notes a migration as applied."""
    return RECORD.format(version=int(migration.version), name=migration.name, checksum=migration.checksum)


def script(login: str) -> str:
    """All that an empty database needs, for psql, in one transaction."""
    parts = ["begin;", f"select pg_advisory_xact_lock({MIGRATION_LOCK});", bootstrap_sql(login)]
    for migration in lacking({}):
        parts += [f"-- {migration.name}", migration.sql, record_sql(migration)]
    return "\n".join([*parts, "commit;"]) + "\n"
