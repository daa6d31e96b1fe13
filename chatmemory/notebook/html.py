"""Tables as plain HTML for a notebook; all stored text is escaped."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from html import escape
from typing import NamedTuple

MAX_CELL_CHARACTERS = 500  # characters
_STYLE = "border-collapse:collapse;font-size:90%"
_CELL = "text-align:left;vertical-align:top;padding:2px 10px 2px 0;white-space:pre-wrap"


class Table(NamedTuple):
    """A table of plain values.

    Attributes:
        head: The names of the columns.
        rows: The rows, each with a value for each column.
        caption: The text above the table.
        footer: The text below the table.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    footer: str = ""


def to_html(tables: Iterable[Table]) -> str:
    """Render tables; their values are escaped."""
    return "".join(map(_table, tables))


def _table(table: Table) -> str:
    head = "".join(f'<th style="{_CELL}">{_text(name)}</th>' for name in table.head)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL}">{_text(value)}</td>' for value in row) + "</tr>" for row in table.rows
    )
    parts = [
        f"<div><b>{_text(table.caption)}</b></div>" if table.caption else "",
        f'<table style="{_STYLE}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>',
        f"<div><i>{_text(table.footer)}</i></div>" if table.footer else "",
    ]
    return "".join(parts)


def _text(value: object) -> str:
    if value is None:
        return ""
    text = f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else str(value)
    return escape(text if len(text) <= MAX_CELL_CHARACTERS else text[:MAX_CELL_CHARACTERS] + "…")
