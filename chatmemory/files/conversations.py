"""Conversations before they are stored: what every file format and every other store is read into."""

# No `from __future__ import annotations`: public() moves these classes to another module name,
# where typing.get_type_hints could not resolve annotations that are strings.
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from chatmemory._public import public
from chatmemory.messages.records import NewMessage
from chatmemory.records import JsonObject
from chatmemory.runs.metric_records import MetricCurve

BATCH_BYTES = 1_000_000  # of content that is stored together
BATCH_MESSAGES = 500


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One conversation of a file or of another store, for Tenant.import_conversations().

    Attributes:
        id: The id of the session it becomes.
        source: The name of the file's format or of the store.
        origin: Its times and status at the source, as JSON; kept with the session, under metadata["imported"].
        created_at: When it began; None: unknown.
        last_active_at: When it was last active, if its messages do not say so.
        user_id: Its user, where the source names one.
        tenant_id: Its tenant, where the source names one; another tenant refuses it.
        messages: Its messages, oldest first; to be read once, before the next conversation.
        status: The status it ended with; "active": it had not ended, and becomes completed; "expired": it is reopened
            when its user returns to it.
        run: The run status, progress, stage and error of a run.
        metrics: The points of a run's metrics; to be read once, after the messages.
        left_out: What of the source's conversation is not among the messages, by its name, counted. It may grow while
            the messages are read.
    """

    id: str
    source: str
    messages: Iterable[NewMessage]
    origin: JsonObject
    created_at: datetime | None = None
    last_active_at: datetime | None = None
    title: str | None = None
    user_id: str | None = None
    tenant_id: str | None = None
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


@public
@dataclass(frozen=True, slots=True)
class RefusedConversation:
    """A conversation that cannot be read; those after it can be.

    Attributes:
        id: The conversation's id.
        reason: The reason, without content of messages.
    """

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
