# Generated from tests/_async/test_lost_runs.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Runs whose process beats, is lost, and goes on."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from chatmemory import ChatMemory, MoveError, Session, SessionEndedError


def silent(memory: ChatMemory, id: str, *, seconds: int = 60) -> Session:
    """A run that beat once, and then not for a little longer than it said."""
    session = memory.tenant("acme").sessions.create(user_id="ann", session_id=id, kind="training")
    session.move("running")
    session.beat(seconds)
    age(memory, id, timedelta(seconds=seconds + 1))
    return session


def age(memory: ChatMemory, id: str, by: timedelta) -> None:
    """Let a session's last activity lie further back."""
    assert memory.settings.postgres_url is not None
    with psycopg.connect(memory.settings.postgres_url.get_secret_value()) as connection:
        changed = connection.execute(
            "update chatmemory.sessions set last_active_at = last_active_at - %s where id = %s", (by, id)
        )
        assert changed.rowcount == 1


@pytest.mark.parametrize("reader", ["get", "refresh", "list", "compare", "runs", "clean_up"])
def test_whoever_reads_a_lost_run_tells_that_it_failed(memory: ChatMemory, reader: str) -> None:
    """Its end, its reason and its result are there, and its last activity is when it was last heard of."""
    handle = silent(memory, "r")
    before = handle.info.last_active_at - timedelta(seconds=61)
    sessions = memory.tenant("acme").sessions
    if reader == "get":
        info = sessions.get("r").info
    elif reader == "refresh":
        info = handle.refresh()
    elif reader == "list":
        [info] = sessions.list()
    elif reader == "compare":
        assert sessions.compare(["r"])[0].info.status == "failed"
        info = sessions.get("r").info
    elif reader == "runs":
        assert list(sessions.runs("status = 'active'")) == []
        info = sessions.runs("status = 'failed'")[0].info
    else:
        assert memory.clean_up().expired == 1
        info = sessions.get("r").info
    memory.run_due()
    assert (info.status, info.run_status, info.error) == ("failed", "failed", "lost: its process has stopped beating")
    assert abs(info.last_active_at - before) < timedelta(seconds=1)
    last = handle.status_history()[-1]
    assert (last.old, last.new, last.reason, last.by) == ("running", "failed", "lost", None)
    [result] = memory.tenant("acme").memories.list(kinds=["result"])
    assert "failed" in result.text
    assert "lost" in result.text


@pytest.mark.parametrize("reader", ["get", "clean_up"])
def test_a_run_that_was_complete_stays_so(memory: ChatMemory, reader: str) -> None:
    """Its process died between the last move and the end: its session fails, and nothing is ended again and again."""
    handle = silent(memory, "r")
    handle.move("completed")
    age(memory, "r", timedelta(seconds=61))
    if reader == "clean_up":
        assert memory.clean_up().expired == 1
    info = (memory.tenant("acme").sessions.get("r")).info
    assert (info.status, info.run_status) == ("failed", "completed")
    assert memory.clean_up().expired == 0


def test_reading_waits_for_no_lock(memory: ChatMemory, postgres_url: str) -> None:
    """A lost run that somebody else has locked is left alone."""
    silent(memory, "r")
    with psycopg.connect(postgres_url) as holder:
        holder.execute("select from chatmemory.sessions for update")
        assert (memory.tenant("acme").sessions.get("r")).info.is_active
        holder.rollback()
    assert (memory.tenant("acme").sessions.get("r")).info.status == "failed"


def test_a_run_that_beats_is_neither_lost_nor_idle(memory: ChatMemory) -> None:
    """An epoch of 25 hours: nothing but beats."""
    session = silent(memory, "r", seconds=60)
    age(memory, "r", timedelta(hours=25))
    session.beat(60)
    assert memory.clean_up().expired == 0
    assert session.refresh().is_active


def test_only_runs_that_beat_are_lost(memory: ChatMemory) -> None:
    """A run without a recorder stays; a conversation cannot beat."""
    sessions = memory.tenant("acme").sessions
    run = sessions.create(user_id="ann", session_id="quiet", kind="training")
    age(memory, "quiet", timedelta(hours=20))
    silent(memory, "r")
    assert {info.id: info.status for info in sessions.list()} == {"quiet": "active", "r": "failed"}
    assert run.refresh().is_active
    chat = sessions.create(user_id="ann")
    with pytest.raises(MoveError, match="no run"):
        chat.beat()
    with pytest.raises(MoveError, match="reopen\\(\\)"):
        chat.reopen_run()


def test_a_lost_run_that_was_only_frozen_goes_on(memory: ChatMemory) -> None:
    """Under its id, in the status it was in, with its failure in the timeline, and with one result in the end."""
    session = silent(memory, "r")
    session.refresh()
    with pytest.raises(SessionEndedError, match="reopen_run"):
        session.beat()
    info = session.reopen_run(reason="it is alive")
    assert (info.status, info.run_status, info.error, info.ended_at) == ("active", "running", None, None)
    memories = memory.tenant("acme").memories
    assert list(memories.list(kinds=["result"])) == []
    session.end(results={"rmse": 0.5})
    assert [event.type for event in session.events()] == [
        "created", "moved", "moved", "ended", "reopened", "moved", "moved", "ended"
    ]  # fmt: skip
    assert [change.new for change in session.status_history()] == ["running", "failed", "running", "completed"]
    [result] = memories.list(kinds=["result"])
    assert "rmse 0.5" in result.text
    [found] = memories.recall("rmse", user_id="ann", kinds=["result"])
    assert found.memory.id == result.id


def test_an_active_run_is_not_reopened(memory: ChatMemory) -> None:
    """It stays as it is."""
    session = memory.tenant("acme").sessions.create(user_id="ann", kind="training")
    assert session.reopen_run() == session.info
    assert [event.type for event in session.events()] == ["created"]


def test_repeated_steps_are_dropped(memory: ChatMemory) -> None:
    """From a step on, of all metrics, but none that is newer; the extremes are those of what is left."""
    session = memory.tenant("acme").sessions.create(user_id="ann", kind="training")
    for step in range(600):
        session.log_metrics({"loss": 1000.0 - step, "nan": float("nan")}, step=step)
    between = datetime.now(UTC)
    session.log_metrics({"loss": -1.0}, step=700)
    assert session.drop_metrics(300, before=between) == 600
    curves = session.metrics()
    assert curves["loss"].steps == (*range(300), 700)
    assert curves["nan"].steps == tuple(range(300))
    assert session.drop_metrics(299, names=["nan"]) == 1
    assert session.metrics()["loss"].steps == (*range(300), 700)
    assert session.drop_metrics(299) == 2
    [run] = memory.tenant("acme").sessions.compare([session.id])
    assert run.best["loss"] == 1000.0 - 298
    session.log_metrics({"loss": 5.0})
    assert session.metrics()["loss"].steps == tuple(range(300))


def test_a_buffer_of_its_own_does_not_hold_up_the_memory(postgres_url: str, memory: ChatMemory) -> None:
    """Its points are written by its flush alone, and are no loss when the memory closes."""
    session = memory.tenant("acme").sessions.create(user_id="ann", session_id="r", kind="training")
    with ChatMemory.open(postgres_url, settings=memory.settings) as other:
        handle = (other.tenant("acme").sessions.get("r")).with_own_buffer()
        handle.log_metrics({"loss": 1.0}, step=0)
        handle.flush()
        handle.log_metrics({"loss": 2.0}, step=1)
        other.flush()
    assert session.metrics()["loss"].steps == (0,)
