"""The context of a prompt, and what it leaves out."""

# No `from __future__ import annotations`: public() moves these classes to another module name,
# where typing.get_type_hints could not resolve annotations that are strings.
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from chatmemory._public import public
from chatmemory.json_form import Record
from chatmemory.memories.notes import notes_text, summary_text
from chatmemory.memories.records import Recalled
from chatmemory.messages.openai_format import to_openai
from chatmemory.messages.records import Message
from chatmemory.notebook.html import Table
from chatmemory.records import JsonObject, Shown

Source: TypeAlias = Literal["process", "redis", "postgres"]


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Omitted(Record):
    """The messages that a context leaves out and that its summary does not cover.

    Attributes:
        count: The number of messages.
        from_seq: The seq of the first one.
        to_seq: The seq of the last one.
    """

    count: int
    from_seq: int
    to_seq: int


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Context(Shown):
    """The part of the past that goes into the next prompt; iterating yields the messages.

    Attributes:
        messages: The newest messages, oldest first, after the system message that the session begins with, if any.
        system: The system message that the app passed.
        summary: A summary of the messages up to the watermark, if any is left out, after that of the session which this
            one continues; None if there is neither.
        memories: The memories recalled for the query, without those whose sources are all among the messages.
        tokens: The tokens of the whole context in a prompt.
        tokens_by_part: The same by part: prompt (the fixed cost of any prompt), system, summary, memories, messages.
        max_tokens: The budget, without the tokens reserved for the reply.
        omitted: The messages left out because of the budget or of max_messages; None if there are none.
        unpaired: The seqs of tool calls that are left out because their result is missing (the turn broke off, or is
            not over), and of results without a call: no provider accepts one without the other.
        source: Where the messages were read: "postgres", "redis", or "process" (the cache of the open memory).
        exact_tokens: Whether the tokens were counted with the model's own vocabulary. False for a model that tiktoken
            does not know (counted as o200k_base) and without a vocabulary (estimated).
        prefix_id: An id that stays the same as long as the earlier context is a prefix of the new one, byte for byte.
    """

    messages: tuple[Message, ...]
    system: str | None
    summary: str | None
    memories: tuple[Recalled, ...]
    tokens: int
    tokens_by_part: dict[str, int]
    max_tokens: int | None
    omitted: Omitted | None
    unpaired: tuple[int, ...]
    source: Source
    exact_tokens: bool
    prefix_id: str

    @property
    def summary_text(self) -> str | None:
        """The summary as the text of a user's message before the others: data, not instructions."""
        return None if self.summary is None else summary_text(self.summary)

    @property
    def memories_text(self) -> str | None:
        """The memories as notes before the newest user's message: data, not instructions."""
        return notes_text(self.memories) if self.memories else None

    def as_openai(self) -> list[JsonObject]:
        """Return the context as messages of OpenAI's chat protocol."""
        return to_openai(self.messages, self.system, self.summary_text, self.memories_text)

    def _tables(self) -> list[Table]:
        rows: list[Sequence[object]] = [("system", "", self.system)] if self.system else []
        rows += [("summary", "", self.summary)] if self.summary else []
        rows += [(f"memory, score {each.score:.2f}", "", each.memory.text) for each in self.memories]
        rows += [(message.role, message.seq, message.text) for message in self.messages]
        parts = ", ".join(f"{name} {tokens:,}" for name, tokens in self.tokens_by_part.items() if tokens)
        budget = "" if self.max_tokens is None else f" of {self.max_tokens:,}"
        gap = self.omitted
        footer = f"left out: {gap.count:,} messages, seq {gap.from_seq} to {gap.to_seq}" if gap else ""
        return [Table(("part", "seq", "text"), rows, f"{self.tokens:,}{budget} tokens: {parts}", footer)]

    def __iter__(self) -> Iterator[Message]:
        return iter(self.messages)

    def __len__(self) -> int:
        return len(self.messages)

    def __repr__(self) -> str:
        budget = f" of {self.max_tokens}" if self.max_tokens is not None else ""
        left_out = f", {self.omitted.count} omitted" if self.omitted else ""
        return f"<Context of {len(self.messages)} messages, {self.tokens}{budget} tokens{left_out}, from {self.source}>"
