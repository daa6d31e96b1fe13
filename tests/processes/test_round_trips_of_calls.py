"""How often each call waits for Postgres, counted between the two."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chatmemory import ChatMemory, Settings
from chatmemory._sync.memories import recall_counts

SETTINGS = Settings(cleanup_inactive_sessions=False, postgres_pool_min_size=1, postgres_pool_max_size=1)


class Between:
    """Passes bytes on between clients and Postgres, and counts the messages after which a client waits."""

    def __init__(self, url: str) -> None:
        parts = conninfo_to_dict(url)
        self._host, self._port = str(parts["host"]), int(parts.get("port") or 5432)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = make_conninfo(
            url, host="127.0.0.1", port=self._listener.getsockname()[1], sslmode="disable", gssencmode="disable"
        )
        self.round_trips = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = self._connect()
                threading.Thread(target=self._pass_on, args=(client, server, self._count), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client, bytearray.clear), daemon=True).start()

    def _connect(self) -> socket.socket:
        if not self._host.startswith("/"):
            return socket.create_connection((self._host, self._port))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{self._host}/.s.PGSQL.{self._port}")
        return server

    def _pass_on(self, source: socket.socket, target: socket.socket, look: Callable[[bytearray], None]) -> None:
        unread = bytearray()
        with suppress(OSError), source, target:
            while data := source.recv(65536):
                unread += data
                look(unread)
                target.sendall(data)

    def _count(self, unread: bytearray) -> None:
        """Read whole messages: Query and Sync ask for an answer; the first message of a connection has no type."""
        while len(unread) > 4:
            has_type = unread[0] != 0
            size = has_type + int.from_bytes(unread[has_type : has_type + 4])
            if len(unread) < max(size, 5):
                return
            self.round_trips += bytes(unread[:1]) in (b"Q", b"S")
            del unread[:size]

    def close(self) -> None:
        """Take no more clients."""
        self._listener.close()


class Numbers:
    """An embedder that needs no network."""

    name, dimensions = "numbers", 3

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """One vector for each text."""
        return [[float(len(text)), 1.0, float(text.count("e"))] for text in texts]


@pytest.fixture
def between(postgres_url: str) -> Iterator[Between]:
    """A counter in front of the test's database."""
    between = Between(postgres_url)
    yield between
    between.close()


CALLS: dict[str, tuple[int, Callable[[Any, Any, Any], Any]]] = {
    "sessions.create": (1, lambda acme, session, memory: acme.sessions.create(user_id="bob")),
    "sessions.resume_or_create": (
        1,
        lambda acme, session, memory: acme.sessions.resume_or_create(session.id, user_id="ann"),
    ),
    "sessions.get": (1, lambda acme, session, memory: acme.sessions.get(session.id)),
    "sessions.list": (1, lambda acme, session, memory: acme.sessions.list(user_id="ann")),
    "sessions.list, counted": (1, lambda acme, session, memory: acme.sessions.list(with_total=True)),
    "sessions.compare": (1, lambda acme, session, memory: acme.sessions.compare([session.id])),
    "session.history": (1, lambda acme, session, memory: session.history()),
    "session.refresh": (1, lambda acme, session, memory: session.refresh()),
    "session.events": (1, lambda acme, session, memory: session.events()),
    "session.status_history": (1, lambda acme, session, memory: session.status_history()),
    "session.metrics": (1, lambda acme, session, memory: session.metrics()),
    "session.update": (2, lambda acme, session, memory: session.update(metadata={"n": 1})),
    "memories.recall": (3, lambda acme, session, memory: acme.memories.recall("office", user_id="ann")),
    "memories.remember": (2, lambda acme, session, memory: acme.memories.remember("The office is old.", user_id="ann")),
    "memories.correct": (3, lambda acme, session, memory: acme.memories.correct(memory.id, "It moved.")),
    "memories.forget": (2, lambda acme, session, memory: acme.memories.forget(memory.id)),
    "memories.get": (1, lambda acme, session, memory: acme.memories.get(memory.id)),
    "memories.list": (1, lambda acme, session, memory: acme.memories.list(user_id="ann", with_total=True)),
    "memories.history": (1, lambda acme, session, memory: acme.memories.history(memory.id)),
    "memories.stats": (1, lambda acme, session, memory: acme.memories.stats("ann")),
    "items.put": (1, lambda acme, session, memory: acme.items.put(("a",), "k", {"v": 1})),
    "items.get": (1, lambda acme, session, memory: acme.items.get(("a",), "k")),
    "items.search": (1, lambda acme, session, memory: acme.items.search(("a",))),
    "items.namespaces": (1, lambda acme, session, memory: acme.items.namespaces()),
    "users.profile": (1, lambda acme, session, memory: acme.users.profile("ann")),
    "users.recent": (1, lambda acme, session, memory: acme.users.recent("ann")),
}


@pytest.mark.parametrize("embedder", [None, Numbers()], ids=["words", "vectors"])
def test_calls_wait_for_postgres_no_more_than_they_must(
    between: Between, embedder: Numbers | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each call on a warm connection takes the round trips it is known for; a recall by words takes two."""
    monkeypatch.setattr(recall_counts, "WRITE_SECONDS", 3600.0)
    most = {name: count for name, (count, _) in CALLS.items()}
    if embedder is None:
        most["memories.recall"] = 2
    counted = {}
    with ChatMemory.open(between.url, settings=SETTINGS, embedder=embedder) as opened:
        acme = opened.tenant("acme")
        for name, (_, call) in [*CALLS.items(), *CALLS.items()]:  # the second time, statements are prepared
            session = acme.sessions.create(user_id="ann")
            memory = acme.memories.remember(f"The office is closed: {session.id}.", user_id="ann")
            acme.memories.get(memory.id)  # counts that wait are written
            before = between.round_trips
            call(acme, session, memory)
            counted[name] = between.round_trips - before
    assert {name: count for name, count in counted.items() if count > most[name]} == {}
    assert min(counted.values()) > 0
