"""The newest messages that a session's handle has seen, held so that nobody need read them again.

Every append says which seq it got: where that is the next one, nobody else has written since, and what is held is what
a read would find. What is held is given out as new messages, so that nobody can change it from outside.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from chatmemory.context.records import Source
from chatmemory.context.window import Window
from chatmemory.messages.records import Message, Role
from chatmemory.records import to_json
from chatmemory.sessions.records import Appended


class _Kept(NamedTuple):
    """A message in values that nobody can change: blocks and metadata are JSON text, "" where there are none."""

    seq: int
    id: str
    role: Role
    text: str
    blocks: str
    created_at: datetime
    metadata: str
    tokens: int | None
    encoding: str | None

    @property
    def size(self) -> int:
        return len(self.text) + len(self.blocks) + len(self.metadata)


class Held(NamedTuple):
    """What a handle holds of its session.

    Attributes:
        kept: The newest messages, without gaps.
        first: The system message the session begins with, where it is older than those.
        token_count: The stored tokens of all its messages.
        summary: What was said up to summary_seq.
        summary_seq: The watermark.
        last_seq: How far the session had come.
        size: How many characters are held.
    """

    kept: tuple[_Kept, ...]
    first: _Kept | None
    token_count: int
    summary: str | None
    summary_seq: int
    last_seq: int
    size: int

    def covers(self, count: int) -> bool:
        """Whether the newest `count` messages, or all there are, are held."""
        return len(self.kept) >= count or self.last_seq == 0 or self.kept[0].seq == (2 if self.first else 1)

    def window(self, limit: int, source: Source) -> Window:
        """The newest messages, at most `limit` of them."""
        chosen = self.kept[-limit:] if limit else ()
        first = self.first
        if self.kept and len(chosen) < len(self.kept) and _begins(self.kept[0]):
            first = self.kept[0]
        return Window(
            [_given(kept) for kept in chosen],
            _given(first) if first else None,
            self.last_seq,
            self.token_count,
            source,
            self.summary,
            self.summary_seq,
        )

    def with_appended(self, appended: Appended, new: Sequence[Message], most: int, most_size: int) -> "Held | None":
        """What is held after an append; None where it does not follow, or the summary has become another."""
        if appended.summary_seq != self.summary_seq:
            return None
        if appended.last_seq <= self.last_seq:
            return self  # it was read meanwhile
        if appended.first_seq != self.last_seq + 1:
            return None
        return self._grown(new, appended.token_count)._trimmed(most, most_size)

    def _grown(self, new: Iterable[Message], token_count: int) -> "Held":
        added = tuple(map(_kept, new))
        return self._replace(
            kept=self.kept + added,
            token_count=token_count,
            last_seq=added[-1].seq if added else self.last_seq,
            size=self.size + sum(each.size for each in added),
        )

    def _trimmed(self, most: int, most_size: int) -> "Held | None":
        drop, size = max(0, len(self.kept) - most), self.size
        size -= sum(each.size for each in self.kept[:drop])
        while size > most_size and drop < len(self.kept):
            size -= self.kept[drop].size
            drop += 1
        if drop == 0:
            return self
        if drop == len(self.kept):
            return None
        first = self.kept[0] if _begins(self.kept[0]) else self.first
        return self._replace(kept=self.kept[drop:], first=first, size=size)


NOTHING = Window([], None, 0, 0, "postgres")  # of a session without messages
EVERY = sys.maxsize  # message


def held_of(window: Window, most: int, most_size: int) -> Held | None:
    """Hold what was read; None where that is nothing, though there is something."""
    kept = tuple(map(_kept, window.messages))
    held = Held(
        kept,
        _kept(window.first) if window.first else None,
        window.token_count,
        window.summary,
        window.summary_seq,
        window.last_seq,
        sum(each.size for each in kept),
    )
    return held._trimmed(most, most_size) if kept or not window.last_seq else None


def after_reading(held: Held | None, window: Window, most: int, most_size: int) -> Held | None:
    """What is held after a window was read: the window, or what was held before with what is new in it."""
    if held is not None and window.last_seq < held.last_seq:
        return held  # an append came between
    follows = held is not None and window.messages and window.messages[0].seq <= held.last_seq + 1
    if held is None or not follows or window.source == "postgres" or len(window.messages) > len(held.kept):
        return held_of(window, most, most_size)
    new = [message for message in window.messages if message.seq > held.last_seq]
    grown = held._grown(new, window.token_count)._replace(summary=window.summary, summary_seq=window.summary_seq)
    return grown._trimmed(most, most_size)


def completed(held: Held, newer: Window, limit: int) -> Window | None:
    """A window read from held.last_seq on, with what is held of the messages before it; None if they contradict.

    Args:
        held: What was held before.
        newer: What was read: messages none of which is older than held.last_seq, at most `limit`.
        limit: How many messages the window should have.
    """
    if not newer.messages or newer.messages[0].seq > held.last_seq:
        return newer  # it stands for itself
    if newer.messages[0].id != held.kept[-1].id:
        return None
    before = held.window(max(0, limit - len(newer.messages) + 1), newer.source)
    return newer._replace(messages=[*before.messages, *newer.messages[1:]], first=before.first)


def _begins(kept: _Kept) -> bool:
    return kept.seq == 1 and kept.role == "system"


def _kept(message: Message) -> _Kept:
    seq, content = message.seq, message.content
    text, blocks = (content, "") if isinstance(content, str) else ("", to_json(content))
    metadata = to_json(message.metadata) if message.metadata else ""
    return _Kept(
        seq,
        message.id,
        message.role,
        text,
        blocks,
        message.created_at,
        metadata,
        message.tokens,
        message.token_encoding,
    )


def _given(kept: _Kept) -> Message:
    seq, id, role, text, blocks, created_at, metadata, tokens, encoding = kept
    content: Any = json.loads(blocks) if blocks else text
    return Message(seq, id, role, content, created_at, json.loads(metadata) if metadata else {}, tokens, encoding)
