"""The schema as files: what to apply, and what to print for an administrator."""

import re
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from chatmemory.errors import SchemaVersionError
from chatmemory.storage.schema.roles import with_roles

RECORD = (
    "insert into chatmemory.schema_migrations (version, name, checksum) values ({version}, '{name}', '{checksum}')"
    " on conflict (version) do update set checksum = excluded.checksum, applied_at = now();"
)
MIGRATION_LOCK = 7_310_587_201  # one number for all chatmemory migrations of a database
FUNCTIONS = 0  # the number under which the functions are noted
LAST_WITH_ROLES = 4  # the last numbered file that names roles
_HERE = files(__name__)


class Migration(NamedTuple):
    """One numbered file, or all functions."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """What tells it from another text under the same number."""
        return sha256(self.text.encode()).hexdigest()

    @property
    def sql(self) -> str:
        """What is run. The first files name roles that were the whole server's: access.sql declares what they did."""
        if self.version > LAST_WITH_ROLES:
            return self.text
        return self.text.replace("chatmemory_app", "current_user").replace("chatmemory_worker", "current_user")


class Function(NamedTuple):
    """One file of a function; its first line says its revision, and which of the two roles it runs as."""

    name: str
    revision: int
    owner: str
    text: str


@cache
def migrations() -> tuple[Migration, ...]:
    """The numbered files, in order."""
    found = []
    for file in _HERE.iterdir():
        match = re.fullmatch(r"(\d{4})_\w+\.sql", file.name)
        if match:
            found.append(Migration(int(match[1]), file.name, file.read_text()))
    return tuple(sorted(found))


def latest_version() -> int:
    """The schema version this library works with."""
    return migrations()[-1].version


@cache
def function_files(folder: str) -> tuple[Function, ...]:
    """The functions of a folder, by name."""
    found = []
    for file in sorted((_HERE / folder).iterdir(), key=lambda file: file.name):
        header = re.match(r"-- revision: (\d+); owner: (app|worker)\n", file.read_text())
        if header:
            name = file.name.removesuffix(".sql")
            found.append(Function(name, int(header[1]), header[2], file.read_text()))
    return tuple(found)


@cache
def functions() -> Migration:
    """The functions, replaced whenever they have changed."""
    texts = [(_HERE / "drop_functions.sql").read_text(), vectors_sql()]
    texts += [function.text for function in function_files("functions")]
    return Migration(FUNCTIONS, "functions", "\n".join(texts))


def vectors_sql() -> str:
    """What needs pgvector: nothing happens where it is not there and cannot be created."""
    table = (_HERE / "vectors" / "0001_memory_vectors.sql").read_text()
    texts = [table, *(function.text for function in function_files("vectors"))]
    return _read("vectors.sql").replace("{texts}", ", ".join(f"$text${text}$text$" for text in texts))


@cache
def access_sql() -> str:
    """The query for what the roles, policies, grants and functions of a database lack; one row for each."""
    expected = ", ".join(f"('{each.name}', '{each.owner}')" for each in function_files("functions"))
    return with_roles(_read("access.sql").replace("{functions}", expected))


@cache
def repair_sql() -> str:
    """The statements that repair what access_sql finds."""
    return _read("repair.sql").replace("{access}", access_sql())


def _read(name: str) -> str:
    return (_HERE / name).read_text()


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
                "one this library has. Export what it holds with the chatmemory that made it, and use another database."
            )
    return [each for each in (*migrations(), functions()) if applied.get(each.version) != each.checksum]


def bootstrap_sql(login: str) -> str:
    """What an administrator has to run once: roles and schema, for the database user `login`."""
    identifier = '"' + login.replace('"', '""') + '"'
    literal = "'" + login.replace("'", "''") + "'"
    return with_roles(_read("bootstrap.sql")).replace("{login_text}", literal).replace("{login}", identifier)


def record_sql(migration: Migration) -> str:
    """The statement that notes a migration as applied."""
    return RECORD.format(version=int(migration.version), name=migration.name, checksum=migration.checksum)


def script(login: str) -> str:
    """All that an empty database needs, for psql, in one transaction."""
    parts = ["begin;", f"select pg_advisory_xact_lock({MIGRATION_LOCK});", bootstrap_sql(login)]
    for migration in lacking({}):
        parts += [f"-- {migration.name}", migration.sql, record_sql(migration)]
    return "\n".join([*parts, repair_sql(), "commit;"]) + "\n"
