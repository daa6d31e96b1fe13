"""Postgres goes away under load and comes back."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from chatmemory import ChatMemory, StorageUnavailableError
from chatmemory._sync.storage.connection import TimedConnection, TimedPool
from tests.fixtures.postgres import create_database
from tests.processes import work
from tests.processes.conftest import Server
from tests.processes.work import Load

THREADS = 4
TIMEOUT = 2.0
PATIENCE = 30.0  # seconds; a call without a bound never ends


class Loads:
    """Threads that append to one session until they are told to stop."""

    def __init__(self, memory: ChatMemory, session_id: str) -> None:
        self.each = [Load(memory, session_id, f"thread{number}") for number in range(THREADS)]
        self._progress = threading.Condition()
        self._stopped = False
        self._threads = [threading.Thread(target=self._run, args=(load,)) for load in self.each]

    def _run(self, load: Load) -> None:
        while not self._stopped:
            load.append()
            with self._progress:
                self._progress.notify_all()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run them beside the block."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped = True
            for thread in self._threads:
                thread.join()

    def acknowledged(self) -> list[tuple[int, str]]:
        """The ids that were acknowledged to the threads."""
        return [message for load in self.each for message in load.acknowledged]

    def wait(self, arrived: Callable[[], bool], timeout: float = 30.0) -> None:
        """Wait until the load has come as far as `arrived` says."""
        with self._progress:
            assert self._progress.wait_for(arrived, timeout), "the load stands still"

    def wait_for_acknowledged(self, more: int) -> None:
        """Wait until every thread has `more` messages acknowledged on top of what it has."""
        goal = [len(load.acknowledged) + more for load in self.each]
        self.wait(lambda: all(len(load.acknowledged) >= n for load, n in zip(self.each, goal, strict=True)))

    def check(self, url: str, session_id: str) -> None:
        """Everything acknowledged is stored in its place; of the rest, each at most once; errors are ours and mute."""
        stored = work.stored(url, session_id)  # contiguous, no id twice
        acknowledged = self.acknowledged()
        assert len(set(acknowledged)) == len(acknowledged)
        assert set(acknowledged) <= set(stored)
        failed = {id for load in self.each for id, _ in load.failed}
        assert {id for _, id in set(stored) - set(acknowledged)} <= failed
        for load in self.each:
            assert [id for _, id in sorted(load.acknowledged)] == [id for _, id in load.acknowledged]
            for _, error in load.failed:
                assert isinstance(error, StorageUnavailableError)
                assert "secret" not in f"{error} {error.__cause__}"


@pytest.mark.parametrize("mode", ["immediate", "fast"])
def test_nothing_is_lost_when_postgres_restarts(own_server: Server, mode: Literal["immediate", "fast"]) -> None:
    """Postgres is stopped (as by a crash, or in order) and started while 4 threads append; the pool heals itself."""
    url = create_database(own_server.url, "restarted")
    session_id = work.new_session(url)
    with work.open_memory(url, postgres_timeout_seconds=TIMEOUT) as memory:
        loads = Loads(memory, session_id)
        with loads.running():
            for _ in range(2):
                loads.wait_for_acknowledged(20)
                own_server.stop(mode)
                own_server.start()
                loads.wait_for_acknowledged(20)
        last = Load(memory, session_id, "after")
        last.append()
        assert not last.failed
    loads.each.append(last)
    loads.check(url, session_id)


def test_calls_fail_in_time_while_postgres_is_down(own_server: Server) -> None:
    """Down, every call fails with StorageUnavailableError within the timeout, mute; up again, the same memory works."""
    url = create_database(own_server.url, "down").replace("postgres@", "postgres:hunter2@")
    session_id = work.new_session(url)
    with work.open_memory(url, postgres_timeout_seconds=1) as memory:
        sessions = memory.tenant(work.TENANT).sessions
        session = sessions.get(session_id)
        session.append("user", "before", message_id="before")
        own_server.stop("immediate")
        calls: dict[str, Callable[[], object]] = {
            "append": lambda: session.append("user", "secret content", message_id="down"),
            "history": session.history,
            "get": lambda: sessions.get(session_id),
            "list": sessions.list,
            "update": lambda: session.update(title="secret title"),
            "create": lambda: sessions.create(user_id=work.USER),
        }
        took = {}
        for name, call in calls.items():
            begun = time.monotonic()
            with pytest.raises(StorageUnavailableError) as caught:
                call()
            took[name] = time.monotonic() - begun
            assert "secret" not in f"{caught.value} {caught.value.__cause__}"
            assert "hunter2" not in f"{caught.value} {caught.value.__cause__}"
        assert max(took.values()) < PATIENCE, took
        own_server.start()
        begun = time.monotonic()
        while True:
            try:
                assert session.append("user", "after", message_id="after").seq == 2
                break
            except StorageUnavailableError:
                assert time.monotonic() - begun < PATIENCE, "the pool does not heal"
    assert [id for _, id in work.stored(url, session_id)] == ["before", "after"]


def test_who_waits_is_connected_when_the_server_is_back(own_server: Server, data_dir: Path) -> None:
    """Whatever attempts to connect were given up meanwhile: for as long as somebody waits, new ones begin."""
    there, here = conninfo_to_dict(own_server.url)["host"], data_dir / "later"
    pool = TimedPool(
        make_conninfo(own_server.url, host=str(here)),
        connection_class=TimedConnection,
        kwargs={"connect_seconds": PATIENCE},
        min_size=0,
        max_size=1,
        reconnect_timeout=0.01,
        open=True,
    )
    with pool, ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(pool.getconn, PATIENCE)
        while pool.get_stats().get("connections_errors", 0) < 4:  # an attempt has two
            assert not waiting.done()
        here.symlink_to(str(there))
        pool.putconn(waiting.result())


def test_nothing_is_lost_when_backends_are_terminated(postgres_url: str) -> None:
    """25 times all connections of the pool are terminated mid-load: nothing is lost, and no caller sees an error."""
    session_id = work.new_session(postgres_url)
    with (
        psycopg.connect(postgres_url, autocommit=True) as administrator,
        work.open_memory(postgres_url, postgres_timeout_seconds=TIMEOUT) as memory,
    ):
        loads = Loads(memory, session_id)
        terminated = 0
        with loads.running():
            for _ in range(25):
                loads.wait_for_acknowledged(5)
                terminated += administrator.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and pid <> pg_backend_pid()"
                ).rowcount
        assert terminated >= 25
        session = memory.tenant(work.TENANT).sessions.get(session_id)
        assert len(session.history()) == 20
    loads.check(postgres_url, session_id)
    assert not [error for load in loads.each for _, error in load.failed], "an append is safe to repeat"
