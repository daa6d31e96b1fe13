"""Workers that are cancelled, closed or fail in part: nothing stays claimed, and nobody waits for ever."""

import asyncio
import threading
from typing import Any

import psycopg
import pytest

from chatmemory import AsyncChatMemory, ChatMemory, ConfigurationError
from chatmemory._async.storage.database import AsyncDatabase
from chatmemory._concurrency import async_side_by_side, side_by_side
from chatmemory.storage import queries
from tests.fixtures.openai_server import HANGS, OpenAIServer, learnt

PATIENCE = 60.0  # seconds, for what takes none
CLAIMS = "select lease_owner, attempts, summary_seq from chatmemory.sessions"


def claims(url: str) -> list[tuple[object, ...]]:
    """Return the lease owner and the watermark of each session."""
    with psycopg.connect(url) as connection:
        return connection.execute(CLAIMS.encode()).fetchall()


async def talk(memory: AsyncChatMemory) -> None:
    """A session that is due."""
    session = await memory.tenant("acme").sessions.create(user_id="ann")
    await session.append_many([{"role": "user", "content": f"day {number}"} for number in range(4)])


async def test_a_cancelled_pass_hands_its_claim_back(postgres_url: str, openai_server: OpenAIServer) -> None:
    """While the model thinks: the session is free again, no attempt is counted, and the next pass learns from it."""
    openai_server.chat = lambda _: HANGS
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        await talk(memory)
        task = asyncio.create_task(memory.run_due())
        assert await asyncio.to_thread(openai_server.asked.wait, PATIENCE)
        [(owner, attempts, _)] = claims(postgres_url)
        assert (owner is not None, attempts) == (True, 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert claims(postgres_url) == [(None, 0, 0)]
        openai_server.chat = lambda _: learnt()
        assert (await memory.run_due()).processed == 1


async def test_a_pass_that_is_cancelled_while_it_claims_hands_that_back(
    postgres_url: str, openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Postgres has given the claim, and the task is cancelled before it hears of it."""
    tasks: list[asyncio.Task[object]] = []
    call = AsyncDatabase.call

    async def cancelled_meanwhile(*given: Any, **named: Any) -> Any:
        found = await call(*given, **named)
        if given[1] == queries.learning.CLAIM_SESSIONS:
            assert len(found) == 1
            tasks[0].cancel()
            await asyncio.sleep(0)
        return found

    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        await talk(memory)
        monkeypatch.setattr(AsyncDatabase, "call", cancelled_meanwhile)
        tasks.append(asyncio.create_task(memory.run_due()))
        with pytest.raises(asyncio.CancelledError):
            await tasks[0]
    assert claims(postgres_url) == [(None, 0, 0)]


async def test_closing_ends_a_worker_with_an_error_of_ours(postgres_url: str, openai_server: OpenAIServer) -> None:
    """Not with a group of them."""
    memory = AsyncChatMemory.open(postgres_url, settings=openai_server.settings(worker_poll_seconds=0.02))
    await talk(memory)
    task = asyncio.create_task(memory.run_worker(concurrency=3))
    assert await asyncio.to_thread(openai_server.asked.wait, PATIENCE)
    await memory.close()
    with pytest.raises(ConfigurationError, match="closed"):
        await asyncio.wait_for(task, PATIENCE)


def test_closing_ends_a_worker_of_threads(postgres_url: str, openai_server: OpenAIServer) -> None:
    """All of its threads end, too."""
    memory = ChatMemory.open(postgres_url, settings=openai_server.settings(worker_poll_seconds=0.02))
    memory.tenant("acme").sessions.list()
    raised: list[BaseException] = []

    def work() -> None:
        try:
            memory.run_worker(concurrency=3)
        except ConfigurationError as error:
            raised.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    memory.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert len(raised) == 1


def test_one_thread_that_fails_tells_the_others_to_end() -> None:
    """Else whoever started them would wait for the others for ever."""
    stop = threading.Event()

    def fail() -> None:
        raise ValueError("one")

    def wait() -> None:
        assert stop.wait(PATIENCE)

    with pytest.raises(ValueError, match="one"):
        side_by_side([wait, fail, wait], stop.set)
    assert stop.is_set()


async def test_one_task_that_fails_ends_the_others() -> None:
    """The other tasks end, and the error of the failed one is raised."""
    stop = asyncio.Event()

    async def wait() -> None:
        await asyncio.Event().wait()

    async def fail() -> None:
        raise ValueError("one")

    with pytest.raises(ValueError, match="one"):
        await async_side_by_side([wait, fail, wait], stop.set)
    assert stop.is_set()
