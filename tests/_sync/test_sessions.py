# Generated from tests/_async/test_sessions.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chatmemory import (
    ChatMemory,
    InvalidInputError,
    SessionExistsError,
    SessionInfo,
    SessionLimitError,
    SessionNotFoundError,
    Sessions,
    Settings,
)
from tests.helpers import calls


def sessions_of(memory: ChatMemory) -> Sessions:
    """The sessions of the usual tenant."""
    return memory.tenant("acme").sessions


def with_settings(memory: ChatMemory, **changes: object) -> ChatMemory:
    """Another memory on the same database."""
    settings = Settings.model_validate({**memory.settings.model_dump(), **changes})
    return ChatMemory.open(settings=settings)


def test_resume_finds_the_active_session(memory: ChatMemory) -> None:
    """The same user gets the same session back; its handle knows how far it has come."""
    sessions = sessions_of(memory)
    session = sessions.resume_or_create(user_id="ann")
    session.append("user", "Hello")
    resumed = sessions.resume_or_create(session.id, user_id="ann")
    assert (resumed.id, resumed.info.last_seq) == (session.id, 1)


@pytest.mark.parametrize("what", ["unknown", "ended", "deleted", "foreign", "kind", "erased"])
def test_what_cannot_be_resumed_gives_a_new_session(memory: ChatMemory, what: str) -> None:
    """Anything but an active session of this user and kind gives a new id."""
    sessions = sessions_of(memory)
    session = sessions.create(user_id="bob" if what == "foreign" else "ann", session_id="old")
    if what == "ended":
        session.end()
    if what == "deleted":
        session.delete()
    if what == "erased":
        session.erase()
    asked = "never-seen" if what == "unknown" else "old"
    kind = "training" if what == "kind" else "chat"
    new = sessions.resume_or_create(asked, user_id="ann", kind=kind, metadata={"k": 1})
    assert new.id not in ("old", "never-seen")
    assert (new.info.user_id, new.info.kind, new.info.metadata) == ("ann", kind, {"k": 1})


def test_adopt_creates_an_unknown_id(memory: ChatMemory) -> None:
    """Under adopt the id given is the id, and comes back the next time."""
    sessions = sessions_of(memory)
    first = sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    again = sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    assert first.id == again.id == "thread-1"


def test_adopt_never_takes_over_a_session(memory: ChatMemory) -> None:
    """Another user's id raises, whatever state that session is in."""
    sessions = sessions_of(memory)
    session = sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    for change in (None, session.end, session.delete):
        if change is not None:
            change()
        with pytest.raises(SessionNotFoundError, match="thread-1"):
            sessions.resume_or_create("thread-1", user_id="bob", on_missing="adopt")


def test_adopt_stays_in_one_conversation_after_the_end(memory: ChatMemory) -> None:
    """Once the adopted session has ended, its successor is found under the old id, again and again."""
    sessions = sessions_of(memory)
    first = sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    first.end()
    second = sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    third = sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    assert second.id == third.id != first.id
    assert second.info.parent_id == first.id
    general = [sessions.resume_or_create("thread-1", user_id="ann", kind="general", on_missing="adopt") for _ in "12"]
    assert general[0].id == general[1].id != second.id
    second.end()
    fourth = sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
    assert fourth.id not in (first.id, second.id)


def test_an_idle_session_expires_on_resume(memory: ChatMemory) -> None:
    """Idle for longer than session_timeout_hours, it is expired and a new one made."""
    session = sessions_of(memory).create(user_id="ann")
    with with_settings(memory, session_timeout_hours=1e-9) as hasty:
        new = sessions_of(hasty).resume_or_create(session.id, user_id="ann")
    assert new.id != session.id
    assert session.refresh().status == "expired"
    assert [event.type for event in session.events()] == ["created", "expired"]


def test_clean_up_expires_idle_sessions_of_all_tenants(memory: ChatMemory) -> None:
    """The background pass sees every tenant, and leaves sessions alone that are not idle."""
    idle = [memory.tenant(t).sessions.create(user_id="ann") for t in ("acme", "umbrella")]
    assert memory.clean_up().expired == 0
    with with_settings(memory, session_timeout_hours=1e-9) as hasty:
        assert hasty.clean_up().expired == 2
    assert [session.refresh().status for session in idle] == ["expired", "expired"]
    assert [event.type for event in idle[1].events()] == ["created", "expired"]


def test_clean_up_runs_beside_the_first_use(memory: ChatMemory) -> None:
    """With cleanup_inactive_sessions, opening a session expires the idle ones without a call of its own."""
    idle = sessions_of(memory).create(user_id="bob")
    with with_settings(memory, session_timeout_hours=1e-9, cleanup_inactive_sessions=True) as hasty:
        sessions_of(hasty).create(user_id="ann")
        hasty._background.wait()
    assert idle.refresh().status == "expired"


def test_end_inactive_is_of_this_tenant_only(memory: ChatMemory) -> None:
    """It returns what it has ended, and touches no other tenant."""
    mine = sessions_of(memory).create(user_id="ann")
    other = memory.tenant("umbrella").sessions.create(user_id="ann")
    assert sessions_of(memory).end_inactive(timedelta(hours=1)) == []
    ended = sessions_of(memory).end_inactive(timedelta(0))
    assert [(info.id, info.status) for info in ended] == [(mine.id, "expired")]
    assert other.refresh().status == "active"
    with pytest.raises(InvalidInputError, match="idle_for"):
        sessions_of(memory).end_inactive(timedelta(seconds=-1))


def test_create_refuses_an_id_that_exists(memory: ChatMemory) -> None:
    """Within a tenant an id is one session; another tenant may use the same."""
    sessions = sessions_of(memory)
    sessions.create(user_id="ann", session_id=7)
    with pytest.raises(SessionExistsError, match="'7'"):
        sessions.create(user_id="bob", session_id="7")
    assert (memory.tenant("umbrella").sessions.create(user_id="ann", session_id="7")).id == "7"


def test_the_session_limit_ends_the_oldest(memory: ChatMemory) -> None:
    """One more than allowed ends the one that was idle longest; other kinds and users do not count."""
    with with_settings(memory, max_sessions_per_user=2) as limited:
        sessions = sessions_of(limited)
        run = sessions.create(user_id="ann", kind="training")
        first, second = [sessions.create(user_id="ann") for _ in range(2)]
        first.append("user", "still here")
        third = sessions.create(user_id="ann")
        states = [session.refresh().status for session in (run, first, second, third)]
    assert states == ["active", "active", "completed", "active"]
    assert (sessions_of(memory).get(second.id)).info.ended_at is not None


def test_the_session_limit_can_refuse(memory: ChatMemory) -> None:
    """With "refuse" nothing is ended, and the error says what to do; an ended one makes room."""
    with with_settings(memory, max_sessions_per_user=1, session_limit_policy="refuse") as limited:
        sessions = sessions_of(limited)
        first = sessions.create(user_id="ann")
        for call in calls(
            lambda: sessions.create(user_id="ann"),
            lambda: sessions.resume_or_create(user_id="ann"),
            lambda: first.fork(),
        ):
            with pytest.raises(SessionLimitError, match="max_sessions_per_user"):
                call()
        first.end()
        assert sessions.create(user_id="ann").info.is_active


def test_list_filters_sorts_and_counts(memory: ChatMemory) -> None:
    """Last active first; filters before paging; total counts all that match."""
    sessions = sessions_of(memory)
    made = [sessions.create(user_id=f"user-{n % 2}") for n in range(6)]
    made[0].append("user", "newest now")
    made[1].end()
    page = sessions.list(limit=2, with_total=True)
    assert [info.id for info in page] == [made[0].id, made[5].id]
    assert (page.total, len(page), page[0].id) == (6, 2, made[0].id)
    assert sessions.list(offset=6, with_total=True).total == 6
    assert sessions.list(user_id="user-1", with_total=True).total == 3
    assert sessions.list(user_id="user-1", active_only=True, with_total=True).total == 2
    assert [info.id for info in sessions.list(status="completed")] == [made[1].id]
    assert sessions.list(kind="training", with_total=True).total == 0
    cut = made[3].info.created_at
    assert sessions.list(created_before=cut, with_total=True).total == 3
    assert sessions.list(created_after=cut, with_total=True).total == 3
    wrong: list[dict[str, Any]] = [
        {"limit": -1},
        {"offset": -1},
        {"status": "gone"},
        {"created_after": datetime(2020, 1, 1)},
        {"active_only": True, "status": "failed"},
    ]
    for bad in wrong:
        with pytest.raises(InvalidInputError):
            sessions.list(**bad)


def test_get_finds_ended_ones_and_checks_the_user(memory: ChatMemory) -> None:
    """Missing and another user's look the same."""
    sessions = sessions_of(memory)
    session = sessions.create(user_id="ann")
    session.end()
    assert sessions.get(session.id, user_id="ann").info.status == "completed"
    with pytest.raises(SessionNotFoundError) as foreign:
        sessions.get(session.id, user_id="bob")
    with pytest.raises(SessionNotFoundError) as missing:
        sessions.get("nowhere")
    assert str(foreign.value).replace(session.id, "nowhere") == str(missing.value)


def test_end_many_goes_on_after_a_failure(memory: ChatMemory) -> None:
    """Each id has its own outcome."""
    sessions = sessions_of(memory)
    made = [sessions.create(user_id="ann") for _ in range(2)]
    outcome = sessions.end_many([made[0].id, "missing", "", made[1].id])
    assert list(outcome) == [made[0].id, "missing", "", made[1].id]
    assert isinstance(outcome["missing"], SessionNotFoundError)
    assert isinstance(outcome[""], InvalidInputError)
    for session in made:
        info = outcome[session.id]
        assert isinstance(info, SessionInfo)
        assert info.status == "completed"


def test_bad_ids_are_refused(memory: ChatMemory) -> None:
    """Empty, blank, over-long and unstorable ids of tenants, users and sessions."""
    for bad in ("", " ", "x" * 256, "a\0b", "\ud800", None, 1.5, True, b"x"):
        with pytest.raises(InvalidInputError):
            memory.tenant(bad)
        with pytest.raises(InvalidInputError):
            sessions_of(memory).create(user_id=bad)
        with pytest.raises(InvalidInputError):
            sessions_of(memory).get(bad)
    assert (sessions_of(memory).list(with_total=True)).total == 0


def test_an_unknown_policy_for_missing_is_refused(memory: ChatMemory) -> None:
    """on_missing has two values."""
    with pytest.raises(InvalidInputError, match="adopt"):
        sessions_of(memory).resume_or_create(user_id="ann", on_missing="steal")  # type: ignore[arg-type]  # that is the point


def test_times_are_aware(memory: ChatMemory) -> None:
    """Every time says its zone."""
    info = (sessions_of(memory).create(user_id="ann")).info
    assert info.created_at.utcoffset() is not None
    assert abs(info.created_at - datetime.now(UTC)) < timedelta(minutes=5)
