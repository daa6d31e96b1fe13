"""Runs: their moves, their ends, and what is known of them."""

from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from chatmemory import (
    AsyncChatMemory,
    AsyncSession,
    InvalidInputError,
    KindError,
    MoveError,
    SessionEndedError,
    SessionInfo,
    SessionNotFoundError,
)
from tests.helpers import calls
from tests.machines import MACHINES, path_to

RUNS = [(kind, status) for kind, machine in MACHINES.items() for status in machine]


async def run_in(memory: AsyncChatMemory, kind: str, status: str) -> AsyncSession:
    """A run that has come to a run status by moves."""
    session = await memory.tenant("acme").sessions.create(user_id="ann", kind=kind)
    for step in path_to(kind, status):
        await session.move(step)
    return session


async def with_kind_forgotten(memory: AsyncChatMemory, session: AsyncSession, **columns: str) -> None:
    """Change a session's row behind the library's back."""
    assert memory.settings.postgres_url is not None
    with psycopg.connect(memory.settings.postgres_url.get_secret_value()) as connection:
        for column, value in columns.items():
            connection.execute(
                f"update chatmemory.sessions set {column} = %s where id = %s".encode(), (value, session.id)
            )


@pytest.mark.parametrize(("kind", "status"), RUNS)
async def test_every_move_from_every_status(async_memory: AsyncChatMemory, kind: str, status: str) -> None:
    """An allowed move is stored and recorded on the timeline; any other move changes nothing."""
    allowed = MACHINES[kind][status]
    for new in MACHINES[kind]:
        session = await run_in(async_memory, kind, status)
        before, history = await session.refresh(), await session.status_history()
        assert (before.run_status, before.status) == (status, "active")
        assert [change.new for change in history] == path_to(kind, status)
        if new == status:
            assert await session.move(new) == before
        elif new in allowed:
            assert (await session.move(new, reason="test", by="bob")).run_status == new
            last = (await session.status_history())[-1]
            assert (last.old, last.new, last.reason, last.by) == (status, new, "test", "bob")
            assert [event.data for event in await session.events()][-1] == {
                "old": status,
                "new": new,
                "by": "bob",
                "reason": "test",
            }
        else:
            with pytest.raises(MoveError, match=status):
                await session.move(new)
            assert await session.refresh() == before
            assert await session.status_history() == history


@pytest.mark.parametrize(("kind", "status"), RUNS)
async def test_pausing_and_going_on_from_every_status(async_memory: AsyncChatMemory, kind: str, status: str) -> None:
    """pause() leads from running to paused, unpause() back, and neither anything else."""
    session = await run_in(async_memory, kind, status)
    for call, source, target in ((session.pause, "running", "paused"), (session.unpause, "paused", "running")):
        if "paused" in MACHINES[kind] and status in (source, target):
            assert (await call()).run_status == target
            status = target
        else:
            with pytest.raises(MoveError, match=status):
                await call()
            assert (await session.refresh()).run_status == status


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
async def test_every_end_from_every_status(async_memory: AsyncChatMemory, kind: str, status: str) -> None:
    """The lifecycle ends as asked and the run status follows; a run that completed or failed ends only so."""
    sessions = async_memory.tenant("acme").sessions
    for how, success, end in ENDS:
        session = await run_in(async_memory, kind, status)
        before, history = session.info, await session.status_history()
        final = final_status(kind, status, end)

        async def ended(how: str, success: bool | None, session: AsyncSession) -> SessionInfo:
            if how == "expire":
                await sessions.end_inactive(timedelta(0))
                return await session.refresh()
            return (
                await session.cancel(reason="enough") if how == "cancel" else await session.end(success=bool(success))
            )

        is_other = status in ("completed", "failed") and final_status(kind, "running", end) != status
        if is_other and how != "expire":
            with pytest.raises(MoveError, match=status):
                await ended(how, success, session)
            assert await session.refresh() == before
            await session.erase()
            continue
        info = await ended(how, success, session)
        assert (info.status, info.run_status) == (end, final)
        assert info.ended_at is not None
        changes = (await session.status_history())[len(history) :]
        assert [(change.old, change.new) for change in changes] == ([(status, final)] if final != status else [])
        if how != "expire":
            assert await ended(how, success, session) == info  # asked for the same: the same answer
            for other_how, other_success, other_end in ENDS[:3]:
                if other_end != end:
                    with pytest.raises(MoveError, match=end):
                        await ended(other_how, other_success, session)
        for change in changes:
            assert change.reason == {"cancel": "enough", "expire": "idle"}.get(how)
            assert change.by == (None if how == "expire" else "ann")


async def test_who_and_why_is_told_with_repeats(async_memory: AsyncChatMemory) -> None:
    """Each move is there, those made before too, oldest first, and after the end and a restart of the app."""
    session = await run_in(async_memory, "research", "running")
    for _ in range(3):
        await session.pause(reason="lunch")
        await session.unpause()
        await session.unpause()  # where it is already: no move
    await session.end()
    history = await (await async_memory.tenant("acme").sessions.get(session.id)).status_history()
    assert [change.new for change in history] == ["initializing", *["running", "paused"] * 3, "running", "completed"]
    assert {change.reason for change in history if change.new == "paused"} == {"lunch"}
    assert all(change.old == before.new for before, change in pairwise(history))
    assert [change.at for change in history] == sorted(change.at for change in history)


async def test_conversations_have_no_run_status(async_memory: AsyncChatMemory) -> None:
    """A chat does not move; it can be cancelled, and ends again as it did at first."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann")
    assert session.info.run_status is None
    for call in calls(lambda: session.move("running"), lambda: session.pause(), lambda: session.unpause()):
        with pytest.raises(MoveError, match="chat"):
            await call()
    with pytest.raises(InvalidInputError, match="progress"):
        await session.update(progress=1)
    assert await session.status_history() == []
    info = await session.cancel(reason="bored")
    assert (info.status, info.run_status, info.progress) == ("cancelled", None, None)
    assert (await session.events())[-1].data == {"status": "cancelled", "reason": "bored"}
    assert await session.end() == info


async def test_unknown_kinds_are_told_with_the_known(async_memory: AsyncChatMemory) -> None:
    """Creating, resuming and listing name the kinds there are; a session of a lost kind can be read, and ended."""
    sessions = async_memory.tenant("acme").sessions
    for call in calls(
        lambda: sessions.create(user_id="ann", kind="trianing"),
        lambda: sessions.resume_or_create(user_id="ann", kind="trianing"),
        lambda: sessions.list(kind="trianing"),
    ):
        with pytest.raises(KindError, match=r"'trianing'.*chat.*training.*synthesis"):
            await call()
    session = await run_in(async_memory, "training", "running")
    await with_kind_forgotten(async_memory, session, kind="lost")
    with pytest.raises(KindError, match="register_kind"):
        await session.move("completed")
    assert (await session.update(title="still")).run_status == "running"
    assert (await session.end()).run_status == "completed"


async def test_progress_of_a_training_follows_its_epochs(async_memory: AsyncChatMemory) -> None:
    """From the first details on; an early end leaves it where it was, and nobody sets it by hand."""
    sessions = async_memory.tenant("acme").sessions
    session = await sessions.create(user_id="ann", kind="training", details={"total_epochs": 8, "current_epoch": 2})
    assert (await session.refresh()).progress == 25
    assert (await session.update(details={"current_epoch": 4})).progress == 50
    with pytest.raises(InvalidInputError, match="total_epochs"):
        await session.update(progress=60)
    fork = await session.fork()
    assert (fork.info.progress, fork.info.run_status) == (50, "pending")
    info = await session.end(details={"current_epoch": 6, "note": "early"}, results={"rmse": 0.1})
    assert (info.progress, info.details["note"], info.results) == (75, "early", {"rmse": 0.1})
    assert "updated" not in [event.type for event in await session.events()]


async def test_progress_and_stage_of_research(async_memory: AsyncChatMemory) -> None:
    """They are kept as they are told; completing is 100, failing is not."""
    session = await run_in(async_memory, "research", "running")
    info = await session.update(progress=40, stage="reading", details={"used_tokens": 100})
    assert (info.progress, info.stage, info.details) == (40, "reading", {"used_tokens": 100})
    assert await session.refresh() == info
    for bad in (-1, 101, float("nan"), "5", True):
        with pytest.raises(InvalidInputError, match="progress"):
            await session.update(progress=bad)  # type: ignore[arg-type]  # that is the point
    other = await session.fork()
    assert (other.info.progress, other.info.stage) == (None, None)
    assert (await session.end()).progress == 100
    await other.update(progress=10)
    failed = await other.end(success=False, error="no more budget")
    assert (failed.progress, failed.error) == (10, "no more budget")


async def test_an_update_is_all_or_nothing(async_memory: AsyncChatMemory) -> None:
    """A move that is not allowed, or a detail of the wrong type, keeps out all that came with it."""
    session = await run_in(async_memory, "training", "running")
    before = await session.refresh()
    wrong: list[dict[str, Any]] = [
        {"run_status": "pending"},
        {"details": {"total_epochs": "many"}},
        {"results": {"n": float("nan")}},
        {"stage": "\0"},
        {"by": ""},
    ]
    for bad in wrong:
        with pytest.raises((InvalidInputError, MoveError)):
            await session.update(**{"title": "New", "run_status": "completed", "reason": "why", **bad})
        assert await session.refresh() == before
    info = await session.update(title="New", run_status="completed", reason="why", results={"a": 1}, error="e")
    assert (info.title, info.run_status, info.results, info.error) == ("New", "completed", {"a": 1}, "e")
    assert (await session.update(results={"b": 2})).results == {"a": 1, "b": 2}
    assert (await session.end(results={"b": 3})).results == {"a": 1, "b": 3}


async def test_what_an_ended_run_did_changes_no_more(async_memory: AsyncChatMemory) -> None:
    """People may still name it; its numbers stay."""
    session = await run_in(async_memory, "training", "running")
    info = await session.end(results={"a": 1})
    changes: dict[str, Any] = {"progress": 1, "stage": "x", "results": 1, "details": {"a": 1}, "error": "e"}
    for name, value in changes.items():
        with pytest.raises(SessionEndedError):
            await session.update(**{name: value})
    assert await session.refresh() == info
    assert (await session.update(title="t", metadata={"k": 1})).title == "t"
    assert (await session.update(title="u")).run_status == "completed"
    with pytest.raises(SessionEndedError):
        session.log_metrics({"loss": 1})


async def test_a_stopped_training_stays_stopped(async_memory: AsyncChatMemory) -> None:
    """Both ends are possible after a stop, and the run status stays what it was."""
    for success, status in ((True, "completed"), (False, "failed")):
        session = await run_in(async_memory, "training", "stopped")
        info = await session.end(success=success)
        assert (info.status, info.run_status) == (status, "stopped")


async def test_idle_runs_expire_wherever_that_is_done(async_memory: AsyncChatMemory) -> None:
    """By the clean-up, by whoever resumes, by end_inactive: the run status follows and is told; work keeps alive."""
    settings = async_memory.settings.model_copy(update={"session_timeout_hours": 1})
    assert settings.postgres_url is not None
    url = settings.postgres_url.get_secret_value()
    for expire in ("clean_up", "resume", "end_inactive"):
        async with AsyncChatMemory.open(url, settings=settings) as memory:
            sessions = memory.tenant("acme").sessions
            idle, moved, updated, logging = [await run_in(memory, "research", "running") for _ in range(4)]
            done = await run_in(memory, "research", "failed")
            for session in (idle, moved, updated, logging, done):
                await with_kind_forgotten(memory, session, last_active_at="2020-01-01")
            await moved.pause()
            await updated.update(progress=1)
            logging.log_metrics({"loss": 1})
            await logging.metrics()
            if expire == "clean_up":
                assert (await memory.clean_up()).expired == 2
            elif expire == "resume":
                for session in (idle, moved, updated, logging, done):
                    await sessions.resume_or_create(session.id, user_id="ann", kind="research")
            else:
                assert len(await sessions.end_inactive(timedelta(hours=1))) == 2
            assert [(await each.refresh()).status for each in (moved, updated, logging)] == ["active"] * 3
            info, last = await idle.refresh(), (await idle.status_history())[-1]
            assert (info.status, info.run_status) == ("expired", "timeout")
            assert (last.old, last.new, last.reason, last.by) == ("running", "timeout", "idle", None)
            info = await done.refresh()
            assert (info.status, info.run_status) == ("expired", "failed")
            assert (await done.status_history())[-1].reason is None


async def test_a_run_that_gives_way_did_not_complete(async_memory: AsyncChatMemory) -> None:
    """The limit of active sessions cancels a run, where it completes a chat."""
    settings = async_memory.settings.model_copy(update={"max_sessions_per_user": 1})
    assert settings.postgres_url is not None
    async with AsyncChatMemory.open(settings.postgres_url.get_secret_value(), settings=settings) as memory:
        first, _ = [await run_in(memory, "training", "running") for _ in range(2)]
        info = await first.refresh()
        assert (info.status, info.run_status) == ("cancelled", "stopped")
        assert (await first.status_history())[-1].reason == "session limit"


async def test_moves_are_seen_by_whoever_resumes(async_cached_memory: AsyncChatMemory) -> None:
    """With Redis too, a resumed run is where the last move left it."""
    sessions = async_cached_memory.tenant("acme").sessions
    session = await sessions.resume_or_create(user_id="ann", kind="research")
    for status in ("initializing", "running"):
        await sessions.resume_or_create(session.id, user_id="ann", kind="research")
        await session.move(status)
        again = await sessions.resume_or_create(session.id, user_id="ann", kind="research")
        assert (again.id, again.info.run_status) == (session.id, status)
    await session.update(progress=7, stage="s")
    again = await sessions.resume_or_create(session.id, user_id="ann", kind="research")
    assert (again.info.progress, again.info.stage) == (7, "s")


async def test_no_run_of_another_tenant_is_reached(async_memory: AsyncChatMemory) -> None:
    """Comparing foreign and missing ids fails alike; a deleted run does not move."""
    session = await run_in(async_memory, "training", "running")
    texts = []
    for id in (session.id, "nowhere"):
        with pytest.raises(SessionNotFoundError) as raised:
            await async_memory.tenant("umbrella").sessions.compare([id])
        texts.append(str(raised.value).replace(id, "…"))
    assert texts[0] == texts[1]
    await session.delete()
    for call in calls(
        lambda: session.move("completed"),
        lambda: session.cancel(),
        lambda: session.end(),
        lambda: session.status_history(),
        lambda: session.metrics(),
        lambda: async_memory.tenant("acme").sessions.compare([session.id]),
    ):
        with pytest.raises(SessionNotFoundError):
            await call()


async def test_runs_are_listed_by_their_beginning(async_memory: AsyncChatMemory) -> None:
    """Only those with a run status, last begun first, whatever was active since."""
    sessions = async_memory.tenant("acme").sessions
    first = await run_in(async_memory, "training", "pending")
    await sessions.create(user_id="ann")
    second = await run_in(async_memory, "testing", "pending")
    await first.move("running")
    page = await sessions.list(runs_only=True, order="created", with_total=True)
    assert [info.id for info in page] == [second.id, first.id]
    assert page.total == 2
    assert [info.id for info in await sessions.list(runs_only=True)] == [first.id, second.id]
    with pytest.raises(InvalidInputError, match="order"):
        await sessions.list(order="size")  # type: ignore[arg-type]  # that is the point
