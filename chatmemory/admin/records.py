"""The state of the parts a memory is made of."""

# No `from __future__ import annotations`: public() moves these classes to another module name,
# where typing.get_type_hints could not resolve annotations that are strings.
from dataclasses import dataclass
from typing import ClassVar, Literal

from chatmemory._public import public
from chatmemory.json_form import Record


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
