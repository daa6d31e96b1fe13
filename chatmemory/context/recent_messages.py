"""The newest messages of a session as a process caches them, so that they need not be read again.

An append reports the seq it got. If that follows the last cached message, nobody else has written in between, and the
cached messages with the new ones equal what a read would return. Messages are stored as text and returned as new
objects, so that a caller who changes a message does not change the cache.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from chatmemory.context.records import Source
from chatmemory.context.window import Window, begins_session
from chatmemory.messages.records import Message, Role
from chatmemory.records import to_json
from chatmemory.sessions.records import Appended, SessionInfo, own_summary

ALL_MESSAGES = sys.maxsize
EMPTY_WINDOW = Window([], None, 1, 0, 0, "postgres")  # a session without messages
MESSAGE_BYTES = 150  # of a stored message without its texts


class StoredMessage(NamedTuple):
    """A message in immutable values: blocks and metadata are JSON text, "" if there are none."""

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
        """Its memory, in bytes, roughly."""
        size = sys.getsizeof
        return MESSAGE_BYTES + size(self.id) + size(self.text) + size(self.blocks) + size(self.metadata)


class Bounds(NamedTuple):
    """The bounds on the messages of one session.

    Attributes:
        messages: The number of messages at most.
        size: Their memory at most, in bytes.
    """

    messages: int
    size: int


class RecentMessages(NamedTuple):
    """The newest messages of one session.

    Attributes:
        messages: The messages from first_seq to last_seq, without gaps.
        first: The system message the session begins with, if it is older than first_seq.
        first_seq: The seq of the first of `messages`; last_seq + 1 if there are none.
        last_seq: The session's newest seq.
        token_count: The stored tokens of all messages of the session.
        summary: The summary of the messages up to summary_seq.
        summary_seq: The watermark.
        messages_size: The memory of `messages`, in bytes, roughly.
    """

    messages: tuple[StoredMessage, ...]
    first: StoredMessage | None
    first_seq: int
    last_seq: int
    token_count: int
    summary: str | None
    summary_seq: int
    messages_size: int

    @property
    def size(self) -> int:
        """The memory of messages, first message and summary, in bytes, roughly."""
        first = self.first.size if self.first else 0
        return self.messages_size + first + sys.getsizeof(self.summary or "")

    @property
    def is_complete(self) -> bool:
        """True if the session has no older messages."""
        return self.first_seq <= (2 if self.first else 1)

    def covers(self, count: int) -> bool:
        """Return whether these include the session's newest `count` messages, or all it has."""
        return self.is_complete or len(self.messages) >= count

    def window(self, limit: int, source: Source = "postgres") -> Window:
        """Return the newest messages as a window of at most `limit`."""
        chosen = self.messages[-limit:] if limit else ()
        first = self._first_before(len(self.messages) - len(chosen))
        return Window(
            [_handed_out(stored) for stored in chosen],
            _handed_out(first) if first else None,
            self.last_seq - len(chosen) + 1,
            self.last_seq,
            self.token_count,
            source,
            self.summary,
            self.summary_seq,
        )

    def with_appended(self, appended: Appended, new: Sequence[Message], bounds: Bounds) -> "RecentMessages | None":
        """Return the messages after an append; None if it does not follow them, or the summary has changed."""
        if appended.summary_seq != self.summary_seq:
            return None
        if appended.last_seq <= self.last_seq:
            return self if all(map(self._agrees_with, new)) else None  # they were read in between
        if appended.first_seq != self.last_seq + 1:
            return None
        return self._replace(token_count=appended.token_count)._with(new)._bounded(bounds)

    def _agrees_with(self, message: Message) -> bool:
        """Return whether its seq holds no other message here; it does after Postgres has lost commits."""
        index = message.seq - self.first_seq
        return index < 0 or self.messages[index].id == message.id

    def _with(self, new: Iterable[Message]) -> "RecentMessages":
        added = tuple(map(_stored, new))
        return self._replace(
            messages=self.messages + added,
            last_seq=self.last_seq + len(added),
            messages_size=self.messages_size + sum(stored.size for stored in added),
        )

    def _bounded(self, bounds: Bounds) -> "RecentMessages":
        drop, size = 0, self.messages_size
        while drop < len(self.messages) and (len(self.messages) - drop > bounds.messages or size > bounds.size):
            size -= self.messages[drop].size
            drop += 1
        if drop == 0:
            return self
        return self._replace(
            messages=self.messages[drop:],
            first=self._first_before(drop),
            first_seq=self.first_seq + drop,
            messages_size=size,
        )

    def _first_before(self, index: int) -> StoredMessage | None:
        """Return the system message the session begins with, if it is older than the message at this index."""
        begin = self.messages[0] if index else None
        return begin if begin is not None and begins_session(begin.seq, begin.role) else self.first


def recent_from_window(window: Window, bounds: Bounds) -> RecentMessages:
    """Make recent messages from a window."""
    first = _stored(window.first) if window.first else None
    empty = RecentMessages(
        (),
        first,
        window.first_seq,
        window.first_seq - 1,
        window.token_count,
        window.summary,
        window.summary_seq,
        0,
    )
    return empty._with(window.messages)._bounded(bounds)


def after_reading(recent: RecentMessages | None, window: Window, bounds: Bounds) -> RecentMessages:
    """Return the messages after a read: those read, and the cached ones that directly precede them.

    From a window of Redis only messages newer than the cached ones are taken: the others are the same. Those of
    Postgres seldom differ from the cached ones, and comparing is cheaper than converting.
    """
    if recent is not None and window.last_seq < recent.last_seq:
        return recent  # an append came in between
    if recent is None or not recent.first_seq <= window.first_seq <= recent.last_seq + 1:
        return recent_from_window(window, bounds)
    known = recent.last_seq + 1 - window.first_seq
    cached = recent.messages[window.first_seq - recent.first_seq :]
    if window.source != "redis" and not all(map(_is_same, cached, window.messages)):
        return recent_from_window(window, bounds)
    return (
        recent._with(window.messages[known:])
        ._replace(token_count=window.token_count, summary=window.summary, summary_seq=window.summary_seq)
        ._bounded(bounds)
    )


def as_of_row(recent: RecentMessages | None, info: SessionInfo, bounds: Bounds) -> RecentMessages | None:
    """Return the messages if they are as new as the session's row, else None."""
    if info.last_seq == 0 and recent is None:
        return recent_from_window(EMPTY_WINDOW, bounds)
    if recent is None or recent.last_seq != info.last_seq or recent.summary_seq > info.summary_seq:
        return None
    return recent._replace(token_count=info.token_count, summary=own_summary(info), summary_seq=info.summary_seq)


def completed(recent: RecentMessages, newer: Window, limit: int) -> Window | None:
    """Join the recent messages with a window that was read from recent.last_seq on; None if they contradict.

    Args:
        recent: The cached messages, at least one.
        newer: The window: at most `limit` messages, none older than recent.last_seq.
        limit: The number of messages that the result should have.
    """
    if newer.last_seq < recent.last_seq:
        return None
    if newer.first_seq > recent.last_seq:
        return newer  # it is complete by itself
    if newer.messages[0].id != recent.messages[-1].id:
        return None
    before = recent.window(max(0, limit - len(newer.messages) + 1), newer.source)
    messages = [*before.messages, *newer.messages[1:]]
    return newer._replace(messages=messages, first=before.first, first_seq=before.first_seq)


def _stored(message: Message) -> StoredMessage:
    content = message.content
    text, blocks = (content, "") if isinstance(content, str) else ("", to_json(content))
    return StoredMessage(
        message.seq,
        message.id,
        sys.intern(message.role),  # type: ignore[arg-type]  # interning keeps a Role a Role
        text,
        blocks,
        message.created_at,
        to_json(message.metadata) if message.metadata else "",
        message.tokens,
        message.token_encoding and sys.intern(message.token_encoding),
    )


def _is_same(stored: StoredMessage, message: Message) -> bool:
    """Return whether a message of text equals a stored one; False for one of blocks."""
    return (
        stored.id == message.id
        and stored.text == message.content
        and stored.metadata == (to_json(message.metadata) if message.metadata else "")
    )


def _handed_out(stored: StoredMessage) -> Message:
    seq, id, role, text, blocks, created_at, metadata, tokens, encoding = stored
    content: Any = json.loads(blocks) if blocks else text
    return Message(seq, id, role, content, created_at, json.loads(metadata) if metadata else {}, tokens, encoding)
