"""One handle, shared by two threads or two tasks that append and read at once, with a Redis."""

import asyncio
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from chatmemory import AsyncChatMemory, AsyncSession, ChatMemory, Session, Settings
from tests.helpers import check_newest
from tests.processes import work

ROUNDS = 100
MOST = 7
SOON = 60.0  # seconds; it takes 0.05
SETTINGS = Settings(cleanup_inactive_sessions=False, redis_timeout_seconds=60)  # a busy machine is no fault of Redis


@pytest.fixture
def _restless() -> Iterator[None]:
    """Threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("_restless")
def test_two_threads_share_a_handle(postgres_url: str, redis_url: str) -> None:
    """Each context is in order and as new as what its thread has seen; another process soon sees all of it."""
    id = work.new_session(postgres_url)
    with (
        ChatMemory.open(postgres_url, redis=redis_url, settings=SETTINGS) as memory,
        ChatMemory.open(postgres_url, redis=redis_url, settings=SETTINGS) as other,
        ThreadPoolExecutor(2) as threads,
    ):
        session, bystander = (each.tenant(work.TENANT).sessions.get(id) for each in (memory, other))

        def converse(session: Session) -> int:
            seen = session.append("user", "x").seq
            for _ in range(2):
                seen = check_newest(session.context(max_messages=MOST), MOST, seen)
            return session.append("user", "x").seq

        for _ in range(ROUNDS):
            last = max(threads.map(converse, [session] * 2))
            until = time.monotonic() + SOON
            while check_newest(bystander.context(max_messages=MOST), MOST, 0) < last:
                assert time.monotonic() < until
                memory._windows.flush()
        assert bystander.context(max_messages=MOST).source == "redis"
    assert len(work.stored(postgres_url, id)) == last == ROUNDS * 4


async def test_two_tasks_share_a_handle(postgres_url: str, redis_url: str) -> None:
    """The same of two tasks on one event loop."""
    id = await asyncio.to_thread(work.new_session, postgres_url)
    async with (
        AsyncChatMemory.open(postgres_url, redis=redis_url, settings=SETTINGS) as memory,
        AsyncChatMemory.open(postgres_url, redis=redis_url, settings=SETTINGS) as other,
    ):
        session, bystander = [await each.tenant(work.TENANT).sessions.get(id) for each in (memory, other)]

        async def converse(session: AsyncSession) -> int:
            seen = (await session.append("user", "x")).seq
            for _ in range(2):
                seen = check_newest(await session.context(max_messages=MOST), MOST, seen)
            return (await session.append("user", "x")).seq

        for _ in range(ROUNDS):
            last = max(await asyncio.gather(converse(session), converse(session)))
            until = time.monotonic() + SOON
            while check_newest(await bystander.context(max_messages=MOST), MOST, 0) < last:
                assert time.monotonic() < until
                await memory._windows.flush()
        assert (await bystander.context(max_messages=MOST)).source == "redis"
    assert len(await asyncio.to_thread(work.stored, postgres_url, id)) == last == ROUNDS * 4
