"""The newest messages of a session as they were read, and the decision whether older ones are needed."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from chatmemory.context.records import Source
from chatmemory.context.request import Request
from chatmemory.messages.pairing import unpaired
from chatmemory.messages.records import MESSAGE_COLUMNS, Message, Role, message_from_row
from chatmemory.messages.token_counts import ESTIMATE, Counter, message_tokens
from chatmemory.sessions.records import Appended, SessionInfo

AVERAGE_TOKENS = 100  # assumed of a message in a session without stored tokens
LEAST_READ, MAX_READ = 20, 500  # messages in one read


class Window(NamedTuple):
    """The newest messages of a session as they were read.

    Attributes:
        messages: The messages from first_seq to last_seq, without gaps, oldest first.
        first: The system message the session begins with, if it is older than first_seq.
        first_seq: The seq of the first of `messages`; last_seq + 1 if none were requested.
        last_seq: The session's newest seq.
        token_count: The stored tokens of all messages of the session.
        source: Where the messages were read.
        summary: The summary of the messages up to summary_seq.
        summary_seq: The watermark.
    """

    messages: Sequence[Message]
    first: Message | None
    first_seq: int
    last_seq: int
    token_count: int
    source: Source
    summary: str | None = None
    summary_seq: int = 0

    @property
    def is_complete(self) -> bool:
        """True if the session has no older messages."""
        return self.first_seq <= (2 if self.first else 1)

    @property
    def all_messages(self) -> Sequence[Message]:
        """The messages, after the system message the session begins with."""
        return [self.first, *self.messages] if self.first else self.messages


SESSION_OF_WINDOW = ("last_seq", "token_count", "summary", "summary_seq")
WINDOW_COLUMNS = (*SESSION_OF_WINDOW, *MESSAGE_COLUMNS)


def begins_session(seq: int, role: Role) -> bool:
    """Return whether a message is the system message its session begins with."""
    return seq == 1 and role == "system"


def window_from_rows(rows: Sequence[Sequence[Any]], limit: int, before_seq: int | None = None) -> Window:
    """Build a window from rows of WINDOW_COLUMNS; a null seq means that there is no message."""
    width = len(SESSION_OF_WINDOW)
    last_seq, token_count, _, summary_seq = rows[0][:width]
    newest = last_seq if before_seq is None else min(last_seq, before_seq - 1)
    first_seq = max(1, newest - limit + 1)
    messages = [message_from_row(row[width:]) for row in reversed(rows) if row[width] is not None]
    first = messages.pop(0) if messages and messages[0].seq < first_seq else None
    summary = next((row[2] for row in rows if row[2]), None)
    return Window(messages, first, first_seq, last_seq, token_count, "postgres", summary, summary_seq)


def window_of(messages: Sequence[Message]) -> Window:
    """Make a window from messages of several sessions; they get new seqs, from 1."""
    counted = [replace(message, seq=number) for number, message in enumerate(messages, 1)]
    return Window(counted, None, 1, len(counted), sum(message.tokens or 0 for message in counted), "postgres")


def limit_of(request: Request, counts: Appended | SessionInfo) -> int:
    """Return how many messages to read first: about as many as fit the budget."""
    if request.max_messages is not None or request.max_tokens is None:
        return request.max_messages or 0
    average = counts.token_count / counts.message_count if counts.token_count else AVERAGE_TOKENS
    return max(LEAST_READ, min(MAX_READ, int(request.max_tokens / average * 1.2)))


def needs_more(window: Window, request: Request, counter: Counter) -> bool:
    """Return whether older messages could still belong in the context."""
    read_so_far = window.last_seq - window.first_seq + 1
    if request.max_messages is not None and read_so_far >= request.max_messages:
        return False
    read = _read(window)
    if read.complete:
        return False
    if request.max_tokens is None:
        return True
    return sum(_cost(counter, message) for message in read.messages) <= request.max_tokens


class _Read(NamedTuple):
    """A window split for a prompt.

    Attributes:
        first: The system message the session begins with.
        messages: The other messages that may be sent.
        unpaired: The seqs of messages that may not be sent: see Context.
        complete: Whether the session has no older messages.
    """

    first: Message | None
    messages: Sequence[Message]
    unpaired: set[int]
    complete: bool


def _read(window: Window) -> _Read:
    first, messages = window.first, window.messages
    if first is None and messages and begins_session(messages[0].seq, messages[0].role):
        first, messages = messages[0], messages[1:]
    left_out = unpaired(messages)
    if left_out:
        messages = [message for message in messages if message.seq not in left_out]
    return _Read(first, messages, left_out, window.is_complete)


def _cost(counter: Counter, message: Message) -> int:
    stored = message.token_encoding
    if message.tokens is not None and (stored == counter.name or (counter.name == ESTIMATE.name and stored)):
        return message.tokens  # any vocabulary counts at least as well as an estimate
    return message_tokens(counter, message.content, message.metadata)
