"""Tasks are cancelled wherever they happen to be."""

import asyncio
import random
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from chatmemory import AsyncChatMemory, AsyncSession, Context, Settings
from tests.fixtures.redis import RedisServer
from tests.helpers import check_newest
from tests.processes import work

PATIENT = Settings(
    cleanup_inactive_sessions=False, postgres_pool_max_size=2, postgres_timeout_seconds=5, redis_timeout_seconds=60
)
CANCELLATIONS = 200
MOST = 5
SOON = 60.0  # seconds; it takes 0.05
WAITING = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"


async def test_cancelled_appends_leave_the_pool_whole(postgres_url: str) -> None:
    """200 appends are cancelled at random points, with two connections: both stay usable, seq has no gap."""
    session_id = work.new_session(postgres_url)
    settings = Settings(cleanup_inactive_sessions=False, postgres_pool_max_size=2, postgres_timeout_seconds=5)
    rng = random.Random(11)
    acknowledged: list[tuple[int, str]] = []
    cancelled = number = 0
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        session = await memory.tenant(work.TENANT).sessions.get(session_id)
        while cancelled < CANCELLATIONS:
            tasks = []
            for _ in range(rng.randint(1, 4)):  # up to two have to wait for a connection
                pair = [{"role": "user", "content": "x", "message_id": f"{number}-{half}"} for half in "ab"]
                tasks.append(asyncio.create_task(session.append_many(pair)))
                number += 1
            await asyncio.wait(tasks, timeout=rng.random() * 0.004)
            for task in tasks:
                task.cancel()
            for answer in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(answer, list):
                    acknowledged += [(message.seq, message.id) for message in answer]
                else:
                    assert isinstance(answer, asyncio.CancelledError), answer
                    cancelled += 1
        await _both_connections_work(postgres_url, memory, session_id)
    stored = await asyncio.to_thread(work.stored, postgres_url, session_id)
    assert acknowledged
    assert set(acknowledged) <= set(stored)
    pairs = [id for _, id in stored if id.endswith(("-a", "-b"))]
    assert pairs[::2] == [id.replace("b", "a") for id in pairs[1::2]]  # all of an append_many or nothing


async def test_cancelled_contexts_leave_the_window_right(postgres_url: str, redis_url: str) -> None:
    """200 contexts of two sessions are cancelled at random points, with and without an append.

    No answer is another session's; after each time the window soon is what Postgres says, for others too.
    """
    rng = random.Random(11)
    cancelled = answered = 0
    async with (
        AsyncChatMemory.open(postgres_url, redis=redis_url, settings=PATIENT) as memory,
        AsyncChatMemory.open(postgres_url, redis=redis_url, settings=PATIENT) as other,
    ):
        sessions = [await memory.tenant(work.TENANT).sessions.create(user_id=work.USER) for _ in "ab"]
        for session in sessions:
            await session.append("user", session.id)
        bystanders = [await other.tenant(work.TENANT).sessions.get(session.id) for session in sessions]
        while cancelled < CANCELLATIONS:
            tasks = [asyncio.create_task(_turn(rng.choice(sessions), rng.choice("car"))) for _ in range(4)]
            await asyncio.wait(tasks, timeout=rng.random() * 0.004)
            for task in tasks:
                task.cancel()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(answer) for answer in answers} <= {type(None), asyncio.CancelledError}, answers
            cancelled += len(answers) - answers.count(None)
            answered += answers.count(None)
            for session, bystander in zip(sessions, bystanders, strict=True):
                await _agree(memory, session, bystander)
        assert {(await session.context(max_messages=MOST)).source for session in bystanders} == {"redis"}
        await _both_connections_work(postgres_url, memory, sessions[0].id)
    assert answered


async def _turn(session: AsyncSession, how: str) -> None:
    """Read, append and read, or both in one; see that it is this session's."""
    new = {"role": "user", "content": session.id}
    if how == "a":
        await session.append_many([new])
    one = session.append_and_context([new], max_messages=MOST) if how == "c" else session.context(max_messages=MOST)
    _check(await one, session)


def _check(context: Context, session: AsyncSession, seen: int = 0) -> int:
    assert {message.text for message in context} <= {session.id}
    return check_newest(context, MOST, seen)


async def _agree(memory: AsyncChatMemory, session: AsyncSession, bystander: AsyncSession) -> None:
    """A handle that learns of nothing but from Redis soon sees what Postgres has, and so does this one."""
    last = (await session.refresh()).last_seq
    until = time.monotonic() + SOON
    while _check(await bystander.context(max_messages=MOST), session) < last:
        assert time.monotonic() < until
        await memory._windows.flush()
    context = await session.context(max_messages=MOST)
    assert _check(context, session, last) == last
    assert context.messages == (await session.context(max_messages=MOST, fresh=True)).messages


async def test_a_cancelled_context_keeps_no_append_from_others(
    postgres_url: str, own_redis: Callable[..., RedisServer]
) -> None:
    """A context that was to connect, and to tell Redis of an append, is cancelled after 1, 2, 3 … steps."""
    server = own_redis()
    async with (
        AsyncChatMemory.open(postgres_url, redis=server.url, settings=PATIENT) as memory,
        AsyncChatMemory.open(postgres_url, redis=server.url, settings=PATIENT) as other,
    ):
        session = await memory.tenant(work.TENANT).sessions.create(user_id=work.USER)
        bystander = await other.tenant(work.TENANT).sessions.get(session.id)
        for steps in range(1, 80):
            with server.client() as client:
                client.client_kill_filter(_type="normal", skipme=True)
            await session.append("user", session.id)
            reading = asyncio.create_task(session.context(max_messages=MOST))
            for _ in range(steps):
                await asyncio.sleep(0)
            reading.cancel()
            await asyncio.wait([reading])
            await _agree(memory, session, bystander)


async def _both_connections_work(url: str, memory: AsyncChatMemory, session_id: str) -> None:
    """Two appends reach Postgres at once: both wait there for a row that is locked, and then both succeed."""
    session = await memory.tenant(work.TENANT).sessions.get(session_id)
    async with await psycopg.AsyncConnection.connect(url) as other:
        await other.execute("select from chatmemory.sessions for update")
        appends = [asyncio.create_task(session.append("user", "last", message_id=f"last-{n}")) for n in (1, 2)]
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as observer:
            async with asyncio.timeout(5):
                while await (await observer.execute(WAITING)).fetchone() != (2,):
                    assert not any(append.done() for append in appends)
        await other.rollback()
    first, second = await asyncio.gather(*appends)
    assert abs(first.seq - second.seq) == 1


@pytest.mark.parametrize("method", ["append", "refresh"])
async def test_a_call_cancelled_while_it_gives_its_connection_back(postgres_url: str, method: str) -> None:
    """The connection is not lost: the next call has it."""
    settings = Settings(cleanup_inactive_sessions=False, postgres_pool_max_size=1, postgres_timeout_seconds=2)
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        session = await memory.tenant(work.TENANT).sessions.create(user_id=work.USER)
        pool: Any = memory._database._pool
        give_back, giving, may_go_on = pool.putconn, asyncio.Event(), asyncio.Event()

        async def slow(connection: object) -> None:  # as when another task holds the pool's lock
            giving.set()
            await may_go_on.wait()
            await give_back(connection)

        pool.putconn = slow
        call = session.append("user", "x") if method == "append" else session.refresh()
        task = asyncio.ensure_future(call)
        await giving.wait()
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        may_go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await session.append("user", "y")).text == "y"
