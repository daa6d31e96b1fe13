"""How records show themselves in a notebook: quiet HTML, in which whatever was said stands as text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import singledispatch
from html import escape
from typing import TYPE_CHECKING, Any

from chatmemory.context.records import Context
from chatmemory.errors import MissingExtraError
from chatmemory.memories.records import Memory, Profile, Recalled
from chatmemory.messages.records import Message
from chatmemory.records import Page, shorten
from chatmemory.sessions.records import SessionInfo

if TYPE_CHECKING:
    import pandas

MOST_ROWS = 50
LONGEST_CELL = 500  # characters
_STYLE = "border-collapse:collapse;font-size:90%"
_CELL = "text-align:left;vertical-align:top;padding:2px 10px 2px 0;white-space:pre-wrap"


@singledispatch
def to_html(record: object) -> str:
    """A record as HTML; nothing that was stored is markup in it."""
    return f"<pre>{escape(repr(record))}</pre>"


def table(head: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "", more: str = "") -> str:
    """A table of plain text.

    Args:
        head: What its columns are called.
        rows: What stands in them.
        title: What stands above it.
        more: What stands below it.
    """
    top = "".join(f'<th style="{_CELL}">{_text(name)}</th>' for name in head)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{_text(value)}</td>' for value in row) + "</tr>" for row in rows
    )
    parts = [
        f"<div><b>{_text(title)}</b></div>" if title else "",
        f'<table style="{_STYLE}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>',
        f"<div><i>{_text(more)}</i></div>" if more else "",
    ]
    return "".join(parts)


def _text(value: object) -> str:
    if value is None:
        return ""
    said = f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)
    return escape(said if len(said) <= LONGEST_CELL else said[:LONGEST_CELL] + "…")


@to_html.register
def _(record: Message) -> str:
    return table(("seq", "role", "message"), [(record.seq, record.role, record.text)])


@to_html.register
def _(record: SessionInfo) -> str:
    rows = [
        ("id", record.id),
        ("user", record.user_id),
        ("kind", record.kind),
        ("status", record.status if record.run_status is None else f"{record.status}, {record.run_status}"),
        ("messages", record.message_count),
        ("last active", record.last_active_at),
        *record.details.items(),
    ]
    return table(("session", record.title or ""), rows)


@to_html.register
def _(record: Context) -> str:
    rows: list[Sequence[object]] = [("system", "", record.system)] if record.system else []
    rows += [("summary", "", record.summary)] if record.summary else []
    rows += [("memory", f"{each.score:.2f}", each.memory.text) for each in record.memories]
    rows += [(message.role, message.seq, message.text) for message in record.messages]
    parts = ", ".join(f"{name} {tokens:,}" for name, tokens in record.tokens_by_part.items() if tokens)
    budget = "" if record.max_tokens is None else f" of {record.max_tokens:,}"
    left_out = record.omitted
    more = f"left out: {left_out.count:,} messages, seq {left_out.from_seq} to {left_out.to_seq}" if left_out else ""
    title = f"{record.tokens:,}{budget} tokens: {parts}"
    return table(("part", "seq", "text"), rows, title=title, more=more)


@to_html.register(Page)
def _(record: Page[Any]) -> str:
    begin = record.offset + 1 if len(record) else 0
    title = f"{begin:,} to {record.offset + len(record):,} of {record.total:,}"
    return rows_to_html(record.items, title)


def rows_to_html(records: Sequence[Any], title: str = "") -> str:
    """Records of one kind as a table of what tells them apart."""
    if not records:
        return table((), (), title=title, more="nothing here")
    shown = [_row(record) for record in records[:MOST_ROWS]]
    more = f"and {len(records) - MOST_ROWS:,} more" if len(records) > MOST_ROWS else ""
    return table(list(shown[0]), [list(row.values()) for row in shown], title=title, more=more)


def _row(record: Any) -> Mapping[str, object]:
    if isinstance(record, SessionInfo):
        return {
            "id": record.id, "user": record.user_id, "kind": record.kind, "status": record.run_status or record.status,
            "messages": record.message_count, "last active": record.last_active_at, "title": record.title,
        }  # fmt: skip
    if isinstance(record, Message):
        return {"seq": record.seq, "role": record.role, "at": record.created_at, "message": record.text}
    if isinstance(record, Memory):
        return _memory_row(record)
    if isinstance(record, Recalled):
        why = ", ".join(f"{name} {rank}" for name, rank in record.ranks.items())
        return {"score": f"{record.score:.2f}", "why": why, **_memory_row(record.memory)}
    return {"": shorten(repr(record), LONGEST_CELL)}


def _memory_row(memory: Memory) -> dict[str, object]:
    sources = ", ".join(f"{each.session_id} {each.from_seq}–{each.to_seq}" for each in memory.sources[:3])  # noqa: RUF001
    return {
        "kind": memory.kind, "memory": memory.text, "since": memory.valid_from, "until": memory.valid_to,
        "trust": memory.trust, "source": sources,
    }  # fmt: skip


@to_html.register
def _(record: Memory) -> str:
    return rows_to_html([record])


@to_html.register
def _(record: Recalled) -> str:
    return rows_to_html([record])


@to_html.register
def _(record: Profile) -> str:
    facts = rows_to_html(record.facts, f"facts about {record.user_id}")
    return facts + rows_to_html(record.preferences, "preferences")


def to_pandas(records: Iterable[Any]) -> "pandas.DataFrame":
    """Records as a table: a row for each, and a column for each of its fields.

    Args:
        records: Messages, memories, what was recalled, a page of them, a context …

    Raises:
        MissingExtraError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise MissingExtraError('pandas is not installed: pip install "chatmemory[notebook]".') from None
    return pandas.DataFrame([_fields(record) for record in records])


def _fields(record: Any) -> dict[str, Any]:
    if isinstance(record, Recalled):
        return {"score": record.score, **record.ranks, **_fields(record.memory)}
    if not is_dataclass(record):
        return dict(record) if isinstance(record, Mapping) else {"value": record}
    return {field.name: getattr(record, field.name) for field in fields(record)}
