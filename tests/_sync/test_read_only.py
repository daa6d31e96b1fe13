# Generated from tests/_async/test_read_only.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Connections opened while the database took no writes, as before a failover."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg import sql

from chatmemory import ChatMemory, Session, StorageUnavailableError
from chatmemory._sync.storage import connection
from chatmemory._sync.storage.connection import TimedConnection

Call = Callable[[Session], Any]
WRITES: dict[str, Call] = {
    "append": lambda session: session.append("user", "text"),
    "append_and_context": lambda session: session.append_and_context([{"role": "user", "content": "text"}]),
    "update": lambda session: session.update(title="new"),
    "end": lambda session: session.end(),
    "fork": lambda session: session.fork(),
}


def set_read_only(url: str, value: str) -> None:
    """Have new connections to the database begin read-only, or not; old ones stay as they are."""
    with psycopg.connect(url, autocommit=True, options="-c default_transaction_read_only=off") as administrator:
        name = sql.Identifier(administrator.info.dbname)
        administrator.execute(sql.SQL("alter database {} set default_transaction_read_only = {}").format(name, value))


@pytest.fixture(autouse=True)
def _old_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection counts as old as soon as it is open."""
    monkeypatch.setattr(connection, "NEW_SECONDS", 0.0)


def opened_read_only(url: str, memory: ChatMemory) -> Session:
    """A session, in a memory whose connections were opened while the database took no writes."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    set_read_only(url, "on")
    memory._database.heal()
    assert session.history() == []
    return session


@pytest.mark.parametrize("told", [True, False], ids=["the server tells", "the server refuses"])
@pytest.mark.parametrize("name", WRITES)
def test_they_are_replaced(
    memory: ChatMemory, postgres_url: str, name: str, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While nothing can be written, calls say so; then the first one works, and health is well."""
    if not told:
        monkeypatch.setattr(TimedConnection, "is_read_only", False)
    session = opened_read_only(postgres_url, memory)
    with pytest.raises(StorageUnavailableError, match="takes no writes") as caught:
        WRITES[name](session)
    assert "Nothing was written" in str(caught.value)
    assert not caught.value.may_be_stored
    assert memory.health().postgres == "read-only"
    assert not memory.health().ok
    assert session.history() == []  # reading works
    set_read_only(postgres_url, "off")
    if told or name not in ("update", "fork"):  # several steps are not repeated
        WRITES[name](session)
        assert memory.health().ok


def test_a_call_that_may_not_be_repeated_is_repeated_once(
    memory: ChatMemory, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused statement did nothing, so that creating and restoring try again on a new connection."""
    monkeypatch.setattr(TimedConnection, "is_read_only", False)
    opened_read_only(postgres_url, memory)
    set_read_only(postgres_url, "off")
    assert (memory.tenant("acme").sessions.create(user_id="ann")).info.is_active
    memories = memory.tenant("acme").memories
    assert memories.remember("text", user_id="ann").text == "text"


def test_a_server_that_stays_read_only_is_asked_twice(
    memory: ChatMemory, postgres_url: str, round_trips: list[str]
) -> None:
    """Once, and once more on a new connection; not for the whole timeout."""
    session = opened_read_only(postgres_url, memory)
    round_trips.clear()
    with pytest.raises(StorageUnavailableError):
        session.append("user", "text")
    assert len(round_trips) == 2
