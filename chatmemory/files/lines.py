"""Rows as lines of JSON Lines, for the export of a session, a user and a tenant."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from chatmemory.files.exports import points, to_line
from chatmemory.items.records import item_from_row
from chatmemory.memories.records import memory_from_row
from chatmemory.messages.records import message_from_row
from chatmemory.records import JsonObject
from chatmemory.sessions.records import session_from_row
from chatmemory.storage.ownership import Export

Row = Sequence[Any]


def to_export_line(export: Export, row: Row) -> str:
    """Render one row: a record where there is one for its type, else its columns by name."""
    record = _RECORDS.get(export.type)
    return to_line(export.type, record(row) if record else dict(zip(export.columns, row, strict=True)))


def _session(row: Row) -> JsonObject:
    *columns, deleted_at = row
    return {**asdict(session_from_row(columns)), "deleted_at": deleted_at}


def _message(row: Row) -> JsonObject:
    session_id, *columns = row
    return {"session_id": session_id, **asdict(message_from_row(columns))}


def _event(row: Row) -> JsonObject:
    session_id, at, type, data = row
    return {"session_id": session_id, "at": at, "event": type, "data": data}


def _metrics(row: Row) -> JsonObject:
    session_id, *packed = row
    return {"session_id": session_id, **points(packed)}


_RECORDS: dict[str, Callable[[Row], JsonObject]] = {
    "session": _session,
    "message": _message,
    "event": _event,
    "metrics": _metrics,
    "memory": lambda row: asdict(memory_from_row(row)),
    "item": lambda row: asdict(item_from_row((*row, None))),
}
