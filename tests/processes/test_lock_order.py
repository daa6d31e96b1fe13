"""Whoever changes memories locks users before sessions, and sessions before memories: nobody deadlocks."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from chatmemory import ChatMemory, Session, Tenant

LOCK_SHARED = "select from chatmemory.memory_users where user_id = '' for no key update"
PATIENCE = 60.0  # seconds, for what takes none
WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


@pytest.fixture
def acme(memory: ChatMemory) -> Tenant:
    """A tenant."""
    return memory.tenant("acme")


@pytest.fixture
def other(postgres_url: str) -> Iterator[psycopg.Connection]:
    """Somebody else's transaction."""
    with psycopg.connect(postgres_url) as connection:
        yield connection
        connection.rollback()


def session_of(acme: Tenant, kind: str = "chat") -> Session:
    """A session of Ann's that a memory of the whole tenant cites."""
    session = acme.sessions.create(user_id="ann", kind=kind)
    session.append("user", "The office is closed in May.")
    acme.memories.remember("The office is closed in May.", sources=[(session.id, 1, 1)])
    return session


ACTS: dict[str, tuple[str, Callable[[Tenant, Session], Any]]] = {
    "erasing a session": ("sessions", lambda _, session: session.erase()),
    "erasing a user": ("sessions", lambda acme, _: acme.users.erase("ann")),
    "erasing a tenant": ("sessions", lambda acme, _: acme.erase()),
    "sharing a result": ("sessions", lambda _, session: session.end(share_result=True)),
    "forgetting": ("memory_terms", lambda acme, _: acme.memories.forget(next(iter(acme.memories.list())).id)),
    "undoing a pruning": ("memories", lambda acme, _: acme.memories.unprune()),
}


@pytest.mark.parametrize("what", ACTS)
def test_users_are_locked_first(acme: Tenant, other: psycopg.Connection, postgres_url: str, what: str) -> None:
    """A transaction that waits for a user's row has no lock that the owner of the row may need."""
    table, act = ACTS[what]
    session = session_of(acme, "training" if what == "sharing a result" else "chat")
    if what == "undoing a pruning":
        with psycopg.connect(postgres_url) as connection:
            connection.execute("update chatmemory.memories set valid_to = now(), pruned_at = now()")
    other.execute(LOCK_SHARED)
    thread = threading.Thread(target=act, args=(acme, session))
    thread.start()
    with psycopg.connect(postgres_url, autocommit=True) as watching:
        while thread.is_alive() and watching.execute(WAITING).fetchall() == [(0,)]:
            pass
    assert thread.is_alive(), "it did not wait at all"
    held = other.execute(f"select 1 from chatmemory.{table} for update nowait".encode()).fetchall()
    other.commit()
    thread.join(PATIENCE)
    assert held
    assert not thread.is_alive()


def test_a_recall_waits_for_nobody(acme: Tenant, other: psycopg.Connection) -> None:
    """Neither a recall nor its count, which a read writes first, waits for whoever is changing a memory."""
    found = acme.memories.remember("The office is closed in May.", user_id="ann")
    other.execute("update chatmemory.memories set importance = 1")
    done = threading.Event()

    def recall() -> None:
        assert acme.memories.recall("office", user_id="ann")
        assert acme.memories.get(found.id).recall_count == 0
        done.set()

    thread = threading.Thread(target=recall)
    thread.start()
    waited = done.wait(PATIENCE)
    other.rollback()
    thread.join(PATIENCE)
    assert waited
    acme.memories.recall("office", user_id="ann")
    assert acme.memories.get(found.id).recall_count == 1


CITED = (
    "insert into chatmemory.memories "
    "(tenant_id, id, user_id, kind, text, place, trust, importance, valid_from, lexemes) "
    "values ('acme', 'm-1', 'bob', 'fact', 'May', 1, 2, 1, now(), 'may')"
)
LOCK_BOB = (
    "insert into chatmemory.memory_users (tenant_id, user_id) values ('acme', 'bob') "
    "on conflict (tenant_id, user_id) do update set places = memory_users.places"
)


def test_users_who_cite_at_the_last_moment_are_locked_first(
    acme: Tenant, other: psycopg.Connection, postgres_url: str
) -> None:
    """Bob's memory cites the session before the eraser has locked it, but after it has locked users: it begins anew."""
    session = session_of(acme)
    other.execute(LOCK_BOB)
    other.execute(CITED.encode())
    other.execute(
        "insert into chatmemory.memory_sources (tenant_id, memory_id, session_id, from_seq, to_seq) "
        "values ('acme', 'm-1', %s, 1, 1)",
        (session.id,),
    )
    receipts: list[int] = []
    eraser = threading.Thread(target=lambda: receipts.append(session.erase().memories))
    with (
        psycopg.connect(postgres_url) as bobs,
        psycopg.connect(postgres_url, autocommit=True) as watching,
    ):
        locker = threading.Thread(target=bobs.execute, args=(LOCK_BOB,))
        for count, thread in enumerate((eraser, locker), start=1):
            thread.start()
            while watching.execute(WAITING).fetchall() != [(count,)]:
                assert thread.is_alive()
        other.commit()  # Bob's row goes to `bobs`, and the session to the eraser
        locker.join(PATIENCE)
        began = time.monotonic()
        while watching.execute(WAITING + " and query like 'select u.user_id%'").fetchall() != [(1,)]:
            assert eraser.is_alive()
            assert time.monotonic() - began < PATIENCE, "it waits for Bob's row while it holds the session"
        assert bobs.execute("select 1 from chatmemory.sessions for update nowait").fetchall() == [(1,)]
    eraser.join(PATIENCE)
    assert receipts == [2]
    assert not acme.memories.list()


def test_sessions_are_locked_in_the_order_of_their_beginning(
    acme: Tenant, other: psycopg.Connection, postgres_url: str
) -> None:
    """An eraser that waits for an older session holds no newer one, whatever their ids: as when many are ended."""
    for id in ("z", "a"):
        acme.sessions.create(user_id="ann", session_id=id)
    other.execute("select from chatmemory.sessions where id = 'z' for update")
    eraser = threading.Thread(target=acme.users.erase, args=("ann",))
    eraser.start()
    with psycopg.connect(postgres_url, autocommit=True) as watching:
        while eraser.is_alive() and watching.execute(WAITING).fetchall() == [(0,)]:
            pass
    assert eraser.is_alive(), "it did not wait at all"
    free = other.execute("select id from chatmemory.sessions where id = 'a' for update skip locked").fetchall()
    other.rollback()
    eraser.join(PATIENCE)
    assert free == [("a",)]
    assert not acme.sessions.list()
