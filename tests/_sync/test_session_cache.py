# Generated from tests/_async/test_session_cache.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Sessions resumed from Redis: only what may be resumed, only by whom it belongs to."""

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from chatmemory import ChatMemory, ChatMemoryError, Session, Settings


@pytest.fixture
def other_memory(postgres_url: str, redis_url: str, settings: Settings) -> Iterator[ChatMemory]:
    """Another process's memory, on the same Postgres and Redis."""
    with ChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        yield memory


def resume(memory: ChatMemory, id: str | None, user: str = "ann", tenant: str = "acme") -> Session:
    """Resume the session as an app does at every turn."""
    return memory.tenant(tenant).sessions.resume_or_create(id, user_id=user)


def warm(memory: ChatMemory) -> Session:
    """A session that is resumed from Redis."""
    session = resume(memory, None)
    session.append("user", "Hi")
    for _ in range(2):
        assert resume(memory, session.id).id == session.id
    return session


def test_a_warm_session_needs_no_postgres(
    cached_memory: ChatMemory, postgres_url: str, redis_url: str, settings: Settings
) -> None:
    """With Postgres out of reach it is resumed all the same, with its info; a cold one is not."""
    session = warm(cached_memory)
    nowhere = "postgresql://nobody@127.0.0.1:1/x"
    quick = settings.model_copy(update={"postgres_timeout_seconds": 0.2})
    with ChatMemory.open(nowhere, redis=redis_url, settings=quick) as cut_off:
        again = resume(cut_off, session.id)
        assert (again.id, again.info.user_id, again.info.status) == (session.id, "ann", "active")
        with pytest.raises(ChatMemoryError):
            resume(cut_off, "unknown")


@pytest.mark.parametrize("how", ["end", "delete", "erase", "end_many", "end_inactive"])
def test_what_has_ended_is_not_resumed(cached_memory: ChatMemory, other_memory: ChatMemory, how: str) -> None:
    """Ended, deleted or erased by another process: the next resume creates a new session."""
    session = warm(cached_memory)
    sessions = other_memory.tenant("acme").sessions
    if how == "end_many":
        sessions.end_many([session.id])
    elif how == "end_inactive":
        sessions.end_inactive(timedelta(0))
    else:
        getattr(sessions.get(session.id), how)()
    for memory in (cached_memory, other_memory):
        assert resume(memory, session.id).id != session.id


def test_the_session_a_limit_has_ended_is_not_resumed(postgres_url: str, redis_url: str, settings: Settings) -> None:
    """A new session over max_sessions_per_user ends the oldest, in Redis too."""
    settings = settings.model_copy(update={"max_sessions_per_user": 1})
    with ChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        session = warm(memory)
        resume(memory, None)
        assert resume(memory, session.id).id != session.id


def test_an_idle_session_is_not_resumed(
    cached_memory: ChatMemory, postgres_url: str, redis_url: str, settings: Settings
) -> None:
    """An entry in Redis is valid for a tenth of session_timeout_hours; then Postgres decides."""
    session = warm(cached_memory)
    with psycopg.Connection.connect(postgres_url, autocommit=True) as connection:
        connection.execute("update chatmemory.sessions set last_active_at = now() - interval '2 days'")
    with ChatMemory.open(
        postgres_url, redis=redis_url, settings=settings.model_copy(update={"session_timeout_hours": 1e-6})
    ) as short:
        assert resume(short, session.id).id != session.id


def test_never_for_another_user_or_tenant_or_kind(cached_memory: ChatMemory) -> None:
    """The cache answers the one it was made for."""
    session = warm(cached_memory)
    assert resume(cached_memory, session.id, user="ben").id != session.id
    assert resume(cached_memory, session.id, tenant="other").id != session.id
    sessions = cached_memory.tenant("acme").sessions
    assert sessions.resume_or_create(session.id, user_id="ann", kind="general").id != session.id


def test_an_update_is_seen(cached_memory: ChatMemory, other_memory: ChatMemory) -> None:
    """A new title is there at the next resume."""
    session = warm(cached_memory)
    (other_memory.tenant("acme").sessions.get(session.id)).update(title="Renamed")
    assert resume(cached_memory, session.id).info.title == "Renamed"


def test_an_old_answer_is_not_kept(cached_memory: ChatMemory) -> None:
    """An answer read from Postgres before the session ended is not stored in Redis afterwards."""
    session = warm(cached_memory)
    windows, info = cached_memory._windows, session.info
    windows.forget_user("acme", "ann")
    assert windows.resumable("acme", "ann", "new chat s", "lease") is None
    session.end()
    windows.resumed(info, "new chat s", "lease")
    assert windows.resumable("acme", "ann", "new chat s", "other") is None


def test_it_can_be_switched_off(postgres_url: str, redis_url: str, settings: Settings) -> None:
    """enable_session_caching=False asks Postgres each time."""
    settings = settings.model_copy(update={"enable_session_caching": False})
    with ChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        session = warm(memory)
        assert memory._windows.resumable("acme", "ann", f"new chat {session.id}", "lease") is None


def test_what_ended_for_a_restored_session_is_not_resumed(cached_memory: ChatMemory, other_memory: ChatMemory) -> None:
    """A handle's restore() may end the user's oldest session: no process resumes that from Redis."""
    deleted = resume(cached_memory, None)
    deleted.delete()
    limited = other_memory.settings.model_copy(update={"max_sessions_per_user": 1})
    deleted._state.parts = deleted._state.parts._replace(settings=limited)
    current = warm(cached_memory)
    deleted.restore()
    assert resume(cached_memory, current.id).id != current.id
