from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chatmemory import (
    AsyncChatMemory,
    AsyncSessions,
    InvalidInputError,
    SessionExistsError,
    SessionInfo,
    SessionLimitError,
    SessionNotFoundError,
    Settings,
)
from tests.helpers import calls


def sessions_of(memory: AsyncChatMemory) -> AsyncSessions:
    """The sessions of the usual tenant."""
    return memory.tenant("acme").sessions


def with_settings(memory: AsyncChatMemory, **changes: object) -> AsyncChatMemory:
    """Another memory on the same database."""
    settings = Settings.model_validate({**memory.settings.model_dump(), **changes})
    return AsyncChatMemory.open(settings=settings)


async def test_resume_finds_the_active_session(async_memory: AsyncChatMemory) -> None:
    """The same user gets the same session back; its handle knows how far it has come."""
    sessions = sessions_of(async_memory)
    session = await sessions.resume_or_create(user_id="ann")
    await session.append("user", "Hello")
    resumed = await sessions.resume_or_create(session.id, user_id="ann")
    assert (resumed.id, resumed.info.last_seq) == (session.id, 1)


@pytest.mark.parametrize("what", ["unknown", "ended", "deleted", "foreign", "kind", "erased"])
async def test_what_cannot_be_resumed_gives_a_new_session(async_memory: AsyncChatMemory, what: str) -> None:
    """Anything but an active session of this user and kind gives a new id."""
    sessions = sessions_of(async_memory)
    session = await sessions.create(user_id="bob" if what == "foreign" else "ann", session_id="old")
    if what == "ended":
        await session.end()
    if what == "deleted":
        await session.delete()
    if what == "erased":
        await session.erase()
    asked = "never-seen" if what == "unknown" else "old"
    kind = "training" if what == "kind" else "chat"
    new = await sessions.resume_or_create(asked, user_id="ann", kind=kind, metadata={"k": 1})
    assert new.id not in ("old", "never-seen")
    assert (new.info.user_id, new.info.kind, new.info.metadata) == ("ann", kind, {"k": 1})


async def test_adopt_creates_an_unknown_id(async_memory: AsyncChatMemory) -> None:
    """Under adopt the id given is the id, and comes back the next time."""
    sessions = sessions_of(async_memory)
    first = await sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    again = await sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    assert first.id == again.id == "thread-1"


async def test_adopt_never_takes_over_a_session(async_memory: AsyncChatMemory) -> None:
    """Another user's id raises, whatever state that session is in."""
    sessions = sessions_of(async_memory)
    session = await sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    for change in (None, session.end, session.delete):
        if change is not None:
            await change()
        with pytest.raises(SessionNotFoundError, match="thread-1"):
            await sessions.resume_or_create("thread-1", user_id="bob", on_missing="adopt")


async def test_adopt_stays_in_one_conversation_after_the_end(async_memory: AsyncChatMemory) -> None:
    """Once the adopted session has ended, its successor is found under the old id, again and again."""
    sessions = sessions_of(async_memory)
    first = await sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    await first.end()
    second = await sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    third = await sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    assert second.id == third.id != first.id
    assert second.info.parent_id == first.id
    general = [
        await sessions.resume_or_create("thread-1", user_id="ann", kind="general", on_missing="adopt") for _ in "12"
    ]
    assert general[0].id == general[1].id != second.id
    await second.end()
    fourth = await sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    assert fourth.id not in (first.id, second.id)


async def test_an_idle_session_expires_on_resume(async_memory: AsyncChatMemory) -> None:
    """Idle for longer than session_timeout_hours, it is expired and a new one made."""
    session = await sessions_of(async_memory).create(user_id="ann")
    async with with_settings(async_memory, session_timeout_hours=1e-9) as hasty:
        new = await sessions_of(hasty).resume_or_create(session.id, user_id="ann")
    assert new.id != session.id
    assert (await session.refresh()).status == "expired"
    assert [event.type for event in await session.events()] == ["created", "expired"]


async def test_clean_up_expires_idle_sessions_of_all_tenants(async_memory: AsyncChatMemory) -> None:
    """The background pass sees every tenant, and leaves sessions alone that are not idle."""
    idle = [await async_memory.tenant(t).sessions.create(user_id="ann") for t in ("acme", "umbrella")]
    assert (await async_memory.clean_up()).expired == 0
    async with with_settings(async_memory, session_timeout_hours=1e-9) as hasty:
        assert (await hasty.clean_up()).expired == 2
    assert [(await session.refresh()).status for session in idle] == ["expired", "expired"]
    assert [event.type for event in await idle[1].events()] == ["created", "expired"]


async def test_clean_up_runs_beside_the_first_use(async_memory: AsyncChatMemory) -> None:
    """With cleanup_inactive_sessions, opening a session expires the idle ones without a call of its own."""
    idle = await sessions_of(async_memory).create(user_id="bob")
    async with with_settings(async_memory, session_timeout_hours=1e-9, cleanup_inactive_sessions=True) as hasty:
        await sessions_of(hasty).create(user_id="ann")
        await hasty._background.wait()
    assert (await idle.refresh()).status == "expired"


async def test_end_inactive_is_of_this_tenant_only(async_memory: AsyncChatMemory) -> None:
    """It returns what it has ended, and touches no other tenant."""
    mine = await sessions_of(async_memory).create(user_id="ann")
    other = await async_memory.tenant("umbrella").sessions.create(user_id="ann")
    assert await sessions_of(async_memory).end_inactive(timedelta(hours=1)) == []
    ended = await sessions_of(async_memory).end_inactive(timedelta(0))
    assert [(info.id, info.status) for info in ended] == [(mine.id, "expired")]
    assert (await other.refresh()).status == "active"
    with pytest.raises(InvalidInputError, match="idle_for"):
        await sessions_of(async_memory).end_inactive(timedelta(seconds=-1))


async def test_create_refuses_an_id_that_exists(async_memory: AsyncChatMemory) -> None:
    """Within a tenant an id is one session; another tenant may use the same."""
    sessions = sessions_of(async_memory)
    await sessions.create(user_id="ann", session_id=7)
    with pytest.raises(SessionExistsError, match="'7'"):
        await sessions.create(user_id="bob", session_id="7")
    assert (await async_memory.tenant("umbrella").sessions.create(user_id="ann", session_id="7")).id == "7"


async def test_the_session_limit_ends_the_oldest(async_memory: AsyncChatMemory) -> None:
    """One more than allowed ends the one that was idle longest; other kinds and users do not count."""
    async with with_settings(async_memory, max_sessions_per_user=2) as limited:
        sessions = sessions_of(limited)
        run = await sessions.create(user_id="ann", kind="training")
        first, second = [await sessions.create(user_id="ann") for _ in range(2)]
        await first.append("user", "still here")
        third = await sessions.create(user_id="ann")
        states = [(await session.refresh()).status for session in (run, first, second, third)]
    assert states == ["active", "active", "completed", "active"]
    assert (await sessions_of(async_memory).get(second.id)).info.ended_at is not None


async def test_the_session_limit_can_refuse(async_memory: AsyncChatMemory) -> None:
    """With "refuse" nothing is ended, and the error says what to do; an ended one makes room."""
    async with with_settings(async_memory, max_sessions_per_user=1, session_limit_policy="refuse") as limited:
        sessions = sessions_of(limited)
        first = await sessions.create(user_id="ann")
        for call in calls(
            lambda: sessions.create(user_id="ann"),
            lambda: sessions.resume_or_create(user_id="ann"),
            lambda: first.fork(),
        ):
            with pytest.raises(SessionLimitError, match="max_sessions_per_user"):
                await call()
        await first.end()
        assert (await sessions.create(user_id="ann")).info.is_active


async def test_list_filters_sorts_and_counts(async_memory: AsyncChatMemory) -> None:
    """Last active first; filters before paging; total counts all that match."""
    sessions = sessions_of(async_memory)
    made = [await sessions.create(user_id=f"user-{n % 2}") for n in range(6)]
    await made[0].append("user", "newest now")
    await made[1].end()
    page = await sessions.list(limit=2, with_total=True)
    assert [info.id for info in page] == [made[0].id, made[5].id]
    assert (page.total, len(page), page[0].id) == (6, 2, made[0].id)
    assert (await sessions.list(offset=6, with_total=True)).total == 6
    assert (await sessions.list(user_id="user-1", with_total=True)).total == 3
    assert (await sessions.list(user_id="user-1", active_only=True, with_total=True)).total == 2
    assert [info.id for info in await sessions.list(status="completed")] == [made[1].id]
    assert (await sessions.list(kind="training", with_total=True)).total == 0
    cut = made[3].info.created_at
    assert (await sessions.list(created_before=cut, with_total=True)).total == 3
    assert (await sessions.list(created_after=cut, with_total=True)).total == 3
    wrong: list[dict[str, Any]] = [
        {"limit": -1},
        {"offset": -1},
        {"status": "gone"},
        {"created_after": datetime(2020, 1, 1)},
        {"active_only": True, "status": "failed"},
    ]
    for bad in wrong:
        with pytest.raises(InvalidInputError):
            await sessions.list(**bad)


async def test_get_finds_ended_ones_and_checks_the_user(async_memory: AsyncChatMemory) -> None:
    """Missing and another user's look the same."""
    sessions = sessions_of(async_memory)
    session = await sessions.create(user_id="ann")
    await session.end()
    assert (await sessions.get(session.id, user_id="ann")).info.status == "completed"
    with pytest.raises(SessionNotFoundError) as foreign:
        await sessions.get(session.id, user_id="bob")
    with pytest.raises(SessionNotFoundError) as missing:
        await sessions.get("nowhere")
    assert str(foreign.value).replace(session.id, "nowhere") == str(missing.value)


async def test_end_many_goes_on_after_a_failure(async_memory: AsyncChatMemory) -> None:
    """Each id has its own outcome."""
    sessions = sessions_of(async_memory)
    made = [await sessions.create(user_id="ann") for _ in range(2)]
    outcome = await sessions.end_many([made[0].id, "missing", "", made[1].id])
    assert list(outcome) == [made[0].id, "missing", "", made[1].id]
    assert isinstance(outcome["missing"], SessionNotFoundError)
    assert isinstance(outcome[""], InvalidInputError)
    for session in made:
        info = outcome[session.id]
        assert isinstance(info, SessionInfo)
        assert info.status == "completed"


async def test_bad_ids_are_refused(async_memory: AsyncChatMemory) -> None:
    """Empty, blank, over-long and unstorable ids of tenants, users and sessions."""
    for bad in ("", " ", "x" * 256, "a\0b", "\ud800", None, 1.5, True, b"x"):
        with pytest.raises(InvalidInputError):
            async_memory.tenant(bad)
        with pytest.raises(InvalidInputError):
            await sessions_of(async_memory).create(user_id=bad)
        with pytest.raises(InvalidInputError):
            await sessions_of(async_memory).get(bad)
    assert (await sessions_of(async_memory).list(with_total=True)).total == 0


async def test_an_unknown_policy_for_missing_is_refused(async_memory: AsyncChatMemory) -> None:
    """on_missing has two values."""
    with pytest.raises(InvalidInputError, match="adopt"):
        await sessions_of(async_memory).resume_or_create(user_id="ann", on_missing="steal")  # type: ignore[arg-type]  # that is the point


async def test_times_are_aware(async_memory: AsyncChatMemory) -> None:
    """Every time says its zone."""
    info = (await sessions_of(async_memory).create(user_id="ann")).info
    assert info.created_at.utcoffset() is not None
    assert abs(info.created_at - datetime.now(UTC)) < timedelta(minutes=5)
