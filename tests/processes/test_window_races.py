"""An explorer of interleavings: two processes' writers and readers, flushes, expiry and lost writes in any order.

Every call to Redis or Postgres waits at a gate, and a schedule that hypothesis draws says who goes next; so each
example is one order of events, and a failing one shrinks to a short one. Both servers are real.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from chatmemory import AsyncChatMemory, AsyncSession, SessionNotFoundError, Settings
from chatmemory._async.context import reading
from chatmemory._async.storage import redis_windows
from chatmemory._async.storage.redis_windows import AsyncWindows
from chatmemory.storage.redis_keys import window_key
from tests.helpers import check_newest

Draw = Callable[[int], int]
SETTINGS = Settings(
    cleanup_inactive_sessions=False, window_max_messages=4, redis_timeout_seconds=60
)  # a timeout would be another event


class Gate:
    """Lets one task at a time go on, up to its next call."""

    def __init__(self, draw: Draw) -> None:
        self.draw = draw
        self._waiting: dict[int, asyncio.Event] = {}
        self._arrived = asyncio.Event()

    async def wait(self) -> None:
        """Wait for one's turn."""
        turn = asyncio.Event()
        self._waiting[id(turn)] = turn
        self._arrived.set()
        await turn.wait()

    async def run(self, *actors: Coroutine[Any, Any, None]) -> None:
        """Run the actors to their end, one call at a time."""
        tasks = [asyncio.create_task(self._actor(actor)) for actor in actors]
        while True:
            while len(self._waiting) < sum(not task.done() for task in tasks):
                self._arrived.clear()
                await self._arrived.wait()
            if not self._waiting:
                break
            chosen = list(self._waiting)[self.draw(len(self._waiting))]
            self._waiting.pop(chosen).set()
            self._arrived.clear()
            await self._arrived.wait()
        await asyncio.gather(*tasks)

    async def _actor(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await self.wait()
            await work
        finally:
            asyncio.get_running_loop().call_soon(self._arrived.set)


@asynccontextmanager
async def gated(url: str, redis_url: str, gate: Gate) -> AsyncIterator[AsyncChatMemory]:
    """One process's memory, each of whose calls waits at the gate; one in eight to Redis is lost, or its answer is."""
    async with AsyncChatMemory.open(url, redis=redis_url, settings=SETTINGS) as memory:
        cache: Any = memory._cache
        database: Any = memory._database
        evaluate, call, probe = cache._evaluate, database.call, cache._probe

        async def slow_evaluate(*args: Any) -> Any:
            await gate.wait()
            fate = gate.draw(16)
            if fate == 0:
                raise RedisConnectionError("lost on the way there")
            answer = await evaluate(*args)
            if fate == 1:
                raise RedisConnectionError("lost on the way back")
            return answer

        async def slow_call(*args: Any, **more: Any) -> Any:
            await gate.wait()
            return await call(*args, **more)

        async def no_probe() -> None:
            """Only an actor heals."""

        cache._evaluate, database.call, cache._probe = slow_evaluate, slow_call, no_probe
        memory.heal = probe  # type: ignore[attr-defined]
        yield memory
        cache._evaluate, database.call, cache._probe = evaluate, call, probe


async def write(session: AsyncSession, gate: Gate, name: str) -> None:
    """Append some messages, one or two at a time, sometimes reading them in the same statement."""
    for turn in range(3):
        messages = [{"role": "user", "content": f"{name} {turn} {n}"} for n in range(1 + gate.draw(2))]
        before = session._state.contexts._seen
        with suppress(SessionNotFoundError):  # deleted
            if gate.draw(3):
                await session.append_many(messages)
            else:
                check_newest(await session.append_and_context(messages, max_messages=3), 3, before + 1)
        if gate.draw(2):
            await read(session, gate, 1)


async def read(session: AsyncSession, gate: Gate, times: int = 3) -> None:
    """Contexts that are in order, without a gap, and never older than what the handle had seen."""
    for _ in range(times):
        seen, most = session._state.contexts._seen, 1 + gate.draw(6)
        gone = hidden.get(session.id) if session._state.parts.windows in hears_at_once else None
        try:
            context = await session.context(max_messages=most)
        except SessionNotFoundError:
            continue
        assert gone is None or hidden.get(session.id) != gone, "a deleted session is shown"
        check_newest(context, most, seen)
        given = {message.seq: message.text for message in context}
        assert given.items() <= {**given, **shown[session.id]}.items(), "another reader was given other messages"
        shown[session.id].update(given)


shown: dict[str, dict[int, str]] = {}
hidden: dict[str, int] = {}  # deleted sessions, and how many times they have been
hears_at_once: list[AsyncWindows] = []  # of the processes whose readers know at once that a session is deleted


async def flush(memory: AsyncChatMemory, gate: Gate) -> None:
    """Deliver delayed commands, and reconnect a disconnected process."""
    for _ in range(3):
        await gate.wait()
        await memory._windows.flush()
        if gate.draw(2):
            await memory.heal()  # type: ignore[attr-defined]


async def hide(session: AsyncSession, memory: AsyncChatMemory, gate: Gate) -> None:
    """It is deleted and restored."""
    for number in range(2):
        await gate.wait()
        await session.delete()
        if memory._cache is not None and memory._cache.state == "closed":  # else Redis does not know
            hidden[session.id] = number
        await gate.wait()
        hidden.pop(session.id, None)
        await session.restore()


async def disturb(redis: "Redis", key: str, gate: Gate) -> None:
    """The key expires, or everything is flushed."""
    for _ in range(2):
        await gate.wait()
        await (redis.delete(key) if gate.draw(2) else redis.flushdb())


async def explore(url: str, redis_url: str, draw: Draw, seconds: float) -> None:
    """One order of events, where the cache of a process is new enough for so many seconds after it was confirmed."""
    gate = Gate(draw)
    async with AsyncChatMemory.open(url, settings=SETTINGS) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        await session.append("user", "the first")
        shown[session.id] = {1: "the first"}
        async with (
            gated(url, redis_url, gate) as one,
            gated(url, redis_url, gate) as other,
            Redis.from_url(redis_url) as redis,
        ):
            hears_at_once[:] = [one._windows] if seconds else [one._windows, other._windows]
            handles = [await each.tenant("acme").sessions.get(session.id) for each in (one, other, one, other, one)]
            await gate.run(
                write(handles[0], gate, "one"),
                write(handles[1], gate, "other"),
                read(handles[2], gate),
                read(handles[3], gate),
                hide(handles[4], one, gate),
                flush(one, gate),
                flush(other, gate),
                disturb(redis, window_key("acme", session.id), gate),
            )
        stored = {message.seq: message.text async for message in session.messages()}
        assert list(stored) == list(range(1, len(stored) + 1))
        assert shown.pop(session.id).items() <= stored.items()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.timeout(300)
def test_no_order_of_events_shows_an_old_or_broken_context(
    postgres_url: str, redis_url: str, monkeypatch: pytest.MonkeyPatch, data: st.DataObject
) -> None:
    """Never out of order, gapped, other than what is stored, or older than what its handle has seen."""
    seconds = data.draw(st.sampled_from([0.0, 3600.0]))
    monkeypatch.setattr(redis_windows, "FLUSH_SECONDS", 3600.0)  # only the actors flush
    monkeypatch.setattr(reading, "ROW_SECONDS", seconds)
    monkeypatch.setattr(AsyncWindows, "lag", seconds)
    numbers = data.draw(st.randoms(use_true_random=False))
    asyncio.run(explore(postgres_url, redis_url, numbers.randrange, seconds))
