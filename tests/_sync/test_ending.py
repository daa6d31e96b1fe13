# Generated from tests/_async/test_ending.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Ending sessions, whoever ends them: what is due afterwards, and the results that runs leave."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from chatmemory import ChatMemory, MemoryKind, MoveError, SessionInfo, SessionNotFoundError, Settings
from tests.fixtures.openai_server import OpenAIServer, embeddings, fact, failing, learnt, said
from tests.helpers import meanwhile


def rows(url: str, query: str, *params: object) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, across tenants."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), params or None)
        return cursor.fetchall() if cursor.description else []


def elsewhere(url: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a script in another process, on the same database."""
    head = "import os, sys; from chatmemory import *; url = sys.argv[1]\n"
    return subprocess.run([sys.executable, "-c", head + script, url], capture_output=True, text=True, timeout=60)


def texts(memory: ChatMemory, *kinds: MemoryKind) -> list[str]:
    """The texts of tenant acme's memories of these kinds, oldest first."""
    return [each.text for each in memory.tenant("acme").memories.list(kinds=kinds or None)][::-1]


def test_kinds_are_learnt_from_as_they_declare_also_where_nobody_knows_them(
    postgres_url: str, memory: ChatMemory
) -> None:
    """The sessions' rows say what a kind learns: this process has not registered any of these kinds."""
    done = elsewhere(
        postgres_url,
        """
moves = {"on": ("good", "bad")}
endings = {"completed": "good", **dict.fromkeys(("failed", "cancelled", "expired"), "bad")}
for kind in (Kind(name="support"), Kind(name="drill", moves=moves, endings=endings, learns="result"),
             Kind(name="secret", learns="nothing")):
    register_kind(kind)
    with ChatMemory.open(url) as memory:
        session = memory.tenant("acme").sessions.create(user_id="ann", session_id=kind.name, kind=kind.name)
        session.append("user", f"What is said in a {kind.name}.")
        if kind.name != "support":
            session.fork().update(title="fork")
""",
    )
    assert done.returncode == 0, done.stderr
    sessions = memory.tenant("acme").sessions
    for session_id in ("support", "drill", "secret"):
        sessions.get(session_id).end(results={"score": 1} if session_id == "drill" else None)
    assert [each.learns for each in sessions.list(kind=None)].count("nothing") == 2
    assert memory.run_due().processed == 1
    assert sorted(texts(memory)) == [
        "Drill run What is said in a drill.: good. results: score 1.",
        "What is said in a support.",
    ]
    recent = memory.tenant("acme").users.recent("ann")
    assert [message.text for message in recent] == ["What is said in a support."]


def test_a_run_that_gives_way_leaves_its_result(postgres_url: str, settings: Settings) -> None:
    """At once and without a worker, for each call that makes room: create, resume_or_create, restore and fork."""
    settings = settings.model_copy(update={"max_sessions_per_user": 1})
    with ChatMemory.open(postgres_url, settings=settings) as memory:
        sessions = memory.tenant("acme").sessions
        for name in ("one", "two"):
            sessions.create(user_id="ann", kind="training", session_id=name)
        assert texts(memory) == ["Training run one: stopped."]
        third = sessions.resume_or_create("three", user_id="ann", kind="training", on_missing="adopt")
        assert texts(memory) == ["Training run one: stopped.", "Training run two: stopped."]
        third.delete()
        sessions.create(user_id="ann", kind="training", session_id="four")
        third.restore()
        assert texts(memory)[2:] == ["Training run four: stopped."]
        third.fork()
        assert texts(memory)[3:] == ["Training run three: stopped."]
        assert memory.run_due().processed == 0


def test_a_run_that_was_done_gives_way_as_what_it_was(postgres_url: str, settings: Settings) -> None:
    """A run that moved to completed without an end does not refuse the next one."""
    settings = settings.model_copy(update={"max_sessions_per_user": 1})
    with ChatMemory.open(postgres_url, settings=settings) as memory:
        sessions = memory.tenant("acme").sessions
        done = sessions.create(user_id="ann", kind="training")
        done.move("running")
        done.move("completed")
        sessions.create(user_id="ann", kind="training")
        assert done.refresh().status == "completed"


def test_a_run_that_the_clean_up_expires_leaves_one_result(postgres_url: str, memory: ChatMemory) -> None:
    """And so does one that expires when it is to be resumed; whoever learns stores it, once."""
    sessions = memory.tenant("acme").sessions
    for name in ("idle", "resumed"):
        run = sessions.create(user_id="ann", kind="training", session_id=name)
        run.log_metrics({"loss": 0.5}, step=3)
        run.metrics()
    rows(postgres_url, "update chatmemory.sessions set last_active_at = now() - interval '2 days'")
    sessions.resume_or_create("resumed", user_id="ann", kind="training")
    assert texts(memory) == ["Training run resumed: failed. best: loss 0.5 at step 3."]
    assert memory.clean_up().expired == 1
    assert len(texts(memory)) == 1
    assert memory.run_due().processed == 1
    assert texts(memory)[1:] == ["Training run idle: failed. best: loss 0.5 at step 3."]
    assert memory.run_due().processed == 0
    done = sessions.get("idle").consolidate()
    assert done.status == "skipped"
    assert len(texts(memory)) == 2


@pytest.mark.parametrize("step", ["claim", "learn"])
def test_a_process_killed_before_it_stored_a_result_loses_and_doubles_nothing(
    postgres_url: str, memory: ChatMemory, step: str
) -> None:
    """Killed between the end and the claim, or with the claim: the session stays due, for one result."""
    killed = elsewhere(
        postgres_url,
        f"""
from chatmemory._sync.memories.worker import Worker
Worker.{step} = lambda *given: os._exit(9)
with ChatMemory.open(url, settings=Settings(max_sessions_per_user=1, cleanup_inactive_sessions=False)) as memory:
    for _ in range(2):
        memory.tenant("acme").sessions.create(user_id="ann", kind="training")
""",
    )
    assert killed.returncode == 9, killed.stderr
    rows(postgres_url, "update chatmemory.sessions set lease_until = now() where lease_until is not null")
    assert texts(memory) == []
    assert memory.run_due().processed == 1
    assert len(texts(memory, "result")) == 1
    assert memory.run_due().processed == 0


MANY = """
insert into chatmemory.sessions (tenant_id, id, user_id, kind, created_at, updated_at, last_active_at, learns,
    run_status, run_endings, last_seq, message_count)
select 'acme', 's' || n, 'u' || n % 7, case when n % 10 = 0 then 'testing' else 'chat' end, now(), now(), now(),
    case when n % 10 = 0 then 'result' else 'messages' end, case when n % 10 = 0 then 'running' end,
    case when n % 10 = 0 then json_build_object(
        'completed', 'completed', 'failed', 'failed', 'cancelled', 'failed', 'expired', 'failed') end, 1, 1
from generate_series(1, 1000) n
"""


def test_a_thousand_sessions_end_together(postgres_url: str, memory: ChatMemory) -> None:
    """Each as by itself: runs are done and leave their results, and one that cannot end so stops none of the others."""
    sessions = memory.tenant("acme").sessions
    rows(postgres_url, MANY)
    sessions.get("s10").end(success=False)
    ids = [f"s{number}" for number in range(1, 1001)]
    ended = sessions.end_many([*ids, "nowhere"])
    assert list(ended) == [*ids, "nowhere"]
    assert isinstance(ended["nowhere"], SessionNotFoundError)
    assert isinstance(ended["s10"], MoveError)
    done = [info for info in ended.values() if isinstance(info, SessionInfo)]
    assert len(done) == 999
    assert {info.status for info in done} == {"completed"}
    assert {(info.run_status, info.progress) for info in done} == {(None, None), ("completed", 100.0)}
    assert (memory.tenant("acme").memories.list(kinds=["result"], limit=0, with_total=True)).total == 100
    assert rows(postgres_url, "select count(*) from chatmemory.sessions where due_at is not null") == [(900,)]
    assert rows(postgres_url, "select count(*) from chatmemory.events where type = 'ended'") == [(1000,)]


def test_a_run_that_changes_while_its_result_is_embedded_ends_with_what_it_was_last(
    postgres_url: str, memory: ChatMemory
) -> None:
    """The result is read again; where the run does not stop changing, it is stored without its meaning."""

    class Slow:
        """An embedder during whose work the run goes on."""

        name, dimensions = "slow", 3

        def __init__(self, changes: int) -> None:
            self.left = changes

        def embed(self, given: Sequence[str]) -> list[list[float]]:
            """One vector for each."""
            if self.left:
                self.left -= 1
                meanwhile(postgres_url, lambda acme: acme.sessions.get("run").update(results={"left": self.left}))
            return [[1.0, 2.0, 3.0] for _ in given]

    for changes, vectors in ((1, 1), (9, 0)):
        embedder = Slow(changes)
        with ChatMemory.open(postgres_url, settings=memory.settings, embedder=embedder) as memory:
            run = memory.tenant("acme").sessions.create(user_id="ann", kind="testing", session_id="run")
            info = run.end(metrics={"accuracy": 0.9})
            assert info.results == {"left": embedder.left}
            expected = f"Testing run run: completed. results: left {embedder.left}. best: accuracy 0.9 at step 0."
            assert texts(memory) == [expected]
            assert rows(postgres_url, "select count(*) from chatmemory.memory_vectors") == [(vectors,)]
            run.erase()


@pytest.mark.parametrize("answer", ["facts", "rubbish", "none"])
def test_learning_comes_to_an_end(postgres_url: str, openai_server: OpenAIServer, answer: str) -> None:
    """end() and consolidate() leave one summary memory, and a second one has nothing to learn."""
    openai_server.chat = lambda _: said("{}") if answer == "rubbish" else learnt("Ann moved.", fact("Ann moved.", 1))
    settings = openai_server.settings(**({"llm_model": None} if answer == "none" else {}))
    with ChatMemory.open(postgres_url, settings=settings) as memory:
        session = memory.tenant("acme").sessions.create(user_id="ann")
        session.append_many([{"role": "user", "content": "I moved."}] * 4)
        if answer == "facts":  # all of it is learnt before the end
            assert session.consolidate().status == "success"
        session.end()
        first, second = session.consolidate(), session.consolidate()
        if answer == "rubbish":
            assert (first.status, second.status) == ("error", "error")
            return
        assert (first.status, second.status, second.reason) == ("success", "skipped", "nothing to learn")
        assert len(texts(memory, "summary")) == (answer == "facts")
        assert memory.run_worker(until_idle=True).processed == 0
        assert len(openai_server.chats) == (answer == "facts")


def test_a_model_that_fails_keeps_no_worker_busy(postgres_url: str, openai_server: OpenAIServer) -> None:
    """The session waits for its next attempt, and the worker is idle."""
    openai_server.chat = lambda _: failing(500)
    with ChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        session = memory.tenant("acme").sessions.create(user_id="ann")
        session.append_many([{"role": "user", "content": "I moved."}] * 4)
        session.end()
        report = memory.run_worker(until_idle=True)
        assert (report.processed, report.failed) == (0, 1)


def test_a_watermark_behind_missing_messages_moves_on(postgres_url: str, memory: ChatMemory) -> None:
    """A session whose row counts messages that are not there is looked at once, and not for ever."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    rows(postgres_url, "update chatmemory.sessions set last_seq = 50, message_count = 50, due_at = now()")
    assert memory.run_due().processed == 0
    assert session.refresh().summary_seq == 50
    assert rows(postgres_url, "select due_at from chatmemory.sessions") == [(None,)]


@pytest.mark.parametrize("kind", ["chat", "training"])
def test_a_handle_ends_no_session_that_has_the_id_of_an_erased_one(memory: ChatMemory, kind: str) -> None:
    """Neither a conversation nor a run."""
    sessions = memory.tenant("acme").sessions
    stale = sessions.create(user_id="ann", kind=kind, session_id="s-1")
    sessions.get("s-1").erase()
    others = sessions.create(user_id="bob", kind=kind, session_id="s-1")
    with pytest.raises(SessionNotFoundError):
        stale.end()
    assert others.refresh().is_active


def test_an_embedder_of_another_dimension_keeps_no_run_from_ending(
    postgres_url: str, openai_server: OpenAIServer
) -> None:
    """However it ends, its result is found by its words; sessions of other users end with it."""
    settings = openai_server.settings(llm_model=None, embedding_model="compass", max_sessions_per_user=1)
    with ChatMemory.open(postgres_url, settings=settings) as memory:
        acme = memory.tenant("acme")
        acme.memories.remember("Ann likes tea.", user_id="ann")
        openai_server.embed = lambda texts: embeddings([[1.0, 2.0, 3.0]] * len(texts))
        first, second, third = [
            acme.sessions.create(user_id="ann", kind="training", title=title) for title in ("one", "two", "three")
        ]  # each ends the one before
        other = acme.sessions.create(user_id="bob")
        ended = acme.sessions.end_inactive(timedelta(0))
        assert {info.id for info in ended} == {third.id, other.id}
        fourth = acme.sessions.create(user_id="ann", kind="testing", title="four")
        assert not fourth.end().is_active
        found = texts(memory, "result")
        assert [sum(name in text for text in found) for name in ("one", "two", "three", "four")] == [1, 1, 1, 1]
        assert [session.refresh().status for session in (first, second)] == ["cancelled"] * 2
