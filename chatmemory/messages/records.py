"""Records of messages: stored ones, and new ones to append."""

# No `from __future__ import annotations`: public() moves these classes to another module name,
# where typing.get_type_hints could not resolve annotations that are strings.
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, TypeAlias

from chatmemory._public import public
from chatmemory.json_form import NOT_RENDERED
from chatmemory.messages.tool_calls import ToolCall, answered_in, tool_calls_in
from chatmemory.notebook.html import Table
from chatmemory.records import JsonObject, Shown, shorten

Content: TypeAlias = str | list[JsonObject]
"""A message's content: plain text, or a list of JSON blocks (text parts, images, tool calls)."""


Role: TypeAlias = Literal["system", "user", "assistant", "tool"]


def text_of(content: Content) -> str:
    """Return the readable text of a message's content, without blocks that have no text."""
    if isinstance(content, str):
        return content
    texts = (block.get("text") for block in content)
    return "\n".join(text for text in texts if isinstance(text, str))


@public
@dataclass(frozen=True, slots=True)
class Message(Shown):
    """One entry of a session.

    Attributes:
        seq: Its position in the session: 1, 2, 3 … without gaps.
        id: Unique in its session.
        role: The speaker.
        content: A string, or a list of JSON blocks.
        metadata: JSON attached by the app.
        tokens: Its cost in a prompt, in tokens.
        token_encoding: The counter of `tokens`: a tiktoken encoding, or "estimate".
        created_at: When it was said, with a time zone.
        was_stored: Whether an append() that returns it found it stored under its id: a repeated request. False where
            that cannot be known, because Postgres went away meanwhile. Not part of to_dict().
    """

    seq: int
    id: str
    role: Role
    content: Content
    created_at: datetime
    metadata: JsonObject = field(default_factory=dict)
    tokens: int | None = field(default=None, compare=False)
    token_encoding: str | None = field(default=None, compare=False)
    was_stored: bool = field(default=False, compare=False, metadata=NOT_RENDERED)

    @property
    def text(self) -> str:
        """The readable text of the content."""
        return text_of(self.content)

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The tool calls of an assistant's message."""
        bare = self.role != "assistant" or (isinstance(self.content, str) and not self.metadata)
        return () if bare else tool_calls_in(self.content, self.metadata)

    @property
    def tool_call_id(self) -> str | None:
        """The id of the call that a tool's message answers."""
        return next(iter(answered_in(self.role, self.content, self.metadata)), None) if self.role == "tool" else None

    def _row(self) -> Mapping[str, object]:
        return {"seq": self.seq, "role": self.role, "at": self.created_at, "message": self.text}

    def _tables(self) -> list[Table]:
        return [Table(("seq", "role", "message"), [(self.seq, self.role, self.text)])]

    def __repr__(self) -> str:
        return f"<Message {self.seq} {self.role}: {shorten(' '.join(self.text.split()), 60)!r}>"


MESSAGE_COLUMNS = (
    "seq", "id", "role", "content", "content_json", "metadata", "tokens", "token_encoding", "created_at",
)  # fmt: skip


def message_from_row(row: Sequence[Any]) -> Message:
    """Build a message from MESSAGE_COLUMNS in their order."""
    seq, id, role, text, blocks, metadata, tokens, encoding, created_at = row
    return Message(seq, id, role, text if blocks is None else blocks, created_at, metadata or {}, tokens, encoding)


@public
@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message to append.

    Attributes:
        role: `system`, `user` (`human`), `assistant` (`ai`) or `tool`.
        content: A string, or a list of JSON blocks.
        message_id: Unique in its session; appending the same message again adds nothing. None: a new id is made.
        metadata: A JSON object to store with it. Its `tool_calls` and `tool_call_id` (as OpenAI writes them) and
            `host_item` are part of the message's identity: the same id with other values is a conflict.
        created_at: When it was said, with a time zone, for imports; None: now.
    """

    role: str
    content: Content
    message_id: str | None = None
    metadata: Mapping[str, Any] | None = None
    created_at: datetime | None = None

    @classmethod
    def from_openai(cls, message: Mapping[str, Any]) -> "NewMessage":
        """Convert a message of OpenAI's chat protocol; tool_calls, tool_call_id and name become metadata."""
        metadata = {key: message[key] for key in ("tool_calls", "tool_call_id", "name") if message.get(key) is not None}
        content = message.get("content")
        return cls(message.get("role", ""), "" if content is None else content, metadata=metadata or None)
