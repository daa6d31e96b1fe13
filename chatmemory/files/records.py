"""The results of an import."""

# No `from __future__ import annotations`: public() moves these classes to another module name,
# where typing.get_type_hints could not resolve annotations that are strings.
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from chatmemory._public import public
from chatmemory.json_form import Record

ImportOutcome: TypeAlias = Literal["imported", "unchanged", "grown", "empty", "refused"]


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedConversation(Record):
    """The result of importing one conversation of a file.

    Attributes:
        id: The conversation's id, which is its session's.
        outcome: imported; grown (it was imported before, and what is new since was added now); skipped as unchanged
            or empty (it has no message); refused, see reason.
        title: Its title.
        messages: The messages that were stored now.
        new_messages: Of a grown one, the messages that were new; the same as `messages`.
        reason: The reason why it was refused.
        left_out: What of the file's conversation is not among the messages, by its name, counted.
    """

    id: str
    outcome: ImportOutcome
    title: str | None = None
    messages: int = 0
    new_messages: int = 0
    reason: str | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
