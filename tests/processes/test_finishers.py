"""Several who finish one run at the same time, and metrics while Postgres goes away."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial

import psycopg
import pytest

from chatmemory import (
    ChatMemory,
    ConfigurationError,
    MoveError,
    Session,
    SessionInfo,
    Settings,
    StorageUnavailableError,
)
from tests.processes.conftest import Server

FINISHERS = 6
ROUNDS = 6
WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
Finish = Callable[[Session], SessionInfo]


@pytest.fixture
def memories(postgres_url: str, settings: Settings) -> Iterator[list[ChatMemory]]:
    """As many memories as finishers, as in processes of their own: nothing is shared but the database."""
    with ExitStack() as stack:
        yield [stack.enter_context(ChatMemory.open(postgres_url, settings=settings)) for _ in range(FINISHERS)]


def all_at_once(memories: list[ChatMemory], session_id: str, finishes: list[Finish]) -> list[SessionInfo | MoveError]:
    """Return the answer to each finisher, after all of them have waited for the session's row."""
    handles = [memory.tenant("acme").sessions.get(session_id) for memory in memories]

    def finish(number: int) -> SessionInfo | MoveError:
        try:
            return finishes[number % len(finishes)](handles[number])
        except MoveError as error:
            return error

    url = memories[0].settings.postgres_url
    assert url is not None
    server = url.get_secret_value()
    with (
        ThreadPoolExecutor(len(handles)) as pool,
        psycopg.connect(server) as gate,
        psycopg.connect(server, autocommit=True) as watcher,
    ):
        gate.execute("select from chatmemory.sessions where id = %s for update", (session_id,))
        answers = [pool.submit(finish, number) for number in range(len(handles))]
        until = time.monotonic() + 30
        while watcher.execute(WAITING).fetchone() != (len(handles),):
            assert time.monotonic() < until
        gate.rollback()
        return [answer.result() for answer in answers]


def running(memory: ChatMemory, kind: str) -> Session:
    """A run that is running."""
    session = memory.tenant("acme").sessions.create(user_id="ann", kind=kind)
    for status in ("initializing", "running") if kind == "research" else ("running",):
        session.move(status)
    return session


@pytest.mark.parametrize(
    ("kind", "finishes"),
    [
        ("training", [lambda s: s.move("completed"), lambda s: s.move("failed"), lambda s: s.move("stopped")]),
        ("research", [lambda s: s.end(), lambda s: s.end(success=False), lambda s: s.cancel()]),
        ("testing", [lambda s: s.end(results={"by": "end"}), lambda s: s.move("failed")]),
    ],
)
def test_of_all_finishers_one_wins(memories: list[ChatMemory], kind: str, finishes: list[Finish]) -> None:
    """Those who asked for what the winner did get the same answer, all others the error; one move is on record."""
    for _ in range(ROUNDS):
        session = running(memories[0], kind)
        before = len(session.status_history())
        answers = all_at_once(memories, session.id, finishes)
        infos = [answer for answer in answers if isinstance(answer, SessionInfo)]
        final = session.refresh().run_status
        assert {info.run_status for info in infos} == {final}
        assert len(infos) == FINISHERS // len(finishes)
        moves = session.status_history()[before:]
        assert [change.new for change in moves] == [final]


def test_all_who_ask_for_the_same_get_the_same_answer(memories: list[ChatMemory]) -> None:
    """One ends the run, the others are told how it ended; its results are those of the first, and of nobody else."""
    for _ in range(ROUNDS):
        session = running(memories[0], "training")
        ends: list[Finish] = [partial(Session.end, results={"by": n}) for n in range(FINISHERS)]
        answers = all_at_once(memories, session.id, ends)
        assert all(answer == answers[0] for answer in answers)
        assert [event.type for event in session.events()].count("ended") == 1


def test_counts_that_meet_are_all_kept(memories: list[ChatMemory]) -> None:
    """Updates of different details at the same time lose none of them."""
    session = running(memories[0], "training")
    updates: list[Finish] = [partial(Session.update, details={f"worker {n}": n}) for n in range(FINISHERS)]
    all_at_once(memories, session.id, updates)
    assert session.refresh().details == {f"worker {n}": n for n in range(FINISHERS)}


def test_metrics_outlive_a_crash_of_postgres(own_server: Server) -> None:
    """Metrics logged while Postgres is away are written once it is back: none is lost or doubled."""
    settings = Settings(cleanup_inactive_sessions=False, postgres_timeout_seconds=1)
    with ChatMemory.open(own_server.url, settings=settings) as memory:
        session = running(memory, "training")
        for step in range(3_000):
            if step in (500, 1_500):
                own_server.stop("immediate")
            if step in (1_000, 2_000):
                own_server.start()
            session.log_metrics({"loss": float(step)}, step=step)
            time.sleep(0.0005)
    with ChatMemory.open(own_server.url, settings=settings) as memory:
        curve = memory.tenant("acme").sessions.get(session.id).metrics()["loss"]
    assert curve.steps == tuple(range(3_000))
    assert curve.values == tuple(map(float, range(3_000)))


def test_closing_says_what_it_could_not_write(own_server: Server) -> None:
    """With Postgres away for good, close() names how much is lost, and closes."""
    settings = Settings(cleanup_inactive_sessions=False, postgres_timeout_seconds=1)
    memory = ChatMemory.open(own_server.url, settings=settings)
    session = running(memory, "training")
    own_server.stop("fast")
    for _ in range(7):
        session.log_metrics({"loss": 1.0, "accuracy": 1.0}, step=1)
    with pytest.raises(StorageUnavailableError, match="14 points"):
        memory.close()
    with pytest.raises(ConfigurationError, match="closed"):
        session.log_metrics({"loss": 1.0})
    own_server.start()
    memory.close()


def test_a_forked_worker_leaves_the_metrics_of_its_parent_alone(postgres_url: str, settings: Settings) -> None:
    """The parent writes its pending metrics; the child writes only its own."""
    import os

    with ChatMemory.open(postgres_url, settings=settings) as memory:
        session = running(memory, "training")
        session.log_metrics({"parent": 1.0}, step=1)
        pid = os.fork()
        if pid == 0:
            session.log_metrics({"child": 2.0}, step=2)
            session.metrics()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        session.log_metrics({"parent": 3.0}, step=3)
    with psycopg.connect(postgres_url) as connection:
        rows = connection.execute("select name, count, steps from chatmemory.metrics order by name").fetchall()
    assert rows == [("child", 1, [2]), ("parent", 2, [1, 3])]
