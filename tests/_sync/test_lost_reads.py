# Generated from tests/_async/test_lost_reads.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""A Postgres that does not answer: only a call that stores something says that it may be stored."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from chatmemory import ChatMemory, Session, Settings, StorageUnavailableError, Tenant
from chatmemory.storage.queries.effects import READING_FUNCTIONS
from tests.fixtures.cables import Cable, Front

Call = Callable[[Tenant, Session], Any]
READS: dict[str, Call] = {
    "context": lambda _, session: session.context(100, fresh=True),
    "context of the user": lambda _, session: session.context(100, scope="user"),
    "history": lambda _, session: session.history(1_000),
    "refresh": lambda _, session: session.refresh(),
    "events": lambda _, session: session.events(),
    "metrics": lambda _, session: session.metrics(),
    "export": lambda _, session: session.export(),
    "get": lambda acme, session: acme.sessions.get(session.id),
    "list": lambda acme, _: acme.sessions.list(with_total=True),
    "search": lambda acme, _: acme.sessions.search("words"),
    "compare": lambda acme, session: acme.sessions.compare([session.id]),
    "recall": lambda acme, _: acme.memories.recall("words", user_id="ann"),
    "memories": lambda acme, _: acme.memories.list(user_id="ann"),
    "stats": lambda acme, _: acme.memories.stats(user_id="ann"),
    "item": lambda acme, _: acme.items.get(("a",), "k"),
    "items": lambda acme, _: acme.items.search(query="words"),
    "profile": lambda acme, _: acme.users.profile("ann"),
    "users": lambda acme, _: acme.users.list(),
    "spend": lambda acme, _: acme.spend(since=datetime(2026, 1, 1, tzinfo=UTC)),
}
WRITES: dict[str, Call] = {  # whose first statement stores
    "append": lambda _, session: session.append("user", "words"),
    "put": lambda acme, _: acme.items.put(("a",), "k", {}),
    "create": lambda acme, _: acme.sessions.create(user_id="ann"),
}


@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_what_may_be_stored(cable: Callable[[Front], Cable], name: str) -> None:
    """A read says that nothing was written; a write whose commit was sent, that it may be stored."""
    link = cable("unix")
    settings = Settings(cleanup_inactive_sessions=False, postgres_timeout_seconds=0.3)
    call = (READS | WRITES)[name]
    with ChatMemory.open(link.url, settings=settings) as memory:
        acme = memory.tenant("acme")
        session = acme.sessions.create(user_id="ann")
        session.append("user", "words")
        call(acme, session)  # so that what only the first call asks is known
        link.stop()
        with pytest.raises(StorageUnavailableError) as raised:
            call(acme, session)
        link.go_on()
    assert raised.value.may_be_stored == (name in WRITES)


def test_reading_functions_store_nothing(postgres_url: str) -> None:
    """Each function that counts as reading has no statement that writes, nor has one that it calls."""
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute(
            "select proname::text, prosrc from pg_proc where pronamespace = 'chatmemory'::regnamespace"
        )
        bodies: dict[str, str] = {row[0]: row[1] for row in rows}
    todo, seen = sorted(READING_FUNCTIONS & bodies.keys()), set[str]()
    assert len(todo) >= len(READING_FUNCTIONS) - 1  # without pgvector there is no find_near
    while todo:
        name = todo.pop()
        seen.add(name)
        if name == "renew_words":  # of what is stored already
            continue
        for verb in ("insert into", "update chatmemory.", "delete from", "pg_notify"):
            assert verb not in bodies[name], (name, verb)
        todo += [other for other in bodies if f"chatmemory.{other}(" in bodies[name] and other not in seen]
