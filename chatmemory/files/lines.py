"""Rows as lines of JSON Lines, for the export of a session, a user and a tenant."""

from collections.abc import Callable, Sequence
from typing import Any

from chatmemory.files.exports import to_line
from chatmemory.items.records import item_from_row
from chatmemory.json_form import FORMAT, Record, plain
from chatmemory.memories.records import expense_from_row, memory_from_row
from chatmemory.messages.records import message_from_row
from chatmemory.records import JsonObject
from chatmemory.runs.metric_records import curve_from_row
from chatmemory.sessions.records import event_from_row, session_from_row
from chatmemory.storage.ownership import Export

Row = Sequence[Any]

# How a record is built from its columns; of others each column stands under its own name.
_RECORDS: dict[str, Callable[[Row], Record]] = {
    "session": session_from_row,
    "message": message_from_row,
    "event": event_from_row,
    "metrics": curve_from_row,
    "memory": memory_from_row,
    "spend": expense_from_row,
    "item": lambda row: item_from_row((*row, None)),
}


def first_line(tenant_id: str, **subject: str) -> str:
    """Render the line with which an export begins: its format, and what it is an export of."""
    return to_line("export", {"format": FORMAT, "tenant_id": tenant_id, **subject})


def row_line(export: Export, row: Row) -> str:
    """Render one row."""
    count = len(export.named)
    named = dict(zip(export.named, map(plain, row[:count]), strict=True))
    return to_line(export.record, {**named, **_record(export, row[count:])})


def _record(export: Export, row: Row) -> JsonObject:
    build = _RECORDS.get(export.record)
    if build is not None:
        return build(row).to_dict()
    return dict(zip(export.columns, map(plain, row), strict=True))
