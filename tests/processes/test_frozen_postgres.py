"""Postgres neither answers nor hangs up: every call ends, says what it knows, and the pool heals."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import psycopg
import pytest
from tenacity import AsyncRetrying, Retrying, retry_if_exception_type, stop_after_delay

from chatmemory import AsyncChatMemory, AsyncSession, ChatMemory, Health, Settings, StorageUnavailableError
from tests.fixtures.cables import Cable, Front
from tests.fixtures.postgres import create_database
from tests.processes import work
from tests.processes.conftest import Server

PATIENCE = 60.0  # seconds; a call that has not ended by then waits for the server
AGAIN: dict[str, Any] = {
    "retry": retry_if_exception_type(StorageUnavailableError),
    "stop": stop_after_delay(PATIENCE),
    "reraise": True,
}
Lay = Callable[[Front], Cable]
T = TypeVar("T")

# Calls of both halves: (memory, session) to what they return, or an awaitable of it.
CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "append": lambda _, session: session.append("user", "secret content", message_id="frozen"),
    "append_and_context": lambda _, session: session.append_and_context(
        [{"role": "user", "content": "secret content"}]
    ),
    "context": lambda _, session: session.context(max_tokens=100),
    "update": lambda _, session: session.update(title="secret title"),
    "fork": lambda _, session: session.fork(),
    "end": lambda _, session: session.end(),
    "resume": lambda memory, session: memory.tenant(work.TENANT).sessions.resume_or_create(
        session.id, user_id=work.USER
    ),
    "create": lambda memory, _: memory.tenant(work.TENANT).sessions.create(user_id=work.USER),
    "list": lambda memory, _: memory.tenant(work.TENANT).sessions.list(),
    "recall": lambda memory, _: memory.tenant(work.TENANT).memories.recall("word", user_id=work.USER),
    "remember": lambda memory, _: memory.tenant(work.TENANT).memories.remember("a word", user_id=work.USER),
    "erase": lambda memory, _: memory.tenant(work.TENANT).users.erase(work.USER),
    "clean_up": lambda memory, _: memory.clean_up(),
    "run_due": lambda memory, _: memory.run_due(),
    "migrate": lambda memory, _: memory.migrate(),
}

FEW = ("append", "context", "update", "erase", "run_due")


def quick(url: str, seconds: float = 1.0) -> ChatMemory:
    """A memory whose calls end soon."""
    return work.open_memory(url, postgres_timeout_seconds=seconds)


def healed(call: Callable[[], T]) -> T:
    """Make a call, and again while it finds no Postgres: on a busy machine, connecting may take longer than it has."""
    return Retrying(**AGAIN)(call)


def outcome(call: Callable[[], Any]) -> Any:
    """Make a call in a thread, and return its result or error; fail if it does not end."""
    ended: list[Any] = []

    def run() -> None:
        try:
            ended.append(call())
        except Exception as error:  # noqa: BLE001  # the test looks at it
            ended.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert ended, "the call did not end"
    return ended[0]


def check(name: str, error: Any) -> None:
    """A call failed with our error, which is mute and says whether what it wrote may be stored."""
    assert isinstance(error, StorageUnavailableError), (name, error)
    assert "secret" not in f"{error} {error.__cause__}"
    assert ("may be stored" in str(error)) == error.may_be_stored, (name, str(error))


def test_every_call_ends(cable: Lay) -> None:
    """Nothing comes back any more over TCP: each call fails, and after that, each works again."""
    link = cable("tcp")
    session_id = work.new_session(link.url)
    with quick(link.url) as memory:
        session = healed(lambda: memory.tenant(work.TENANT).sessions.get(session_id))
        healed(lambda: session.append("user", "before", message_id="before"))
        for name, call in CALLS.items():
            link.stop()
            check(name, outcome(partial(call, memory, session)))
            link.go_on()
            assert healed(lambda: session.history()[0].id) == "before"
        link.stop()
        assert outcome(memory.health).postgres == "unreachable"
        link.go_on()
        while not memory.health().ok:  # until the test's timeout
            pass


async def test_every_async_call_ends(cable: Lay) -> None:
    """The same, async, over a Unix socket."""
    link = cable("unix")
    settings = Settings(cleanup_inactive_sessions=False, postgres_timeout_seconds=1)
    async with AsyncChatMemory.open(link.url, settings=settings) as memory:
        healing = AsyncRetrying(**AGAIN)
        session: AsyncSession = await healing(memory.tenant(work.TENANT).sessions.create, user_id=work.USER)
        await healing(session.append, "user", "before", message_id="before")
        for name, call in CALLS.items():
            link.stop()
            check(name, await _error(call(memory, session)))
            link.go_on()
            assert (await healing(session.history))[0].id == "before"
        link.stop()
        health: Health = await asyncio.wait_for(memory.health(), PATIENCE)
        assert health.postgres == "unreachable"
        link.go_on()


async def _error(call: Awaitable[Any]) -> BaseException | None:
    try:
        await asyncio.wait_for(call, PATIENCE)
    except StorageUnavailableError as error:
        return error
    return None


def test_a_pooler_without_its_server(cable: Lay) -> None:
    """New connections are let in, and their statements are not answered."""
    link = cable("tcp")
    session_id = work.new_session(link.url)
    with quick(link.url) as memory:
        session = healed(lambda: memory.tenant(work.TENANT).sessions.get(session_id))
        link.logins = True
        link.stop()
        for name in FEW:
            check(name, outcome(partial(CALLS[name], memory, session)))
        assert outcome(memory.health).postgres == "unreachable"
        link.go_on()
        assert healed(lambda: session.append("user", "after", message_id="after")).seq == len(healed(session.history))


@pytest.mark.parametrize("logins", [False, True], ids=["nobody answers", "a pooler answers"])
def test_the_first_call_ends(cable: Lay, logins: bool) -> None:
    """Frozen before the first use, callers at once fail, and the same memory works later."""
    link = cable("tcp")
    work.new_session(link.url)
    link.logins = logins
    link.stop()
    with quick(link.url) as memory:
        sessions = memory.tenant(work.TENANT).sessions
        errors = [outcome(lambda: at_once(lambda: sessions.create(user_id=work.USER)))]
        for error in errors[0]:
            check("create", error)
            assert not error.may_be_stored
        link.go_on()
        assert healed(lambda: sessions.create(user_id=work.USER)).info.is_active


def at_once(call: Callable[[], Any], count: int = 4) -> list[Any]:
    """Make a call in several threads at once; return what each ended with."""
    ended: list[Any] = []
    threads = [threading.Thread(target=lambda: ended.append(outcome(call))) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ended


def test_more_callers_than_connections(cable: Lay) -> None:
    """Those who wait for a connection fail too, and know that nothing was written."""
    link = cable("tcp")
    session_id = work.new_session(link.url)
    with work.open_memory(link.url, postgres_timeout_seconds=1, postgres_pool_max_size=2) as memory:
        session = healed(lambda: memory.tenant(work.TENANT).sessions.get(session_id))
        link.stop()
        errors = at_once(lambda: session.append("user", "secret content"), 8)
        for error in errors:
            check("append", error)
        assert {error.may_be_stored for error in errors} == {True, False}
        link.go_on()
        healed(lambda: session.append("user", "after", message_id="after"))


def test_a_commit_that_is_not_answered_may_be_stored(cable: Lay) -> None:
    """The statement was carried, and its answer was not."""
    link = cable("tcp")
    session_id = work.new_session(link.url)
    with quick(link.url) as memory:
        session = healed(lambda: memory.tenant(work.TENANT).sessions.get(session_id))
        link.stop()
        assert outcome(lambda: session.append("user", "text", message_id="m")).may_be_stored
        link.go_on()
        again = healed(lambda: session.append("user", "text", message_id="m"))
        assert again.seq == 1  # stored now, if it was not before


def test_what_is_rolled_back_is_not_stored(cable: Lay) -> None:
    """Frozen inside a transaction, before its commit was sent."""
    link = cable("tcp")
    with quick(link.url) as memory:
        healed(memory.tenant(work.TENANT).sessions.list)

        def work_and_freeze() -> None:
            with memory._database.transaction(work.TENANT) as transaction:
                transaction.execute("select 1")
                link.stop()
                transaction.execute("select 1")

        error = outcome(work_and_freeze)
        check("transaction", error)
        assert not error.may_be_stored
        link.go_on()


def test_close_ends(cable: Lay) -> None:
    """Metrics and counts wait, the pool is busy, and the server is frozen: close() loses them, and ends."""
    link = cable("tcp")
    memory = quick(link.url)
    sessions = memory.tenant(work.TENANT).sessions
    run = healed(lambda: sessions.create(user_id=work.USER, kind="training"))
    link.stop()
    run.log_metrics({"loss": 0.1})
    check("close", outcome(memory.close))
    link.go_on()


def test_a_worker_stops(cable: Lay) -> None:
    """A worker looks for work while the server is frozen, and stops when told."""
    link = cable("tcp")
    work.new_session(link.url)
    with quick(link.url) as memory:
        stop = threading.Event()
        running = threading.Thread(target=lambda: outcome(lambda: memory.run_worker(stop=stop)))
        running.start()
        link.stop()
        check("run_due", outcome(memory.run_due))
        stop.set()
        running.join(PATIENCE)
        assert not running.is_alive()
        link.go_on()


def test_long_work_goes_on_while_the_server_answers_others(postgres_url: str) -> None:
    """An erasure that takes longer than the timeout is not given up; an append that waits for a lock is."""
    session_id = work.new_session(postgres_url)
    with quick(postgres_url) as memory, psycopg.connect(postgres_url) as holder:
        session = healed(lambda: memory.tenant(work.TENANT).sessions.get(session_id))
        holder.execute("select from chatmemory.sessions for update")
        erasing: list[Any] = []
        thread = threading.Thread(
            target=lambda: erasing.append(outcome(lambda: memory.tenant(work.TENANT).users.erase(work.USER)))
        )
        thread.start()
        check("append", outcome(lambda: session.append("user", "text")))
        check("append", outcome(lambda: session.append("user", "text")))
        assert not erasing
        holder.rollback()
        thread.join(PATIENCE)
        assert erasing[0].sessions == 1


def test_the_server_is_told_to_stop(postgres_url: str) -> None:
    """A statement that is given up does not go on on the server."""
    session_id = work.new_session(postgres_url)
    with quick(postgres_url) as memory, psycopg.connect(postgres_url, autocommit=True) as administrator:
        session = healed(lambda: memory.tenant(work.TENANT).sessions.get(session_id))
        with administrator.transaction():
            administrator.execute("select from chatmemory.sessions for update")
            check("append", outcome(lambda: session.append("user", "text")))
            waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%append%'"
            while administrator.execute(waiting).fetchone() != (0,):
                pass
        assert healed(session.history) == []


def test_a_stopped_server(own_server: Server) -> None:
    """SIGSTOP of every process of Postgres, on a Unix socket; SIGCONT heals."""
    url = create_database(own_server.url, "stopped")
    session_id = work.new_session(url)
    with quick(url) as memory:
        session = healed(lambda: memory.tenant(work.TENANT).sessions.get(session_id))
        with own_server.stopped():
            for name in FEW:
                check(name, outcome(partial(CALLS[name], memory, session)))
            assert outcome(memory.health).postgres == "unreachable"
        assert healed(lambda: session.append("user", "after", message_id="after")).seq == len(healed(session.history))
