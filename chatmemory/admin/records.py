"""The results of looking after a memory: its health, an examination, a migration."""

# No `from __future__ import annotations`: public() moves these classes to another module name,
# where typing.get_type_hints could not resolve annotations that are strings.
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from chatmemory._public import public
from chatmemory.json_form import Record
from chatmemory.records import JsonObject


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Health(Record):
    """What works, and what does without.

    Attributes:
        postgres: Whether it answers; without it nothing works.
        redis: Whether it answers and takes writes; unreachable, Postgres does its work.
        tokens: What counts tokens now: an encoding of tiktoken, or "estimate".
    """

    postgres: Literal["ok", "unreachable"]
    redis: Literal["ok", "unreachable", "off"]
    tokens: str

    _derived: ClassVar = ("ok",)

    @property
    def ok(self) -> bool:
        """Whether all that is configured works."""
        return self.postgres == "ok" and self.redis != "unreachable"


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Record):
    """One check of an examination.

    Attributes:
        name: What was checked: database, schema, roles, tenant isolation, redis …
        ok: Whether it is as it should be.
        detail: What was found, and if it is wrong, what to do.
        unchecked: The checks that depend on this one and were not made, since it failed.
    """

    name: str
    ok: bool
    detail: str
    unchecked: tuple[str, ...] = ()


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Examination(Record):
    """What an examination found; it holds no secret.

    Attributes:
        checks: The checks, in the order in which they were made.
        server: The server's version, database, user, place and pgvector, as far as it could be asked.
        learning: The models, the sessions that wait, and the tenant's spend of today.
        versions: The installed packages, and how tokens are counted.
        settings: The settings in force; addresses without user and password.
        fallbacks: What works in a lesser way because something is not configured or not installed.
    """

    checks: tuple[Check, ...]
    server: Mapping[str, str]
    learning: JsonObject
    versions: Mapping[str, str]
    settings: JsonObject
    fallbacks: tuple[str, ...]

    _derived: ClassVar = ("ok",)

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated(Record):
    """What a migration did.

    Attributes:
        applied: The names of the files that were applied and of the parts that were repaired; empty if the schema was
            up to date.
    """

    applied: tuple[str, ...]
