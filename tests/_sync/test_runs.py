# Generated from tests/_async/test_runs.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Runs: their moves, their ends, and what is known of them."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from chatmemory import (
    ChatMemory,
    InvalidInputError,
    KindError,
    MoveError,
    Session,
    SessionEndedError,
    SessionInfo,
    SessionNotFoundError,
)
from tests.helpers import calls
from tests.machines import MACHINES, path_to

RUNS = [(kind, status) for kind, machine in MACHINES.items() for status in machine]


def run_in(memory: ChatMemory, kind: str, status: str) -> Session:
    """A run that has come to a run status by moves."""
    session = memory.tenant("acme").sessions.create(user_id="ann", kind=kind)
    for step in path_to(kind, status):
        session.move(step)
    return session


def with_kind_forgotten(memory: ChatMemory, session: Session, **columns: str) -> None:
    """Change a session's row behind the library's back."""
    assert memory.settings.postgres_url is not None
    with psycopg.connect(memory.settings.postgres_url.get_secret_value()) as connection:
        for column, value in columns.items():
            connection.execute(
                f"update chatmemory.sessions set {column} = %s where id = %s".encode(), (value, session.id)
            )


@pytest.mark.parametrize(("kind", "status"), RUNS)
def test_every_move_from_every_status(memory: ChatMemory, kind: str, status: str) -> None:
    """An allowed move is stored and recorded on the timeline; any other move changes nothing."""
    allowed = MACHINES[kind][status]
    for new in MACHINES[kind]:
        session = run_in(memory, kind, status)
        before, history = session.refresh(), session.status_history()
        assert (before.run_status, before.status) == (status, "active")
        assert [change.new for change in history] == path_to(kind, status)
        if new == status:
            assert session.move(new) == before
        elif new in allowed:
            assert session.move(new, reason="test", by="bob").run_status == new
            last = session.status_history()[-1]
            assert (last.old, last.new, last.reason, last.by) == (status, new, "test", "bob")
            assert [event.data for event in session.events()][-1] == {
                "old": status,
                "new": new,
                "by": "bob",
                "reason": "test",
            }
        else:
            with pytest.raises(MoveError, match=status):
                session.move(new)
            assert session.refresh() == before
            assert session.status_history() == history


@pytest.mark.parametrize(("kind", "status"), RUNS)
def test_pausing_and_going_on_from_every_status(memory: ChatMemory, kind: str, status: str) -> None:
    """pause() leads from running to paused, unpause() back, and neither anything else."""
    session = run_in(memory, kind, status)
    for call, source, target in ((session.pause, "running", "paused"), (session.unpause, "paused", "running")):
        if "paused" in MACHINES[kind] and status in (source, target):
            assert call().run_status == target
            status = target
        else:
            with pytest.raises(MoveError, match=status):
                call()
            assert session.refresh().run_status == status


ENDS = [
    ("end", True, "completed"),
    ("end", False, "failed"),
    ("cancel", None, "cancelled"),
    ("expire", None, "expired"),
]


def final_status(kind: str, status: str, end: str) -> str:
    """Return the final status that the specification gives for an end."""
    if not MACHINES[kind][status]:
        return status
    if end in ("completed", "failed"):
        return end
    special = {"training": {"cancelled": "stopped"}, "testing": {"cancelled": "failed"}}
    return special.get(kind, {"cancelled": "cancelled", "expired": "timeout"}).get(end, "failed")


@pytest.mark.parametrize(("kind", "status"), RUNS)
def test_every_end_from_every_status(memory: ChatMemory, kind: str, status: str) -> None:
    """The lifecycle ends as asked and the run status follows; a run that completed or failed ends only so."""
    sessions = memory.tenant("acme").sessions
    for how, success, end in ENDS:
        session = run_in(memory, kind, status)
        before, history = session.info, session.status_history()
        final = final_status(kind, status, end)

        def ended(how: str, success: bool | None, session: Session) -> SessionInfo:
            if how == "expire":
                sessions.end_inactive(timedelta(0))
                return session.refresh()
            return session.cancel(reason="enough") if how == "cancel" else session.end(success=bool(success))

        is_other = status in ("completed", "failed") and final_status(kind, "running", end) != status
        if is_other and how != "expire":
            with pytest.raises(MoveError, match=status):
                ended(how, success, session)
            assert session.refresh() == before
            session.erase()
            continue
        info = ended(how, success, session)
        assert (info.status, info.run_status) == (end, final)
        assert info.ended_at is not None
        changes = session.status_history()[len(history) :]
        assert [(change.old, change.new) for change in changes] == ([(status, final)] if final != status else [])
        if how != "expire":
            assert ended(how, success, session) == info  # asked for the same: the same answer
            for other_how, other_success, other_end in ENDS[:3]:
                if other_end != end:
                    with pytest.raises(MoveError, match=end):
                        ended(other_how, other_success, session)
        for change in changes:
            assert change.reason == {"cancel": "enough", "expire": "idle"}.get(how)
            assert change.by == (None if how == "expire" else "ann")


def test_who_and_why_is_told_with_repeats(memory: ChatMemory) -> None:
    """Each move is there, those made before too, oldest first, and after the end and a restart of the app."""
    session = run_in(memory, "research", "running")
    for _ in range(3):
        session.pause(reason="lunch")
        session.unpause()
        session.unpause()  # where it is already: no move
    session.end()
    history = (memory.tenant("acme").sessions.get(session.id)).status_history()
    assert [change.new for change in history] == ["initializing", *["running", "paused"] * 3, "running", "completed"]
    assert {change.reason for change in history if change.new == "paused"} == {"lunch"}
    assert all(change.old == before.new for before, change in pairwise(history))
    assert [change.at for change in history] == sorted(change.at for change in history)


def test_conversations_have_no_run_status(memory: ChatMemory) -> None:
    """A chat does not move; it can be cancelled, and ends again as it did at first."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    assert session.info.run_status is None
    for call in calls(lambda: session.move("running"), lambda: session.pause(), lambda: session.unpause()):
        with pytest.raises(MoveError, match="chat"):
            call()
    with pytest.raises(InvalidInputError, match="progress"):
        session.update(progress=1)
    assert session.status_history() == []
    info = session.cancel(reason="bored")
    assert (info.status, info.run_status, info.progress) == ("cancelled", None, None)
    assert session.events()[-1].data == {"status": "cancelled", "reason": "bored"}
    assert session.end() == info


def test_unknown_kinds_are_told_with_the_known(memory: ChatMemory) -> None:
    """Creating, resuming and listing name the kinds there are; a session of a lost kind can be read, and ended."""
    sessions = memory.tenant("acme").sessions
    for call in calls(
        lambda: sessions.create(user_id="ann", kind="trianing"),
        lambda: sessions.resume_or_create(user_id="ann", kind="trianing"),
        lambda: sessions.list(kind="trianing"),
    ):
        with pytest.raises(KindError, match=r"'trianing'.*chat.*training.*synthesis"):
            call()
    session = run_in(memory, "training", "running")
    with_kind_forgotten(memory, session, kind="lost")
    with pytest.raises(KindError, match="register_kind"):
        session.move("completed")
    assert session.update(title="still").run_status == "running"
    assert session.end().run_status == "completed"


def test_progress_of_a_training_follows_its_epochs(memory: ChatMemory) -> None:
    """From the first details on; an early end leaves it where it was, and nobody sets it by hand."""
    sessions = memory.tenant("acme").sessions
    session = sessions.create(user_id="ann", kind="training", details={"total_epochs": 8, "current_epoch": 2})
    assert session.refresh().progress == 25
    assert session.update(details={"current_epoch": 4}).progress == 50
    with pytest.raises(InvalidInputError, match="total_epochs"):
        session.update(progress=60)
    fork = session.fork()
    assert (fork.info.progress, fork.info.run_status) == (50, "pending")
    info = session.end(details={"current_epoch": 6, "note": "early"}, results={"rmse": 0.1})
    assert (info.progress, info.details["note"], info.results) == (75, "early", {"rmse": 0.1})
    assert "updated" not in [event.type for event in session.events()]


def test_progress_and_stage_of_research(memory: ChatMemory) -> None:
    """They are kept as they are told; completing is 100, failing is not."""
    session = run_in(memory, "research", "running")
    info = session.update(progress=40, stage="reading", details={"used_tokens": 100})
    assert (info.progress, info.stage, info.details) == (40, "reading", {"used_tokens": 100})
    assert session.refresh() == info
    for bad in (-1, 101, float("nan"), "5", True):
        with pytest.raises(InvalidInputError, match="progress"):
            session.update(progress=bad)  # type: ignore[arg-type]  # that is the point
    other = session.fork()
    assert (other.info.progress, other.info.stage) == (None, None)
    assert session.end().progress == 100
    other.update(progress=10)
    failed = other.end(success=False, error="no more budget")
    assert (failed.progress, failed.error) == (10, "no more budget")


def test_an_update_is_all_or_nothing(memory: ChatMemory) -> None:
    """A move that is not allowed, or a detail of the wrong type, keeps out all that came with it."""
    session = run_in(memory, "training", "running")
    before = session.refresh()
    wrong: list[dict[str, Any]] = [
        {"run_status": "pending"},
        {"details": {"total_epochs": "many"}},
        {"results": {"n": float("nan")}},
        {"stage": "\0"},
        {"by": ""},
    ]
    for bad in wrong:
        with pytest.raises((InvalidInputError, MoveError)):
            session.update(**{"title": "New", "run_status": "completed", "reason": "why", **bad})
        assert session.refresh() == before
    info = session.update(title="New", run_status="completed", reason="why", results={"a": 1}, error="e")
    assert (info.title, info.run_status, info.results, info.error) == ("New", "completed", {"a": 1}, "e")
    assert session.update(results={"b": 2}).results == {"a": 1, "b": 2}
    assert session.end(results={"b": 3}).results == {"a": 1, "b": 3}


def test_what_an_ended_run_did_changes_no_more(memory: ChatMemory) -> None:
    """People may still name it; its numbers stay."""
    session = run_in(memory, "training", "running")
    info = session.end(results={"a": 1})
    changes: dict[str, Any] = {"progress": 1, "stage": "x", "results": 1, "details": {"a": 1}, "error": "e"}
    for name, value in changes.items():
        with pytest.raises(SessionEndedError):
            session.update(**{name: value})
    assert session.refresh() == info
    assert session.update(title="t", metadata={"k": 1}).title == "t"
    assert session.update(title="u").run_status == "completed"
    with pytest.raises(SessionEndedError):
        session.log_metrics({"loss": 1})


def test_a_stopped_training_stays_stopped(memory: ChatMemory) -> None:
    """Both ends are possible after a stop, and the run status stays what it was."""
    for success, status in ((True, "completed"), (False, "failed")):
        session = run_in(memory, "training", "stopped")
        info = session.end(success=success)
        assert (info.status, info.run_status) == (status, "stopped")


def test_idle_runs_expire_wherever_that_is_done(memory: ChatMemory) -> None:
    """By the clean-up, by whoever resumes, by end_inactive: the run status follows and is told; work keeps alive."""
    settings = memory.settings.model_copy(update={"session_timeout_hours": 1})
    assert settings.postgres_url is not None
    url = settings.postgres_url.get_secret_value()
    for expire in ("clean_up", "resume", "end_inactive"):
        with ChatMemory.open(url, settings=settings) as memory:
            sessions = memory.tenant("acme").sessions
            idle, moved, updated, logging = [run_in(memory, "research", "running") for _ in range(4)]
            done = run_in(memory, "research", "failed")
            for session in (idle, moved, updated, logging, done):
                with_kind_forgotten(memory, session, last_active_at="2020-01-01")
            moved.pause()
            updated.update(progress=1)
            logging.log_metrics({"loss": 1})
            logging.metrics()
            if expire == "clean_up":
                assert memory.clean_up().expired == 2
            elif expire == "resume":
                for session in (idle, moved, updated, logging, done):
                    sessions.resume_or_create(session.id, user_id="ann", kind="research")
            else:
                assert len(sessions.end_inactive(timedelta(hours=1))) == 2
            assert [each.refresh().status for each in (moved, updated, logging)] == ["active"] * 3
            info, last = idle.refresh(), idle.status_history()[-1]
            assert (info.status, info.run_status) == ("expired", "timeout")
            assert (last.old, last.new, last.reason, last.by) == ("running", "timeout", "idle", None)
            info = done.refresh()
            assert (info.status, info.run_status) == ("expired", "failed")
            assert done.status_history()[-1].reason is None


def test_a_run_that_gives_way_did_not_complete(memory: ChatMemory) -> None:
    """The limit of active sessions cancels a run, where it completes a chat."""
    settings = memory.settings.model_copy(update={"max_sessions_per_user": 1})
    assert settings.postgres_url is not None
    with ChatMemory.open(settings.postgres_url.get_secret_value(), settings=settings) as memory:
        first, _ = [run_in(memory, "training", "running") for _ in range(2)]
        info = first.refresh()
        assert (info.status, info.run_status) == ("cancelled", "stopped")
        assert first.status_history()[-1].reason == "session limit"


def test_moves_are_seen_by_whoever_resumes(cached_memory: ChatMemory) -> None:
    """With Redis too, a resumed run is where the last move left it."""
    sessions = cached_memory.tenant("acme").sessions
    session = sessions.resume_or_create(user_id="ann", kind="research")
    for status in ("initializing", "running"):
        sessions.resume_or_create(session.id, user_id="ann", kind="research")
        session.move(status)
        again = sessions.resume_or_create(session.id, user_id="ann", kind="research")
        assert (again.id, again.info.run_status) == (session.id, status)
    session.update(progress=7, stage="s")
    again = sessions.resume_or_create(session.id, user_id="ann", kind="research")
    assert (again.info.progress, again.info.stage) == (7, "s")


def test_no_run_of_another_tenant_is_reached(memory: ChatMemory) -> None:
    """Comparing foreign and missing ids fails alike; a deleted run does not move."""
    session = run_in(memory, "training", "running")
    texts = []
    for id in (session.id, "nowhere"):
        with pytest.raises(SessionNotFoundError) as raised:
            memory.tenant("umbrella").sessions.compare([id])
        texts.append(str(raised.value).replace(id, "…"))
    assert texts[0] == texts[1]
    session.delete()
    for call in calls(
        lambda: session.move("completed"),
        lambda: session.cancel(),
        lambda: session.end(),
        lambda: session.status_history(),
        lambda: session.metrics(),
        lambda: memory.tenant("acme").sessions.compare([session.id]),
    ):
        with pytest.raises(SessionNotFoundError):
            call()


def test_runs_are_listed_by_their_beginning(memory: ChatMemory) -> None:
    """Only those with a run status, last begun first, whatever was active since."""
    sessions = memory.tenant("acme").sessions
    first = run_in(memory, "training", "pending")
    sessions.create(user_id="ann")
    second = run_in(memory, "testing", "pending")
    first.move("running")
    page = sessions.list(runs_only=True, order="created", with_total=True)
    assert [info.id for info in page] == [second.id, first.id]
    assert page.total == 2
    assert [info.id for info in sessions.list(runs_only=True)] == [first.id, second.id]
    with pytest.raises(InvalidInputError, match="order"):
        sessions.list(order="size")  # type: ignore[arg-type]  # that is the point
