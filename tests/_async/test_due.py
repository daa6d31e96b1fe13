"""The cost of idle sessions, and the waking of workers."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from chatmemory import AsyncChatMemory, AsyncSession, Settings
from chatmemory._concurrency import AsyncFlag, async_side_by_side, async_wait_for

FILL = """
insert into chatmemory.sessions (tenant_id, id, user_id, kind, created_at, updated_at, last_active_at, last_seq,
    message_count, token_count)
select 'acme', 's' || n, 'u' || n, 'chat', now(), now(), now() - n % 80000 * interval '1 second', 5, 5, 100
from generate_series(1, 10000) n
"""
IDLE_CALLS = (
    "select count(*) from chatmemory.claim_sessions('me', '5 min', 10, null, null)",
    "select expired + archived from chatmemory.clean_up('24 hours', true, 1000)",
    "select due + parked from chatmemory.learning_state(false)",
)
LOOKED_AT = (
    "select seq_scan, coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0) from pg_stat_xact_user_tables "
    "where schemaname = 'chatmemory' and relname = 'sessions'"
)


def rows(url: str, query: str, *params: object) -> list[tuple[Any, ...]]:
    """Return the rows of a statement, across tenants."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), params or None)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("call", IDLE_CALLS)
@pytest.mark.parametrize("analyzed", [False, True])
def test_where_nothing_is_due_or_idle_no_session_is_looked_at(postgres_url: str, call: str, analyzed: bool) -> None:
    """Neither claims nor the clean-up nor the learning state read any of 10,000 active sessions."""
    rows(postgres_url, FILL)
    if analyzed:
        rows(postgres_url, "analyze chatmemory.sessions")
    with psycopg.connect(postgres_url) as connection:
        assert connection.execute(call.encode()).fetchall() == [(0,)]
        assert connection.execute(LOOKED_AT.encode()).fetchall() == [(0, 0)]


async def test_appends_stay_hot(postgres_url: str, settings: Settings) -> None:
    """Of 1,000 appends at least 970 change no index, though they make their session due."""
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        for number in range(500):
            await session.append("user", f"message {number}")
            await session.append("assistant", "yes", message_id=f"m-{number}")
    updated = hot = 0
    for _ in range(600):  # Postgres counts a little later
        query = "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'sessions'"
        [(updated, hot)] = rows(postgres_url, query)
        if updated >= 1000:
            break
        await async_wait_for(AsyncFlag(), 0.05)
    assert updated >= 1000
    assert hot >= 0.97 * updated


async def test_a_session_is_due_from_the_append_that_crosses_a_threshold(postgres_url: str, settings: Settings) -> None:
    """By messages or by tokens, whether one message is appended or many; and learning takes the mark away."""
    settings = settings.model_copy(update={"consolidation_messages": 3, "consolidation_tokens": 50})
    due = "select id from chatmemory.sessions where due_at <= now() order by id"
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        few, many, long = [
            await memory.tenant("acme").sessions.create(user_id="ann", session_id=name)
            for name in ("few", "many", "long")
        ]
        await few.append_many([{"role": "user", "content": "a"}] * 2)
        await many.append_many([{"role": "user", "content": "a"}] * 3)
        await long.append("user", "word " * 80)
        assert rows(postgres_url, due) == [("long",), ("many",)]
        await few.append("user", "a")
        assert rows(postgres_url, due) == [("few",), ("long",), ("many",)]
        assert (await memory.run_due()).processed == 3
        assert rows(postgres_url, due) == []


async def beside_a_worker(memory: AsyncChatMemory, then: Callable[[], Any]) -> None:
    """Run `then` beside a worker, which ends after it."""
    stop = AsyncFlag()

    async def work() -> None:
        await memory.run_worker(stop=stop)

    async def act() -> None:
        try:
            await then()
        finally:
            stop.set()

    await async_side_by_side([work, act])


async def learnt_from(session: AsyncSession, seconds: float = 30) -> None:
    """Wait until a session was learnt from."""
    for _ in range(int(seconds / 0.05)):
        if (await session.refresh()).summary_seq:
            return
        await async_wait_for(AsyncFlag(), 0.05)
    raise AssertionError("nobody has learnt from it")


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that never ask by themselves."""
    for half in ("_async", "_sync"):
        monkeypatch.setattr(f"chatmemory.{half}.memories.listener.DEAF_POLL_SECONDS", 600.0)


async def talk(memory: AsyncChatMemory) -> AsyncSession:
    """A session with something to learn, which is not due."""
    session = await memory.tenant("acme").sessions.create(user_id="ann")
    await session.append("user", "I moved to Lisbon.")
    return session


@pytest.mark.usefixtures("silent")
async def test_a_worker_is_woken_by_postgres(postgres_url: str, settings: Settings) -> None:
    """By an end and by an append that makes a session due; and by nothing else, as it never asks."""
    settings = settings.model_copy(update={"worker_poll_seconds": 600.0, "consolidation_messages": 3})
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:

        async def act() -> None:
            first = await talk(memory)
            await first.end()
            await learnt_from(first)
            second = await talk(memory)
            await second.append_many([{"role": "user", "content": "And I like it."}] * 2)
            await learnt_from(second)

        await beside_a_worker(memory, act)


@pytest.mark.usefixtures("silent")
async def test_a_worker_hears_again_after_its_connection_was_lost(postgres_url: str, settings: Settings) -> None:
    """A session that becomes due meanwhile is found when the worker is woken."""
    settings = settings.model_copy(update={"worker_poll_seconds": 600.0})
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:

        async def act() -> None:
            first = await talk(memory)
            await first.end()
            await learnt_from(first)
            # The listening connection alone: its last statement is the check that follows a notification.
            ended = "select pg_terminate_backend(pid) from pg_stat_activity where query = 'select' and datname = "
            assert rows(postgres_url, ended + "current_database()") == [(True,)]
            second = await talk(memory)
            await second.end()
            await learnt_from(second)

        await beside_a_worker(memory, act)


async def test_a_worker_that_hears_nothing_asks(
    postgres_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a transaction pooler, where notifications reach nobody."""
    for half in ("_async", "_sync"):
        monkeypatch.setattr(f"chatmemory.{half}.memories.listener.PROOF_SECONDS", 0.0)
        monkeypatch.setattr(f"chatmemory.{half}.memories.listener.DEAF_POLL_SECONDS", 0.05)
    settings = settings.model_copy(update={"worker_poll_seconds": 600.0})
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:

        async def act() -> None:
            for _ in range(3):
                session = await talk(memory)
                await session.end()
                await learnt_from(session)

        await beside_a_worker(memory, act)
