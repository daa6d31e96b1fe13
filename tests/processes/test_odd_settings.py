"""Concurrent calls under settings that a database, a login, the environment or the URL brings."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg import sql

from chatmemory import AsyncChatMemory, ChatMemory, Settings
from tests.fixtures.odd_settings import WAYS, bring
from tests.fixtures.postgres import on_login

POOL = Settings(postgres_pool_max_size=10, cleanup_inactive_sessions=False)


def check_written(url: str, id: str) -> None:
    """See that each of the 90 writes was stored, and each once."""
    with ChatMemory.open(url) as memory:
        sessions = memory.tenant("acme").sessions
        session = sessions.get(id)
        assert [message.seq for message in session.history(limit=100)] == list(range(1, 31))
        assert len(session.info.metadata) == 15
        assert sessions.list(status="active", limit=100, with_total=True).total == 16


def writes(memory: Any, session: Any) -> list[Callable[[int], Any]]:
    """Writes of different kinds, each with a number."""
    sessions = memory.tenant("acme").sessions
    return [
        lambda n: session.append("user", str(n)),
        lambda n: session.append("user", str(n), message_id=f"m-{n}"),
        lambda n: sessions.resume_or_create(session.id, user_id="ann"),
        lambda n: sessions.create(user_id="ann"),
        lambda n: session.update(metadata={str(n): n}),
        lambda n: memory.tenant("acme").items.put(("a",), "k", {"n": n}),
    ]


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
@pytest.mark.parametrize("way", WAYS)
async def test_concurrent_tasks_all_succeed(
    isolation: str, way: str, postgres_url: str, app_login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """90 writes at once, though transactions are serializable by default: each is stored, and each once."""
    url = bring(postgres_url, app_login, way, {"default_transaction_isolation": isolation}, monkeypatch)
    async with AsyncChatMemory.open(url, settings=POOL) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        calls = writes(memory, session)

        async def write(n: int) -> None:
            call: Awaitable[Any] = calls[n % len(calls)](n)
            await call

        await asyncio.gather(*map(write, range(90)))
    check_written(url, session.id)


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
def test_concurrent_threads_all_succeed(
    isolation: str, postgres_url: str, app_login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same from threads."""
    url = bring(postgres_url, app_login, "role", {"default_transaction_isolation": isolation}, monkeypatch)
    with ChatMemory.open(url, settings=POOL) as memory, ThreadPoolExecutor(10) as threads:
        session = memory.tenant("acme").sessions.create(user_id="ann")
        calls = writes(memory, session)
        list(threads.map(lambda n: calls[n % len(calls)](n), range(90)))
    check_written(url, session.id)


def wait_until_blocked(url: str, calls: list[Future[Any]], milliseconds: int) -> None:
    """Wait until each call's statement has waited for a lock for so long, or one of the calls has ended."""
    query = (
        "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' "
        "and clock_timestamp() - query_start > %s * interval '1 ms'"
    )
    with psycopg.connect(url, autocommit=True) as connection:
        while not any(call.done() for call in calls) and connection.execute(
            query.encode(), (milliseconds,)
        ).fetchall() != [(len(calls),)]:
            connection.execute("select pg_sleep(0.02)")


@pytest.fixture
def locked_session(postgres_url: str) -> Iterator[tuple[str, psycopg.Connection[Any]]]:
    """A session whose row another transaction holds."""
    with ChatMemory.open(postgres_url) as memory:
        session = memory.tenant("acme").sessions.create(user_id="ann")
    with psycopg.connect(postgres_url) as connection:
        connection.execute("select from chatmemory.sessions for update")
        yield session.id, connection


@pytest.mark.parametrize("odd", [{"lock_timeout": "50ms"}, {"statement_timeout": "200ms"}])
@pytest.mark.parametrize("way", WAYS)
def test_a_wait_does_not_end_early(
    odd: dict[str, str],
    way: str,
    postgres_url: str,
    app_login: str,
    locked_session: tuple[str, psycopg.Connection[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An append and a change that meet a lock wait for it, whatever limits the login's statements have."""
    id, holder = locked_session
    url = bring(postgres_url, app_login, way, odd, monkeypatch)
    with ChatMemory.open(url, settings=POOL) as memory, ThreadPoolExecutor(2) as threads:
        session = memory.tenant("acme").sessions.get(id)
        written: list[Future[Any]] = [
            threads.submit(session.append, "user", "Hello"),
            threads.submit(session.update, title="Lisbon"),
        ]
        try:
            wait_until_blocked(on_login(postgres_url, "postgres"), written, 400)
        finally:
            holder.rollback()
        for each in written:
            each.result()
        assert (session.refresh().title, session.info.message_count) == ("Lisbon", 1)


def test_settings_that_change_meanwhile(postgres_url: str, app_login: str) -> None:
    """New connections bring new settings; the calls go on, and also once the settings are usual again."""
    with ChatMemory.open(on_login(postgres_url, app_login), settings=POOL) as memory, ThreadPoolExecutor(5) as threads:
        session = memory.tenant("acme").sessions.create(user_id="ann")
        for value in ("serializable", "read committed"):
            with psycopg.connect(postgres_url, autocommit=True) as connection:
                connection.execute(
                    sql.SQL("alter role {} set default_transaction_isolation to {}").format(
                        sql.Identifier(app_login), sql.Literal(value)
                    )
                )
                connection.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity where usename = %s", (app_login,)
                )
            list(threads.map(lambda n: session.append("user", str(n)), range(10)))
        assert len(session.history(limit=100)) == 20
