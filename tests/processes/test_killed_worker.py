"""Workers are killed, or sleep past their lease, at every step: each message is learnt from exactly once."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from chatmemory import ChatMemory, Session
from tests.fixtures.openai_server import Body, OpenAIServer, Reply, fact, learnt
from tests.processes import worker

MESSAGES = 4
MAX_STEPS = 400


class Workers:
    """The process that starts them."""

    def __init__(self, url: str, server_url: str) -> None:
        command = [sys.executable, "-m", "tests.processes.worker", url, server_url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, line: str) -> str:
        """Start one, or let it go on; how it ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        """End."""
        self._process.communicate()


@pytest.fixture
def workers(postgres_url: str, openai_server: OpenAIServer) -> Iterator[Workers]:
    """Workers on the test's database and model."""
    openai_server.chat = facts_about
    started = Workers(postgres_url, openai_server.url)
    yield started
    started.close()


def facts_about(body: Body) -> Reply:
    """One fact for each message."""
    document = json.loads(body["messages"][-1]["content"])
    found = [fact(f"{message['text'].split(':')[0]} happened", message["n"]) for message in document["messages"]]
    return learnt("A summary.", *found)


@pytest.fixture
def here(postgres_url: str, openai_server: OpenAIServer) -> Iterator[ChatMemory]:
    """The memory of the test itself, with the workers' settings."""
    with ChatMemory.open(postgres_url, settings=worker.settings(openai_server.url)) as memory:
        yield memory


def talk(memory: ChatMemory, number: int) -> Session:
    """A session that takes several batches."""
    session = memory.tenant("acme").sessions.create(user_id=f"user {number}")
    said = [f"event {number} {turn}: " + "and so on " * 15 for turn in range(MESSAGES)]
    session.append_many([{"role": "user", "content": text} for text in said])
    session.end()
    return session


def rows(url: str, query: str, *params: object) -> list[tuple[Any, ...]]:
    """Return the rows of a statement."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), params)
        return cursor.fetchall() if cursor.description else []


def leases_end(url: str) -> None:
    """Expire all leases."""
    rows(url, "update chatmemory.sessions set lease_until = now() - interval '1 hour' where lease_until is not null")


def learnt_once(url: str, session: Session) -> None:
    """Each message has one episode with its vector and one fact, was committed once, and the watermark is the end."""
    info = session.refresh()
    assert (info.summary_seq, info.summary) == (MESSAGES, "A summary.")
    cited = (
        "select m.kind, array_agg(s.from_seq order by s.from_seq) from chatmemory.memories m join "
        "chatmemory.memory_sources s on s.memory_id = m.id where s.session_id = %s group by m.kind order by 1"
    )
    everything = list(range(1, MESSAGES + 1))
    assert rows(url, cited, session.id) == [("episode", everything), ("fact", everything), ("summary", [1])]
    done = [event.data for event in session.events() if event.type == "learnt"]
    assert [seq for each in done for seq in range(each["from_seq"], each["to_seq"] + 1)] == everything
    assert len(done) > 1
    vectors = "select count(distinct memory_id) from chatmemory.memory_vectors where user_id = %s"
    assert rows(url, vectors, info.user_id) == [(2 * MESSAGES + 1,)]
    places = (
        "select u.places - (select count(*) from chatmemory.memories m where m.user_id = u.user_id) "
        "from chatmemory.memory_users u where u.user_id = %s"
    )
    assert rows(url, places, info.user_id) == [(0,)]
    state = "select lease_owner, attempts, parked_at, processed_for_ltm from chatmemory.sessions where id = %s"
    assert rows(url, state, session.id) == [(None, 0, None, True)]


def test_a_worker_killed_at_any_step_loses_and_doubles_nothing(
    workers: Workers, here: ChatMemory, postgres_url: str
) -> None:
    """SIGKILL at step 1, 2, 3 … until a worker gets through; after each, another one finishes the work."""
    step = 0
    for step in range(1, MAX_STEPS):
        session = talk(here, step)
        outcome = workers.tell(f"SIGKILL {step}")
        leases_end(postgres_url)
        report = here.run_due()
        assert report.failed == 0
        learnt_once(postgres_url, session)
        if outcome == "done":
            break
        assert outcome == "killed"
    assert step > 30, "it was killed too seldom to show anything"


def test_two_workers_that_both_hold_the_lease_learn_once(workers: Workers, here: ChatMemory, postgres_url: str) -> None:
    """SIGSTOP at every third step, past the lease, while another worker takes over; then the first one goes on."""
    for step in range(2, MAX_STEPS, 3):
        session = talk(here, step)
        outcome = workers.tell(f"SIGSTOP {step}")
        if outcome == "stopped":
            leases_end_unless_locked(postgres_url)
            other = threading.Thread(target=here.run_due)
            other.start()
            while other.is_alive() and not waits_for_a_lock(postgres_url):
                other.join(0.01)
            assert workers.tell("go") == "done"
            other.join(30)
            assert not other.is_alive()
        leases_end(postgres_url)
        here.run_due()
        learnt_once(postgres_url, session)
        if outcome == "done":
            break
    assert step > 30, "it was stopped too seldom to show anything"


def test_a_lease_ends_by_itself(workers: Workers, here: ChatMemory, postgres_url: str) -> None:
    """The time of a stopped worker runs out on Postgres' clock, and not before."""
    session = talk(here, 1)
    assert workers.tell("SIGSTOP 6") == "stopped"
    assert rows(postgres_url, "select lease_until > now() from chatmemory.sessions") == [(True,)]
    assert here.run_due().processed == 0
    rows(postgres_url, "select pg_sleep(extract(epoch from lease_until - now()) + 0.05) from chatmemory.sessions")
    assert here.run_due().processed > 1
    assert workers.tell("go") == "done"
    learnt_once(postgres_url, session)


def leases_end_unless_locked(url: str) -> None:
    """Expire all leases, except of a session whose row the stopped worker has locked."""
    rows(
        url,
        "update chatmemory.sessions set lease_until = now() - interval '1 hour' where (tenant_id, id) in (select "
        "tenant_id, id from chatmemory.sessions where lease_until is not null for no key update skip locked)",
    )


def waits_for_a_lock(url: str) -> bool:
    """Return whether a connection waits for a lock of the stopped worker."""
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
    return rows(url, waiting) != [(0,)]
