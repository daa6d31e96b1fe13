# Generated from tests/_async/test_reopening.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The conversation is there tomorrow: an idle end closes a visit, and what its user ended goes on in a successor."""

from datetime import timedelta
from typing import Any, Literal

import psycopg
import pytest

from chatmemory import (
    ChatMemory,
    InvalidInputError,
    Session,
    SessionEndedError,
    SessionLimitError,
    SessionNotFoundError,
    Settings,
)
from chatmemory._concurrency import side_by_side
from tests._sync.test_sessions import sessions_of, with_settings
from tests.fixtures.openai_server import OpenAIServer

LISBON = "I have lived in Lisbon since the spring of 2019 with my sister."


def thread(memory: ChatMemory, user_id: str = "ann", id: str = "thread-1", **how: Any) -> Session:
    """Resume or create a session as an adapter does."""
    return sessions_of(memory).resume_or_create(id, user_id=user_id, on_missing="adopt", **how)


def expire(memory: ChatMemory, how: str, session: Session) -> None:
    """End a session as nobody wanted it to end."""
    if how == "clean-up":
        with with_settings(memory, session_timeout_hours=1e-9) as hasty:
            hasty.clean_up()
    elif how == "the app":
        session.expire(reason="quota")
    elif how == "end_inactive":
        sessions_of(memory).end_inactive(timedelta(0))
    elif how == "limit":
        with with_settings(memory, max_sessions_per_user=1) as full:
            (sessions_of(full).create(user_id="ann")).delete()
    assert not session.refresh().is_active


@pytest.mark.parametrize("learnt", [True, False])
@pytest.mark.parametrize("how", ["clean-up", "the app", "end_inactive", "limit"])
def test_under_an_adopted_id_the_conversation_is_there_tomorrow(memory: ChatMemory, how: str, learnt: bool) -> None:
    """It is reopened with its messages, its watermark and its memories; no message is learnt from twice."""
    first = thread(memory)
    first.append_many([{"role": "user", "content": f"{LISBON} {n}"} for n in range(4)])
    expire(memory, how, first)
    if learnt:
        memory.run_due()
    again = thread(memory)
    assert (again.id, again.info.status, again.info.ended_at, again.info.archived_at) == (
        "thread-1",
        "active",
        None,
        None,
    )
    assert again.info.summary_seq == (4 if learnt else 0)
    assert again.append("user", "And my boat is called Maria Helena.").seq == 5
    assert [message.seq for message in again.context()] == [1, 2, 3, 4, 5]
    assert thread(memory).id == "thread-1"
    types = [event.type for event in again.events()]
    assert types.count("reopened") == 1
    assert types.index("reopened") > types.index("ended" if how == "limit" else "expired")
    again.end()
    memory.run_due()
    memories = memory.tenant("acme").memories.list(user_id="ann", kinds=["episode"])
    cited = sorted(source.from_seq for memory in memories for source in memory.sources)
    assert cited == [1, 2, 3, 4, 5]
    assert again.refresh().summary_seq == 5


def test_a_resume_after_the_timeout_reopens_as_after_the_clean_up(memory: ChatMemory) -> None:
    """The visit was closed, whether the clean-up came first or not, and the conversation goes on."""
    first = thread(memory)
    first.append("user", LISBON)
    with with_settings(memory, session_timeout_hours=1e-9) as hasty:
        thread(hasty)
    again = thread(memory)
    assert (again.id, again.info.last_seq) == ("thread-1", 1)
    assert [event.type for event in again.events()] == ["created", "expired", "reopened"]


def test_what_a_closed_visit_left_is_still_due(memory: ChatMemory) -> None:
    """Reopened before a worker came, it is learnt from now, and not after forty more messages; then as declared."""
    first = thread(memory)
    first.append_many([{"role": "user", "content": f"{LISBON} {n}"} for n in range(3)])
    first.expire()
    first.reopen()
    assert memory.run_due().processed == 1
    assert first.refresh().summary_seq == 3
    first.append("user", LISBON)
    assert memory.run_due().processed == 0


def test_a_visit_without_a_message_is_learnt_from_no_second_time(memory: ChatMemory) -> None:
    """Reopened and idle again, nothing is due."""
    first = thread(memory)
    first.append_many([{"role": "user", "content": f"{LISBON} {n}"} for n in range(4)])
    first.expire()
    assert memory.run_due().processed == 1
    first.reopen()
    first.expire()
    assert memory.run_due().processed == 0


@pytest.mark.parametrize("how", ["clean-up", "limit"])
def test_reopening_is_asked_for(memory: ChatMemory, how: str) -> None:
    """Without adopt, it is "new" unless on_expired says otherwise; with adopt the other way round."""
    sessions = sessions_of(memory)
    first = sessions.create(user_id="ann", session_id="s-1")
    first.append("user", LISBON)
    expire(memory, how, first)
    assert sessions.resume_or_create("s-1", user_id="ann").id != "s-1"
    assert sessions.resume_or_create("s-1", user_id="ann", on_expired="new").id != "s-1"
    assert thread(memory, id="s-1", on_expired="new").id != "s-1"
    assert sessions.resume_or_create("s-1", user_id="bob", on_expired="reopen").id != "s-1"
    assert sessions.resume_or_create("s-1", user_id="ann", kind="general", on_expired="reopen").id != "s-1"
    again = sessions.resume_or_create("s-1", user_id="ann", on_expired="reopen")
    assert (again.id, again.info.last_seq) == ("s-1", 1)
    with pytest.raises(InvalidInputError, match="on_expired"):
        sessions.resume_or_create("s-1", user_id="ann", on_expired="revive")  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("end", ["end", "fail", "cancel"])
def test_what_its_user_ended_goes_on_in_a_successor(memory: ChatMemory, end: str) -> None:
    """The successor begins with the summary, also if it is made later; and its own successor with both."""
    first = thread(memory)
    first.append_many([{"role": "user", "content": LISBON}] + [{"role": "user", "content": "Bye."}] * 3)
    (first.cancel() if end == "cancel" else first.end(success=end == "end"))
    second = thread(memory)
    assert (second.id == first.id, second.info.parent_id, second.info.summary) == (False, first.id, None)
    memory.run_due()
    second = thread(memory)
    assert second.summary == first.refresh().summary
    assert "Lisbon" in (second.summary or "")
    context = second.append_and_context([{"role": "user", "content": "Hello again"}], max_tokens=1000)
    assert "Lisbon" in (context.summary or "")
    assert context.omitted is None
    assert context.tokens <= 1000
    assert "Lisbon" in ((thread(memory).context()).summary or "")
    second.append_many([{"role": "user", "content": "My boat is called Maria Helena, and it leaks."}])
    second.end()
    memory.run_due()
    third = thread(memory)
    assert third.info.parent_id == second.id
    assert "Lisbon" in (third.summary or "")
    assert "Maria Helena" in (third.summary or "")
    third.expire()
    assert thread(memory).id == third.id
    tight = third.append_and_context([{"role": "user", "content": "word " * 40}], max_tokens=80)
    assert tight.tokens <= 80


@pytest.mark.parametrize("how", ["erase", "delete"])
def test_a_summary_goes_with_its_session(memory: ChatMemory, how: str) -> None:
    """The summary of a deleted or erased session is gone from its successors; a restored one gives it back."""
    first = thread(memory)
    first.append_many([{"role": "user", "content": LISBON}] + [{"role": "user", "content": "Bye."}] * 3)
    first.end()
    memory.run_due()
    second = thread(memory)
    second.append("user", "A word.")
    second.end()
    third = thread(memory)
    kept = memory.tenant("acme").sessions.get(third.id)
    third.append("user", "Another word.")
    assert "Lisbon" in (third.summary or "")
    assert "Lisbon" in (kept.context().summary or "")
    assert "Lisbon" in (second.refresh().summary or "")
    (first.erase() if how == "erase" else first.delete())
    assert "Lisbon" not in (third.append_and_context([{"role": "user", "content": "A third."}]).summary or "")
    assert "Lisbon" not in (kept.context().summary or "")
    for later in (second, third):
        assert "Lisbon" not in (later.refresh().summary or "")
        assert "Lisbon" not in (later.context().summary or "")
    if how == "delete":
        first.restore()
        assert "Lisbon" in (second.refresh().summary or "")


def test_the_summary_of_a_second_end_supersedes_the_first(postgres_url: str, openai_server: OpenAIServer) -> None:
    """Of a session that ended twice one summary memory holds, and the other is closed by it."""
    with ChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        session = thread(memory)
        for _ in "12":
            session.reopen()
            session.append_many([{"role": "user", "content": LISBON}] * 4)
            session.expire()
            assert memory.run_due().failed == 0
        session.reopen()
        session.expire()
        assert memory.run_due().processed == 0
        memories = memory.tenant("acme").memories
        [summary] = memories.list(user_id="ann", kinds=["summary"])
        closed = list(memories.list(user_id="ann", kinds=["summary"], include_closed=True))
    assert [each.superseded_by for each in closed if each.id != summary.id] == [summary.id]


def test_a_deleted_thread_is_not_reopened(memory: ChatMemory) -> None:
    """A hidden session stays hidden; an erased id begins anew."""
    first = thread(memory)
    first.append("user", LISBON)
    first.expire()
    first.delete()
    second = thread(memory)
    assert (second.id == first.id, second.info.message_count) == (False, 0)
    with pytest.raises(SessionNotFoundError):
        first.reopen()
    other = thread(memory, id="thread-2")
    other.expire()
    other.erase()
    again = thread(memory, id="thread-2")
    assert (again.id, [event.type for event in again.events()]) == ("thread-2", ["created"])
    with pytest.raises(SessionNotFoundError):
        other.reopen()


@pytest.mark.parametrize("kind", ["training", "research"])
def test_runs_are_not_reopened(memory: ChatMemory, kind: str) -> None:
    """The record of a run stays as it was."""
    sessions = sessions_of(memory)
    run = sessions.create(user_id="ann", kind=kind, session_id="run-1")
    run.expire()
    missing: Literal["new", "adopt"]
    for missing in ("new", "adopt"):
        other = sessions.resume_or_create("run-1", user_id="ann", kind=kind, on_missing=missing, on_expired="reopen")
        assert other.id != "run-1"
    with pytest.raises(SessionEndedError, match="a run that has ended is not reopened"):
        run.reopen()
    with pytest.raises(SessionEndedError, match="a run that has ended is not reopened"):
        run.append("user", "Go on")


def test_the_error_of_a_handle_that_was_open_too_long_says_what_to_do(memory: ChatMemory) -> None:
    """An append after the end is refused, with the advice to reopen; the same handle then goes on."""
    session = thread(memory)
    session.append("user", LISBON)
    with with_settings(memory, session_timeout_hours=1e-9) as hasty:
        hasty.clean_up()
    with pytest.raises(SessionEndedError, match=r"expired.*reopen\(\)"):
        session.append("user", "Still there?")
    assert session.reopen().is_active
    assert session.append("user", "Still there?").seq == 2
    assert len(session.context()) == 2


def test_reopening_an_active_session_changes_nothing(memory: ChatMemory) -> None:
    """It is only used."""
    session = thread(memory)
    before = session.info
    after = session.reopen()
    assert after.last_active_at > before.last_active_at
    assert after.updated_at == before.updated_at
    assert [event.type for event in session.events()] == ["created"]


@pytest.mark.parametrize("by", ["handle", "resume"])
def test_a_reopened_session_counts_again(memory: ChatMemory, redis_url: str, by: str) -> None:
    """It pushes out the one that was idle longest, also where Redis knows that one, or is refused."""
    with with_settings(memory, max_sessions_per_user=2, redis_url=redis_url) as full:
        first, second, third = [thread(full, id=f"thread-{n}") for n in "123"]
        assert first.refresh().status == "completed"
        for _ in "12":
            thread(full, id="thread-2")
            thread(full, id="thread-3")
        (first.reopen() if by == "handle" else thread(full, id="thread-1"))
        assert first.refresh().is_active
        assert not second.refresh().is_active
        again = thread(full, id="thread-2")
        again.append("user", LISBON)
        assert [each.refresh().is_active for each in (first, second, third)] == [True, True, False]
    with with_settings(memory, max_sessions_per_user=2, session_limit_policy="refuse") as strict:
        with pytest.raises(SessionLimitError):
            thread(strict, id="thread-3")
        with pytest.raises(SessionLimitError):
            (sessions_of(strict).get("thread-3")).reopen()
    assert not (sessions_of(memory).get("thread-3")).info.is_active


def test_many_reopen_at_once(memory: ChatMemory, postgres_url: str) -> None:
    """All get the same session, and it is reopened once."""
    first = thread(memory)
    first.append("user", LISBON)
    first.expire()
    seen: list[str] = []

    def resume() -> None:
        with ChatMemory.open(postgres_url) as memory:
            session = thread(memory)
            session.append("user", "Hello")
            seen.append(session.id)

    side_by_side([resume] * 8)
    assert seen == ["thread-1"] * 8
    assert [event.type for event in first.events()].count("reopened") == 1
    assert first.refresh().last_seq == 9


def test_without_a_timeout_nothing_expires(memory: ChatMemory, postgres_url: str) -> None:
    """An open-ended mode: no clean-up and no resume ends a session."""
    session = thread(memory)
    session.append("user", LISBON)
    with psycopg.connect(postgres_url) as connection:
        connection.execute("update chatmemory.sessions set last_active_at = now() - interval '9 years'")
    with with_settings(memory, session_timeout_hours=None) as patient:
        assert patient.clean_up().expired == 0
        assert (sessions_of(patient).resume_or_create("thread-1", user_id="ann")).id == "thread-1"


def test_the_open_ended_mode_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an argument it is None, as a variable the word none."""
    assert Settings(session_timeout_hours=None).session_timeout.days > 30_000
    for word in ("none", "None"):
        monkeypatch.setenv("CHATMEMORY_SESSION_TIMEOUT_HOURS", word)
        assert Settings().session_timeout_hours is None
    monkeypatch.setenv("CHATMEMORY_SESSION_TIMEOUT_HOURS", "12")
    assert Settings().session_timeout_hours == 12


def test_a_fork_has_a_life_of_its_own(memory: ChatMemory) -> None:
    """Reopening a fork touches no parent, nor the other way round."""
    first = thread(memory)
    first.append("user", LISBON)
    fork = first.fork()
    first.expire()
    fork.expire()
    assert fork.reopen().is_active
    assert not first.refresh().is_active
    assert thread(memory).id == "thread-1"


def test_a_handle_of_a_sync_memory_reopens_too(memory: ChatMemory) -> None:
    """The two halves have the same calls."""
    session = memory.tenant("acme").sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    session.append("user", LISBON)
    session.expire()
    assert session.reopen().is_active
