"""Sessions resumed from Redis: only what may be resumed, only by whom it belongs to."""

from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest

from chatmemory import AsyncChatMemory, AsyncSession, ChatMemoryError, Settings


@pytest.fixture
async def other_memory(postgres_url: str, redis_url: str, settings: Settings) -> AsyncIterator[AsyncChatMemory]:
    """Another process's memory, on the same Postgres and Redis."""
    async with AsyncChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        yield memory


async def resume(memory: AsyncChatMemory, id: str | None, user: str = "ann", tenant: str = "acme") -> AsyncSession:
    """Resume the session as an app does at every turn."""
    return await memory.tenant(tenant).sessions.resume_or_create(id, user_id=user)


async def warm(memory: AsyncChatMemory) -> AsyncSession:
    """A session that is resumed from Redis."""
    session = await resume(memory, None)
    await session.append("user", "Hi")
    for _ in range(2):
        assert (await resume(memory, session.id)).id == session.id
    return session


async def test_a_warm_session_needs_no_postgres(
    async_cached_memory: AsyncChatMemory, postgres_url: str, redis_url: str, settings: Settings
) -> None:
    """With Postgres out of reach it is resumed all the same, with its info; a cold one is not."""
    session = await warm(async_cached_memory)
    nowhere = "postgresql://nobody@127.0.0.1:1/x"
    quick = settings.model_copy(update={"postgres_timeout_seconds": 0.2})
    async with AsyncChatMemory.open(nowhere, redis=redis_url, settings=quick) as cut_off:
        again = await resume(cut_off, session.id)
        assert (again.id, again.info.user_id, again.info.status) == (session.id, "ann", "active")
        with pytest.raises(ChatMemoryError):
            await resume(cut_off, "unknown")


@pytest.mark.parametrize("how", ["end", "delete", "erase", "end_many", "end_inactive"])
async def test_what_has_ended_is_not_resumed(
    async_cached_memory: AsyncChatMemory, other_memory: AsyncChatMemory, how: str
) -> None:
    """Ended, deleted or erased by another process: the next resume creates a new session."""
    session = await warm(async_cached_memory)
    sessions = other_memory.tenant("acme").sessions
    if how == "end_many":
        await sessions.end_many([session.id])
    elif how == "end_inactive":
        await sessions.end_inactive(timedelta(0))
    else:
        await getattr(await sessions.get(session.id), how)()
    for memory in (async_cached_memory, other_memory):
        assert (await resume(memory, session.id)).id != session.id


async def test_the_session_a_limit_has_ended_is_not_resumed(
    postgres_url: str, redis_url: str, settings: Settings
) -> None:
    """A new session over max_sessions_per_user ends the oldest, in Redis too."""
    settings = settings.model_copy(update={"max_sessions_per_user": 1})
    async with AsyncChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        session = await warm(memory)
        await resume(memory, None)
        assert (await resume(memory, session.id)).id != session.id


async def test_an_idle_session_is_not_resumed(
    async_cached_memory: AsyncChatMemory, postgres_url: str, redis_url: str, settings: Settings
) -> None:
    """An entry in Redis is valid for a tenth of session_timeout_hours; then Postgres decides."""
    session = await warm(async_cached_memory)
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute("update chatmemory.sessions set last_active_at = now() - interval '2 days'")
    async with AsyncChatMemory.open(
        postgres_url, redis=redis_url, settings=settings.model_copy(update={"session_timeout_hours": 1e-6})
    ) as short:
        assert (await resume(short, session.id)).id != session.id


async def test_never_for_another_user_or_tenant_or_kind(async_cached_memory: AsyncChatMemory) -> None:
    """The cache answers the one it was made for."""
    session = await warm(async_cached_memory)
    assert (await resume(async_cached_memory, session.id, user="ben")).id != session.id
    assert (await resume(async_cached_memory, session.id, tenant="other")).id != session.id
    sessions = async_cached_memory.tenant("acme").sessions
    assert (await sessions.resume_or_create(session.id, user_id="ann", kind="general")).id != session.id


async def test_an_update_is_seen(async_cached_memory: AsyncChatMemory, other_memory: AsyncChatMemory) -> None:
    """A new title is there at the next resume."""
    session = await warm(async_cached_memory)
    await (await other_memory.tenant("acme").sessions.get(session.id)).update(title="Renamed")
    assert (await resume(async_cached_memory, session.id)).info.title == "Renamed"


async def test_an_old_answer_is_not_kept(async_cached_memory: AsyncChatMemory) -> None:
    """An answer read from Postgres before the session ended is not stored in Redis afterwards."""
    session = await warm(async_cached_memory)
    windows, info = async_cached_memory._windows, session.info
    await windows.forget_user("acme", "ann")
    assert await windows.resumable("acme", "ann", "new chat s", "lease") is None
    await session.end()
    await windows.resumed(info, "new chat s", "lease")
    assert await windows.resumable("acme", "ann", "new chat s", "other") is None


async def test_it_can_be_switched_off(postgres_url: str, redis_url: str, settings: Settings) -> None:
    """enable_session_caching=False asks Postgres each time."""
    settings = settings.model_copy(update={"enable_session_caching": False})
    async with AsyncChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        session = await warm(memory)
        assert await memory._windows.resumable("acme", "ann", f"new chat {session.id}", "lease") is None


async def test_what_ended_for_a_restored_session_is_not_resumed(
    async_cached_memory: AsyncChatMemory, other_memory: AsyncChatMemory
) -> None:
    """A handle's restore() may end the user's oldest session: no process resumes that from Redis."""
    deleted = await resume(async_cached_memory, None)
    await deleted.delete()
    limited = other_memory.settings.model_copy(update={"max_sessions_per_user": 1})
    deleted._state.parts = deleted._state.parts._replace(settings=limited)
    current = await warm(async_cached_memory)
    await deleted.restore()
    assert (await resume(async_cached_memory, current.id)).id != current.id
