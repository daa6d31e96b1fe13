"""Runs whose process beats, is lost, and goes on."""

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from chatmemory import AsyncChatMemory, AsyncSession, MoveError, SessionEndedError


async def silent(memory: AsyncChatMemory, id: str, *, seconds: int = 60) -> AsyncSession:
    """A run that beat once, and then not for a little longer than it said."""
    session = await memory.tenant("acme").sessions.create(user_id="ann", session_id=id, kind="training")
    await session.move("running")
    await session.beat(seconds)
    age(memory, id, timedelta(seconds=seconds + 1))
    return session


def age(memory: AsyncChatMemory, id: str, by: timedelta) -> None:
    """Let a session's last activity lie further back."""
    assert memory.settings.postgres_url is not None
    with psycopg.connect(memory.settings.postgres_url.get_secret_value()) as connection:
        changed = connection.execute(
            "update chatmemory.sessions set last_active_at = last_active_at - %s where id = %s", (by, id)
        )
        assert changed.rowcount == 1


@pytest.mark.parametrize("reader", ["get", "refresh", "list", "compare", "runs", "clean_up"])
async def test_whoever_reads_a_lost_run_tells_that_it_failed(async_memory: AsyncChatMemory, reader: str) -> None:
    """Its end, its reason and its result are there, and its last activity is when it was last heard of."""
    handle = await silent(async_memory, "r")
    before = handle.info.last_active_at - timedelta(seconds=61)
    sessions = async_memory.tenant("acme").sessions
    if reader == "get":
        info = (await sessions.get("r")).info
    elif reader == "refresh":
        info = await handle.refresh()
    elif reader == "list":
        [info] = await sessions.list()
    elif reader == "compare":
        assert (await sessions.compare(["r"]))[0].info.status == "failed"
        info = (await sessions.get("r")).info
    elif reader == "runs":
        assert list(await sessions.runs("status = 'active'")) == []
        info = (await sessions.runs("status = 'failed'"))[0].info
    else:
        assert (await async_memory.clean_up()).expired == 1
        info = (await sessions.get("r")).info
    await async_memory.run_due()
    assert (info.status, info.run_status, info.error) == ("failed", "failed", "lost: its process has stopped beating")
    assert abs(info.last_active_at - before) < timedelta(seconds=1)
    last = (await handle.status_history())[-1]
    assert (last.old, last.new, last.reason, last.by) == ("running", "failed", "lost", None)
    [result] = await async_memory.tenant("acme").memories.list(kinds=["result"])
    assert "failed" in result.text
    assert "lost" in result.text


@pytest.mark.parametrize("reader", ["get", "clean_up"])
async def test_a_run_that_was_complete_stays_so(async_memory: AsyncChatMemory, reader: str) -> None:
    """Its process died between the last move and the end: its session fails, and nothing is ended again and again."""
    handle = await silent(async_memory, "r")
    await handle.move("completed")
    age(async_memory, "r", timedelta(seconds=61))
    if reader == "clean_up":
        assert (await async_memory.clean_up()).expired == 1
    info = (await async_memory.tenant("acme").sessions.get("r")).info
    assert (info.status, info.run_status) == ("failed", "completed")
    assert (await async_memory.clean_up()).expired == 0


async def test_reading_waits_for_no_lock(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """A lost run that somebody else has locked is left alone."""
    await silent(async_memory, "r")
    with psycopg.connect(postgres_url) as holder:
        holder.execute("select from chatmemory.sessions for update")
        assert (await async_memory.tenant("acme").sessions.get("r")).info.is_active
        holder.rollback()
    assert (await async_memory.tenant("acme").sessions.get("r")).info.status == "failed"


async def test_a_run_that_beats_is_neither_lost_nor_idle(async_memory: AsyncChatMemory) -> None:
    """An epoch of 25 hours: nothing but beats."""
    session = await silent(async_memory, "r", seconds=60)
    age(async_memory, "r", timedelta(hours=25))
    await session.beat(60)
    assert (await async_memory.clean_up()).expired == 0
    assert (await session.refresh()).is_active


async def test_only_runs_that_beat_are_lost(async_memory: AsyncChatMemory) -> None:
    """A run without a recorder stays; a conversation cannot beat."""
    sessions = async_memory.tenant("acme").sessions
    run = await sessions.create(user_id="ann", session_id="quiet", kind="training")
    age(async_memory, "quiet", timedelta(hours=20))
    await silent(async_memory, "r")
    assert {info.id: info.status for info in await sessions.list()} == {"quiet": "active", "r": "failed"}
    assert (await run.refresh()).is_active
    chat = await sessions.create(user_id="ann")
    with pytest.raises(MoveError, match="no run"):
        await chat.beat()
    with pytest.raises(MoveError, match="reopen\\(\\)"):
        await chat.reopen_run()


async def test_a_lost_run_that_was_only_frozen_goes_on(async_memory: AsyncChatMemory) -> None:
    """Under its id, in the status it was in, with its failure in the timeline, and with one result in the end."""
    session = await silent(async_memory, "r")
    await session.refresh()
    with pytest.raises(SessionEndedError, match="reopen_run"):
        await session.beat()
    info = await session.reopen_run(reason="it is alive")
    assert (info.status, info.run_status, info.error, info.ended_at) == ("active", "running", None, None)
    memories = async_memory.tenant("acme").memories
    assert list(await memories.list(kinds=["result"])) == []
    await session.end(results={"rmse": 0.5})
    assert [event.type for event in await session.events()] == [
        "created", "moved", "moved", "ended", "reopened", "moved", "moved", "ended"
    ]  # fmt: skip
    assert [change.new for change in await session.status_history()] == ["running", "failed", "running", "completed"]
    [result] = await memories.list(kinds=["result"])
    assert "rmse 0.5" in result.text
    [found] = await memories.recall("rmse", user_id="ann", kinds=["result"])
    assert found.memory.id == result.id


async def test_an_active_run_is_not_reopened(async_memory: AsyncChatMemory) -> None:
    """It stays as it is."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann", kind="training")
    assert await session.reopen_run() == session.info
    assert [event.type for event in await session.events()] == ["created"]


async def test_repeated_steps_are_dropped(async_memory: AsyncChatMemory) -> None:
    """From a step on, of all metrics, but none that is newer; the extremes are those of what is left."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann", kind="training")
    for step in range(600):
        session.log_metrics({"loss": 1000.0 - step, "nan": float("nan")}, step=step)
    between = datetime.now(UTC)
    session.log_metrics({"loss": -1.0}, step=700)
    assert await session.drop_metrics(300, before=between) == 600
    curves = await session.metrics()
    assert curves["loss"].steps == (*range(300), 700)
    assert curves["nan"].steps == tuple(range(300))
    assert await session.drop_metrics(299, names=["nan"]) == 1
    assert (await session.metrics())["loss"].steps == (*range(300), 700)
    assert await session.drop_metrics(299) == 2
    [run] = await async_memory.tenant("acme").sessions.compare([session.id])
    assert run.best["loss"] == 1000.0 - 298
    session.log_metrics({"loss": 5.0})
    assert (await session.metrics())["loss"].steps == tuple(range(300))


async def test_a_buffer_of_its_own_does_not_hold_up_the_memory(
    postgres_url: str, async_memory: AsyncChatMemory
) -> None:
    """Its points are written by its flush alone, and are no loss when the memory closes."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann", session_id="r", kind="training")
    async with AsyncChatMemory.open(postgres_url, settings=async_memory.settings) as other:
        handle = (await other.tenant("acme").sessions.get("r")).with_own_buffer()
        handle.log_metrics({"loss": 1.0}, step=0)
        await handle.flush()
        handle.log_metrics({"loss": 2.0}, step=1)
        await other.flush()
    assert (await session.metrics())["loss"].steps == (0,)
