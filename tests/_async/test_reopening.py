"""The conversation is there tomorrow: an idle end closes a visit, and what its user ended goes on in a successor."""

from datetime import timedelta
from typing import Any, Literal

import psycopg
import pytest

from chatmemory import (
    AsyncChatMemory,
    AsyncSession,
    ChatMemory,
    InvalidInputError,
    SessionEndedError,
    SessionLimitError,
    SessionNotFoundError,
    Settings,
)
from chatmemory._concurrency import async_side_by_side
from tests._async.test_sessions import sessions_of, with_settings
from tests.fixtures.openai_server import OpenAIServer

LISBON = "I have lived in Lisbon since the spring of 2019 with my sister."


async def thread(memory: AsyncChatMemory, user_id: str = "ann", id: str = "thread-1", **how: Any) -> AsyncSession:
    """Resume or create a session as an adapter does."""
    return await sessions_of(memory).resume_or_create(id, user_id=user_id, on_missing="adopt", **how)


async def expire(memory: AsyncChatMemory, how: str, session: AsyncSession) -> None:
    """End a session as nobody wanted it to end."""
    if how == "clean-up":
        async with with_settings(memory, session_timeout_hours=1e-9) as hasty:
            await hasty.clean_up()
    elif how == "the app":
        await session.expire(reason="quota")
    elif how == "end_inactive":
        await sessions_of(memory).end_inactive(timedelta(0))
    elif how == "limit":
        async with with_settings(memory, max_sessions_per_user=1) as full:
            await (await sessions_of(full).create(user_id="ann")).delete()
    assert not (await session.refresh()).is_active


@pytest.mark.parametrize("learnt", [True, False])
@pytest.mark.parametrize("how", ["clean-up", "the app", "end_inactive", "limit"])
async def test_under_an_adopted_id_the_conversation_is_there_tomorrow(
    async_memory: AsyncChatMemory, how: str, learnt: bool
) -> None:
    """It is reopened with its messages, its watermark and its memories; no message is learnt from twice."""
    first = await thread(async_memory)
    await first.append_many([{"role": "user", "content": f"{LISBON} {n}"} for n in range(4)])
    await expire(async_memory, how, first)
    if learnt:
        await async_memory.run_due()
    again = await thread(async_memory)
    assert (again.id, again.info.status, again.info.ended_at, again.info.archived_at) == (
        "thread-1",
        "active",
        None,
        None,
    )
    assert again.info.summary_seq == (4 if learnt else 0)
    assert (await again.append("user", "And my boat is called Maria Helena.")).seq == 5
    assert [message.seq for message in await again.context()] == [1, 2, 3, 4, 5]
    assert (await thread(async_memory)).id == "thread-1"
    types = [event.type for event in await again.events()]
    assert types.count("reopened") == 1
    assert types.index("reopened") > types.index("ended" if how == "limit" else "expired")
    await again.end()
    await async_memory.run_due()
    memories = await async_memory.tenant("acme").memories.list(user_id="ann", kinds=["episode"])
    cited = sorted(source.from_seq for memory in memories for source in memory.sources)
    assert cited == [1, 2, 3, 4, 5]
    assert (await again.refresh()).summary_seq == 5


async def test_a_resume_after_the_timeout_reopens_as_after_the_clean_up(async_memory: AsyncChatMemory) -> None:
    """The visit was closed, whether the clean-up came first or not, and the conversation goes on."""
    first = await thread(async_memory)
    await first.append("user", LISBON)
    async with with_settings(async_memory, session_timeout_hours=1e-9) as hasty:
        await thread(hasty)
    again = await thread(async_memory)
    assert (again.id, again.info.last_seq) == ("thread-1", 1)
    assert [event.type for event in await again.events()] == ["created", "expired", "reopened"]


async def test_what_a_closed_visit_left_is_still_due(async_memory: AsyncChatMemory) -> None:
    """Reopened before a worker came, it is learnt from now, and not after forty more messages; then as declared."""
    first = await thread(async_memory)
    await first.append_many([{"role": "user", "content": f"{LISBON} {n}"} for n in range(3)])
    await first.expire()
    await first.reopen()
    assert (await async_memory.run_due()).processed == 1
    assert (await first.refresh()).summary_seq == 3
    await first.append("user", LISBON)
    assert (await async_memory.run_due()).processed == 0


async def test_a_visit_without_a_message_is_learnt_from_no_second_time(async_memory: AsyncChatMemory) -> None:
    """Reopened and idle again, nothing is due."""
    first = await thread(async_memory)
    await first.append_many([{"role": "user", "content": f"{LISBON} {n}"} for n in range(4)])
    await first.expire()
    assert (await async_memory.run_due()).processed == 1
    await first.reopen()
    await first.expire()
    assert (await async_memory.run_due()).processed == 0


@pytest.mark.parametrize("how", ["clean-up", "limit"])
async def test_reopening_is_asked_for(async_memory: AsyncChatMemory, how: str) -> None:
    """Without adopt, it is "new" unless on_expired says otherwise; with adopt the other way round."""
    sessions = sessions_of(async_memory)
    first = await sessions.create(user_id="ann", session_id="s-1")
    await first.append("user", LISBON)
    await expire(async_memory, how, first)
    assert (await sessions.resume_or_create("s-1", user_id="ann")).id != "s-1"
    assert (await sessions.resume_or_create("s-1", user_id="ann", on_expired="new")).id != "s-1"
    assert (await thread(async_memory, id="s-1", on_expired="new")).id != "s-1"
    assert (await sessions.resume_or_create("s-1", user_id="bob", on_expired="reopen")).id != "s-1"
    assert (await sessions.resume_or_create("s-1", user_id="ann", kind="general", on_expired="reopen")).id != "s-1"
    again = await sessions.resume_or_create("s-1", user_id="ann", on_expired="reopen")
    assert (again.id, again.info.last_seq) == ("s-1", 1)
    with pytest.raises(InvalidInputError, match="on_expired"):
        await sessions.resume_or_create("s-1", user_id="ann", on_expired="revive")  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("end", ["end", "fail", "cancel"])
async def test_what_its_user_ended_goes_on_in_a_successor(async_memory: AsyncChatMemory, end: str) -> None:
    """The successor begins with the summary, also if it is made later; and its own successor with both."""
    first = await thread(async_memory)
    await first.append_many([{"role": "user", "content": LISBON}] + [{"role": "user", "content": "Bye."}] * 3)
    await (first.cancel() if end == "cancel" else first.end(success=end == "end"))
    second = await thread(async_memory)
    assert (second.id == first.id, second.info.parent_id, second.info.summary) == (False, first.id, None)
    await async_memory.run_due()
    second = await thread(async_memory)
    assert second.summary == (await first.refresh()).summary
    assert "Lisbon" in (second.summary or "")
    context = await second.append_and_context([{"role": "user", "content": "Hello again"}], max_tokens=1000)
    assert "Lisbon" in (context.summary or "")
    assert context.omitted is None
    assert context.tokens <= 1000
    assert "Lisbon" in ((await (await thread(async_memory)).context()).summary or "")
    await second.append_many([{"role": "user", "content": "My boat is called Maria Helena, and it leaks."}])
    await second.end()
    await async_memory.run_due()
    third = await thread(async_memory)
    assert third.info.parent_id == second.id
    assert "Lisbon" in (third.summary or "")
    assert "Maria Helena" in (third.summary or "")
    await third.expire()
    assert (await thread(async_memory)).id == third.id
    tight = await third.append_and_context([{"role": "user", "content": "word " * 40}], max_tokens=80)
    assert tight.tokens <= 80


@pytest.mark.parametrize("how", ["erase", "delete"])
async def test_a_summary_goes_with_its_session(async_memory: AsyncChatMemory, how: str) -> None:
    """The summary of a deleted or erased session is gone from its successors; a restored one gives it back."""
    first = await thread(async_memory)
    await first.append_many([{"role": "user", "content": LISBON}] + [{"role": "user", "content": "Bye."}] * 3)
    await first.end()
    await async_memory.run_due()
    second = await thread(async_memory)
    await second.append("user", "A word.")
    await second.end()
    third = await thread(async_memory)
    kept = await async_memory.tenant("acme").sessions.get(third.id)
    await third.append("user", "Another word.")
    assert "Lisbon" in (third.summary or "")
    assert "Lisbon" in ((await kept.context()).summary or "")
    assert "Lisbon" in ((await second.refresh()).summary or "")
    await (first.erase() if how == "erase" else first.delete())
    assert "Lisbon" not in ((await third.append_and_context([{"role": "user", "content": "A third."}])).summary or "")
    assert "Lisbon" not in ((await kept.context()).summary or "")
    for later in (second, third):
        assert "Lisbon" not in ((await later.refresh()).summary or "")
        assert "Lisbon" not in ((await later.context()).summary or "")
    if how == "delete":
        await first.restore()
        assert "Lisbon" in ((await second.refresh()).summary or "")


async def test_the_summary_of_a_second_end_supersedes_the_first(postgres_url: str, openai_server: OpenAIServer) -> None:
    """Of a session that ended twice one summary memory holds, and the other is closed by it."""
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        session = await thread(memory)
        for _ in "12":
            await session.reopen()
            await session.append_many([{"role": "user", "content": LISBON}] * 4)
            await session.expire()
            assert (await memory.run_due()).failed == 0
        await session.reopen()
        await session.expire()
        assert (await memory.run_due()).processed == 0
        memories = memory.tenant("acme").memories
        [summary] = await memories.list(user_id="ann", kinds=["summary"])
        closed = list(await memories.list(user_id="ann", kinds=["summary"], include_closed=True))
    assert [each.superseded_by for each in closed if each.id != summary.id] == [summary.id]


async def test_a_deleted_thread_is_not_reopened(async_memory: AsyncChatMemory) -> None:
    """A hidden session stays hidden; an erased id begins anew."""
    first = await thread(async_memory)
    await first.append("user", LISBON)
    await first.expire()
    await first.delete()
    second = await thread(async_memory)
    assert (second.id == first.id, second.info.message_count) == (False, 0)
    with pytest.raises(SessionNotFoundError):
        await first.reopen()
    other = await thread(async_memory, id="thread-2")
    await other.expire()
    await other.erase()
    again = await thread(async_memory, id="thread-2")
    assert (again.id, [event.type for event in await again.events()]) == ("thread-2", ["created"])
    with pytest.raises(SessionNotFoundError):
        await other.reopen()


@pytest.mark.parametrize("kind", ["training", "research"])
async def test_runs_are_not_reopened(async_memory: AsyncChatMemory, kind: str) -> None:
    """The record of a run stays as it was."""
    sessions = sessions_of(async_memory)
    run = await sessions.create(user_id="ann", kind=kind, session_id="run-1")
    await run.expire()
    missing: Literal["new", "adopt"]
    for missing in ("new", "adopt"):
        other = await sessions.resume_or_create(
            "run-1", user_id="ann", kind=kind, on_missing=missing, on_expired="reopen"
        )
        assert other.id != "run-1"
    with pytest.raises(SessionEndedError, match="a run that has ended is not reopened"):
        await run.reopen()
    with pytest.raises(SessionEndedError, match="a run that has ended is not reopened"):
        await run.append("user", "Go on")


async def test_the_error_of_a_handle_that_was_open_too_long_says_what_to_do(async_memory: AsyncChatMemory) -> None:
    """An append after the end is refused, with the advice to reopen; the same handle then goes on."""
    session = await thread(async_memory)
    await session.append("user", LISBON)
    async with with_settings(async_memory, session_timeout_hours=1e-9) as hasty:
        await hasty.clean_up()
    with pytest.raises(SessionEndedError, match=r"expired.*reopen\(\)"):
        await session.append("user", "Still there?")
    assert (await session.reopen()).is_active
    assert (await session.append("user", "Still there?")).seq == 2
    assert len(await session.context()) == 2


async def test_reopening_an_active_session_changes_nothing(async_memory: AsyncChatMemory) -> None:
    """It is only used."""
    session = await thread(async_memory)
    before = session.info
    after = await session.reopen()
    assert after.last_active_at > before.last_active_at
    assert after.updated_at == before.updated_at
    assert [event.type for event in await session.events()] == ["created"]


@pytest.mark.parametrize("by", ["handle", "resume"])
async def test_a_reopened_session_counts_again(async_memory: AsyncChatMemory, redis_url: str, by: str) -> None:
    """It pushes out the one that was idle longest, also where Redis knows that one, or is refused."""
    async with with_settings(async_memory, max_sessions_per_user=2, redis_url=redis_url) as full:
        first, second, third = [await thread(full, id=f"thread-{n}") for n in "123"]
        assert (await first.refresh()).status == "completed"
        for _ in "12":
            await thread(full, id="thread-2")
            await thread(full, id="thread-3")
        await (first.reopen() if by == "handle" else thread(full, id="thread-1"))
        assert (await first.refresh()).is_active
        assert not (await second.refresh()).is_active
        again = await thread(full, id="thread-2")
        await again.append("user", LISBON)
        assert [(await each.refresh()).is_active for each in (first, second, third)] == [True, True, False]
    async with with_settings(async_memory, max_sessions_per_user=2, session_limit_policy="refuse") as strict:
        with pytest.raises(SessionLimitError):
            await thread(strict, id="thread-3")
        with pytest.raises(SessionLimitError):
            await (await sessions_of(strict).get("thread-3")).reopen()
    assert not (await sessions_of(async_memory).get("thread-3")).info.is_active


async def test_many_reopen_at_once(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """All get the same session, and it is reopened once."""
    first = await thread(async_memory)
    await first.append("user", LISBON)
    await first.expire()
    seen: list[str] = []

    async def resume() -> None:
        async with AsyncChatMemory.open(postgres_url) as memory:
            session = await thread(memory)
            await session.append("user", "Hello")
            seen.append(session.id)

    await async_side_by_side([resume] * 8)
    assert seen == ["thread-1"] * 8
    assert [event.type for event in await first.events()].count("reopened") == 1
    assert (await first.refresh()).last_seq == 9


async def test_without_a_timeout_nothing_expires(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """An open-ended mode: no clean-up and no resume ends a session."""
    session = await thread(async_memory)
    await session.append("user", LISBON)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("update chatmemory.sessions set last_active_at = now() - interval '9 years'")
    async with with_settings(async_memory, session_timeout_hours=None) as patient:
        assert (await patient.clean_up()).expired == 0
        assert (await sessions_of(patient).resume_or_create("thread-1", user_id="ann")).id == "thread-1"


def test_the_open_ended_mode_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an argument it is None, as a variable the word none."""
    assert Settings(session_timeout_hours=None).session_timeout.days > 30_000
    for word in ("none", "None"):
        monkeypatch.setenv("CHATMEMORY_SESSION_TIMEOUT_HOURS", word)
        assert Settings().session_timeout_hours is None
    monkeypatch.setenv("CHATMEMORY_SESSION_TIMEOUT_HOURS", "12")
    assert Settings().session_timeout_hours == 12


async def test_a_fork_has_a_life_of_its_own(async_memory: AsyncChatMemory) -> None:
    """Reopening a fork touches no parent, nor the other way round."""
    first = await thread(async_memory)
    await first.append("user", LISBON)
    fork = await first.fork()
    await first.expire()
    await fork.expire()
    assert (await fork.reopen()).is_active
    assert not (await first.refresh()).is_active
    assert (await thread(async_memory)).id == "thread-1"


def test_a_handle_of_a_sync_memory_reopens_too(memory: ChatMemory) -> None:
    """The two halves have the same calls."""
    session = memory.tenant("acme").sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    session.append("user", LISBON)
    session.expire()
    assert session.reopen().is_active
