"""Our own export of one session: its fields, its messages, and of a run its status history and metrics."""

from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

from chatmemory.errors import InvalidInputError
from chatmemory.files.conversations import Conversation
from chatmemory.files.json_stream import first_value, items
from chatmemory.json_form import FORMAT
from chatmemory.messages.records import Message, NewMessage
from chatmemory.records import JsonObject
from chatmemory.runs.metric_checks import check_curve
from chatmemory.runs.metric_records import MetricCurve
from chatmemory.sessions.records import SessionInfo

_PAST = ("created_at", "updated_at", "ended_at", "status", "parent_id", "run_status")
_RUN = ("run_status", "progress", "stage", "error")


def conversations(file: BinaryIO, start: int) -> Iterator[Conversation]:
    """Read the session of a file; its messages and metrics are read when they are iterated.

    Args:
        file: The open file.
        start: The position where its JSON begins.

    Raises:
        InvalidInputError: The session, a message or a metric lacks a field.
    """
    values = first_value(file, "session")
    file.seek(start)
    history = first_value(file, "status_history")
    file.seek(start)
    yield conversation(values, history, messages(items(file, "messages.item")), _metrics(file, start))


def conversation(
    values: Any, history: Any, messages: Iterable[NewMessage], metrics: Iterable[MetricCurve]
) -> Conversation:
    """Make the conversation of a session's record, the moves of its run, its messages and its metrics."""
    try:
        info = SessionInfo.from_dict(values)
    except InvalidInputError as error:
        raise InvalidInputError(f"The session in the file cannot be read: {error}") from None
    origin = {"from": FORMAT, **{name: values[name] for name in _PAST if values.get(name)}}
    return Conversation(
        id=info.id,
        source=FORMAT,
        created_at=info.created_at,
        last_active_at=info.last_active_at,
        title=info.title,
        user_id=info.user_id,
        kind=info.kind,
        status=info.status,
        metadata=info.metadata,
        details=info.details,
        results=info.results,
        origin={**origin, "status_history": history} if history else origin,
        messages=messages,
        run={name: getattr(info, name) for name in _RUN if getattr(info, name) is not None},
        metrics=metrics,
    )


def messages(records: Iterable[Any]) -> Iterator[NewMessage]:
    """Read messages of their records."""
    for index, item in enumerate(records, start=1):
        try:
            message = Message.from_dict(item)
        except InvalidInputError as error:
            raise InvalidInputError(f"Message {index} in the file cannot be read: {error}") from None
        yield NewMessage(message.role, message.content, message.id, message.metadata, message.created_at)


def _metrics(file: BinaryIO, start: int) -> Iterator[MetricCurve]:
    file.seek(start)
    yield from curves(items(file, "metrics.item"))


def curves(records: Iterable[Any]) -> Iterator[MetricCurve]:
    """Read curves of their records."""
    for index, item in enumerate(records, start=1):
        yield _curve(item, index)


def _curve(item: Any, index: int) -> MetricCurve:
    values: JsonObject = item if isinstance(item, dict) else {}
    try:
        return check_curve(MetricCurve.from_dict({"total": len(values.get("steps") or ()), **values}))
    except InvalidInputError as error:
        raise InvalidInputError(f"Metric {index} in the file cannot be read: {error}") from None
