"""Conversations of a file, before they are stored: what every format is read into."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chatmemory.messages.records import NewMessage
from chatmemory.records import JsonObject
from chatmemory.runs.metric_records import MetricCurve

BATCH_BYTES = 1_000_000  # of content that is stored together
BATCH_MESSAGES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One conversation of a file.

    Attributes:
        id: The id of the session it becomes.
        source: The file's format: chatgpt, or the format of our own export.
        origin: Its times and status in the file, to be kept with the session.
        created_at: When it began; None: unknown.
        last_active_at: When it was last active, if its messages do not say so.
        user_id: Its user, where the file names one.
        messages: Its messages, oldest first; to be read once, before the next conversation.
        status: The status it ended with; active: it had not ended.
        run: The run status, progress, stage and error of a run.
        metrics: The points of a run's metrics; to be read once, after the messages.
        left_out: What of the file's conversation is not among the messages, by its name, counted.
    """

    id: str
    source: str
    messages: Iterable[NewMessage]
    origin: JsonObject
    created_at: datetime | None = None
    last_active_at: datetime | None = None
    title: str | None = None
    user_id: str | None = None
    kind: str = "chat"
    status: str = "completed"
    metadata: JsonObject = field(default_factory=dict)
    details: JsonObject = field(default_factory=dict)
    results: Any = None
    run: JsonObject = field(default_factory=dict)
    metrics: Iterable[MetricCurve] = ()
    left_out: dict[str, int] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """True if all of it was read before it is stored, so that an error concerns it alone and not the file."""
        return isinstance(self.messages, list)


@dataclass(frozen=True, slots=True)
class Refused:
    """A conversation that cannot be read, and the reason; those after it can be."""

    id: str
    reason: str


def batches(messages: Iterable[NewMessage]) -> Iterator[list[NewMessage]]:
    """Group messages to store together, within a bound of memory."""
    batch: list[NewMessage] = []
    size = 0
    for message in messages:
        batch.append(message)
        size += len(str(message.content))
        if size >= BATCH_BYTES or len(batch) >= BATCH_MESSAGES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
