"""Conversations of the SDK's SQLiteSession, imported and continued."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from agents import SQLiteSession, TResponseInputItem

from chatmemory import AsyncChatMemory, AsyncTenant, ConfigurationError
from chatmemory_openai_agents import ChatMemorySession, agents_sqlite_conversations

CALL: TResponseInputItem = {"type": "function_call", "call_id": "c-1", "name": "menu", "arguments": "{}"}
REASONING: TResponseInputItem = {"type": "reasoning", "id": "__fake_id__", "summary": []}
ITEMS: list[TResponseInputItem] = [
    {"role": "user", "content": "Soup or salad? 🥗"},
    REASONING,
    CALL,
    {"type": "function_call_output", "call_id": "c-1", "output": "Soup"},
    {"role": "assistant", "content": "Soup."},
    REASONING,
]


async def imported(tenant: AsyncTenant, path: Path, **options: str) -> list[tuple[str, str, int]]:
    """Import a database; return the results, shortly."""
    found = agents_sqlite_conversations(str(path), **options)
    results = tenant.import_conversations(found, default_user_id="ann")
    return [(each.id, each.outcome, each.messages) async for each in results]


async def fill(path: Path, session: str, items: list[TResponseInputItem], **tables: Any) -> None:
    """Store items as the SDK does."""
    store = SQLiteSession(session, path, **tables)
    await store.add_items(items)
    store.close()


async def test_items_come_whole_and_once(async_memory: AsyncChatMemory, tmp_path: Path) -> None:
    """Every item is there under its session, and a second import adds what was said since."""
    path, acme = tmp_path / "agents.db", async_memory.tenant("acme")
    await fill(path, "acme:ann:thread-1", ITEMS)
    await fill(path, "long", ITEMS * 40)
    assert await imported(acme, path) == [("acme:ann:thread-1", "imported", 6), ("long", "imported", 240)]
    await fill(path, "long", ITEMS[:1])
    assert await imported(acme, path) == [("acme:ann:thread-1", "unchanged", 0), ("long", "grown", 1)]
    with sqlite3.connect(path) as database:
        [[began]] = database.execute("select min(created_at) from agent_messages where session_id = 'long'")
    database.close()
    session = await acme.sessions.get("long")
    assert session.info.created_at.strftime("%Y-%m-%d %H:%M:%S%z") == f"{began}+0000"
    assert session.info.status == "expired"


async def test_an_imported_conversation_goes_on(async_memory: AsyncChatMemory, tmp_path: Path) -> None:
    """The agent gets the items of before, under the session's id."""
    path, sessions = tmp_path / "agents.db", async_memory.tenant("acme").sessions
    await fill(path, "thread-1", ITEMS, sessions_table="s", messages_table="m")
    await imported(async_memory.tenant("acme"), path, table="m")
    session = ChatMemorySession(await sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt"))
    assert session.session_id == "thread-1"
    await session.add_items(ITEMS[:1])
    assert await session.get_items() == [*ITEMS, ITEMS[0]]


async def test_items_that_cannot_be_read_are_counted(async_memory: AsyncChatMemory, tmp_path: Path) -> None:
    """They are left out; the others come in."""
    path = tmp_path / "agents.db"
    await fill(path, "s", ITEMS[:1])
    with sqlite3.connect(path) as database:
        rows: list[Any] = ["no JSON", "[1]", "7", b"\xff", '{"role": "user", "content": "a\\u0000b"}']
        statement = "insert into agent_messages (session_id, message_data) values ('s', ?)"
        database.executemany(statement, [(row,) for row in rows])
    database.close()
    found = agents_sqlite_conversations(f"sqlite:///{path}")
    [result] = [r async for r in async_memory.tenant("acme").import_conversations(found, user_id="ann")]
    assert (result.outcome, result.messages, sum(result.left_out.values())) == ("imported", 1, 5)
    assert result.left_out["items that are no JSON objects"] == 4


def test_a_source_that_cannot_be_read(tmp_path: Path) -> None:
    """No file, no database, no such table: the error says which."""
    (tmp_path / "text").write_text("hello " * 1000)
    sqlite3.connect(tmp_path / "empty.db").close()
    for name, match in (("none.db", "no file"), ("text", "not a database"), ("empty.db", "no such table")):
        with pytest.raises(ConfigurationError, match=match):
            next(agents_sqlite_conversations(str(tmp_path / name)))
    assert not (tmp_path / "none.db").exists()
