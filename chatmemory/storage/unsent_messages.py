"""Messages that Postgres has stored and that have not been sent to Redis yet."""

from collections.abc import Sequence
from typing import NamedTuple

from chatmemory.messages.records import Message


class Unsent(NamedTuple):
    """Stored messages of one session that its window in Redis lacks.

    Attributes:
        of: The session's creation time in microseconds: a later session may have the same id.
        messages: The messages, oldest first.
        token_count: The tokens of the whole session, with these messages.
    """

    of: int
    messages: Sequence[Message]
    token_count: int


def joined(one: Unsent, other: Unsent) -> Unsent:
    """Return both as one if one follows the other; else the newer, whose gap makes the script drop the window."""
    if one.of != other.of:
        return max(one, other, key=lambda unsent: unsent.of)
    older, newer = sorted((one, other), key=lambda unsent: unsent.messages[-1].seq)
    if older.messages[-1].seq + 1 == newer.messages[0].seq:
        return newer._replace(messages=[*older.messages, *newer.messages])
    return newer
