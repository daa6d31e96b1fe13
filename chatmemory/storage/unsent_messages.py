"""What Postgres has and Redis has not been told of yet."""

from collections.abc import Sequence
from typing import NamedTuple

from chatmemory.messages.records import Message


class Late(NamedTuple):
    """Messages that Postgres has and the window has not."""

    of: int  # tells the session from others that had its id
    messages: Sequence[Message]
    token_count: int  # of the whole session, with them


def joined(one: Late, other: Late) -> Late:
    """Both, where they follow each other; else the newer: the gap before it makes the window be dropped."""
    if one.of != other.of:
        return max(one, other, key=lambda late: late.of)
    older, newer = sorted((one, other), key=lambda late: late.messages[-1].seq)
    if older.messages[-1].seq + 1 == newer.messages[0].seq:
        return newer._replace(messages=[*older.messages, *newer.messages])
    return newer
