"""Records of administration: health, examination, migration."""

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
    """The health of a memory.

    Attributes:
        postgres: Whether Postgres answers; nothing works without it. "read-only": it takes no writes.
        redis: Whether Redis answers, runs scripts and accepts writes; if not, Postgres does its work. "off": none is
            configured.
        tokens: The counter of tokens in use: an encoding of tiktoken, or "estimate".
    """

    postgres: Literal["ok", "read-only", "unreachable"]
    redis: Literal["ok", "unreachable", "off"]
    tokens: str

    _derived: ClassVar = ("ok",)

    @property
    def ok(self) -> bool:
        """True if everything that is configured works."""
        return self.postgres == "ok" and self.redis != "unreachable"


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Record):
    """One check of an examination.

    Attributes:
        name: What was checked: database, schema, roles, tenant isolation, redis …
        ok: Whether it passed.
        detail: The finding, and if it failed, what to do.
        unchecked: The checks that were skipped because this one failed.
    """

    name: str
    ok: bool
    detail: str
    unchecked: tuple[str, ...] = ()


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Examination(Record):
    """The results of an examination; they contain no secrets.

    Attributes:
        checks: The checks, in the order in which they were made.
        server: The server's version, database, user, address and pgvector, as far as it answered.
        learning: The models, the number of due and parked sessions, and the tenant's spend of today.
        versions: The installed packages, and how tokens are counted.
        settings: All settings; addresses without passwords.
        fallbacks: The features that are limited because something is not configured or not installed.
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
        """True if every check passed."""
        return all(check.ok for check in self.checks)


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Migrated(Record):
    """The result of a migration.

    Attributes:
        applied: The names of the applied files and of the repaired parts; empty if the schema was up to date.
    """

    applied: tuple[str, ...]
