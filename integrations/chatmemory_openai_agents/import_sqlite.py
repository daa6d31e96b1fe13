"""Conversations in the SQLite database of the SDK's SQLiteSession."""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chatmemory import ConfigurationError, Conversation, InvalidInputError, NewMessage
from chatmemory_openai_agents import import_queries as queries
from chatmemory_openai_agents.items import from_item

NAME = "openai-agents-sqlite"


def agents_sqlite_conversations(path: str, *, table: str = "agent_messages") -> Iterator[Conversation]:
    """Read the conversations of the SDK's SQLiteSession and AsyncSQLiteSession.

    They are read in pieces, while they are iterated; for Tenant.import_conversations().

    Args:
        path: The path of the database file, or sqlite:///path.
        table: The table of the items: the app's messages_table.

    Raises:
        ConfigurationError: The file cannot be opened, is no SQLite database, or has no such table.
    """
    quoted = '"' + table.replace('"', '""') + '"'
    with closing(_opened(path)) as database:
        after = ""
        while rows := _fetch(database, queries.SESSIONS.format(table=quoted), (after,)):
            for id, began, last in rows:
                yield _conversation(database, queries.ITEMS.format(table=quoted), id, (_time(began), _time(last)))
            after = rows[-1][0]


def _opened(path: str) -> sqlite3.Connection:
    """Open the file for reading; the threads of an import take turns."""
    for scheme in ("sqlite:///", "file://"):
        path = path.removeprefix(scheme)
    file = Path(path).expanduser()
    if not file.is_file():
        raise ConfigurationError(f"The source cannot be opened: there is no file {str(file)!r}.")
    try:
        return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)
    except sqlite3.Error as error:
        raise ConfigurationError(f"The source cannot be opened: {error}.") from None


def _fetch(database: sqlite3.Connection, statement: str, params: tuple[Any, ...]) -> list[tuple[Any, ...]]:
    try:
        return database.execute(statement, params).fetchall()
    except sqlite3.Error as error:
        raise ConfigurationError(f"The source cannot be read: {error}.") from None


def _conversation(
    database: sqlite3.Connection, statement: str, id: str, times: tuple[datetime | None, datetime | None]
) -> Conversation:
    began, last = times
    left_out: dict[str, int] = {}
    return Conversation(
        id=id,
        source=NAME,
        origin={"from": NAME, "id": id},
        messages=_messages(database, statement, id, left_out),
        created_at=began,
        last_active_at=last,
        status="expired",
        left_out=left_out,
    )


def _messages(
    database: sqlite3.Connection, statement: str, session: str, left_out: dict[str, int]
) -> Iterator[NewMessage]:
    after = -1
    while rows := _fetch(database, statement, (session, after)):
        for row, stored, at in rows:
            try:
                message = from_item(json.loads(stored))
            except (InvalidInputError, ValueError, TypeError, RecursionError):
                name = "items that are no JSON objects"
                left_out[name] = left_out.get(name, 0) + 1
                continue
            yield replace(message, message_id=f"row-{row}-{_digest(stored)}", created_at=_time(at))
        after = rows[-1][0]


def _digest(stored: object) -> str:
    """Return a digest, so that a row of a database that was made anew is not taken for the old one."""
    return hashlib.sha256(str(stored).encode(errors="surrogatepass")).hexdigest()[:24]


def _time(text: object) -> datetime | None:
    """Return a time of SQLite's, which is in UTC."""
    try:
        at = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)
