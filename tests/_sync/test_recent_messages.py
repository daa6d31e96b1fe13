# Generated from tests/_async/test_recent_messages.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The cache of recent messages is invisible: every context equals a fresh reading of Postgres."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
import pytest

from chatmemory import ChatMemory, Context, ContextTooSmallError, Session, SessionNotFoundError, Settings
from chatmemory._concurrency import side_by_side
from chatmemory._sync.storage.redis_windows import Windows
from chatmemory.context.recent_messages import RecentMessages

SYSTEM = {"role": "system", "content": "Be brief."}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}


def turn(drawn: random.Random) -> list[dict[str, Any]]:
    """One to four messages: plain, of blocks, large, with metadata, or a tool's."""
    text = " ".join(drawn.choices(["invoice", "address", "portal", "Friday", "accountant"], k=drawn.randint(1, 30)))
    return drawn.choice([
        [{"role": "user", "content": text}, {"role": "assistant", "content": text[::-1]}],
        [{"role": "user", "content": text}],
        [{"role": "user", "content": [{"type": "text", "text": text}], "metadata": {"a": {"b": [1]}}}],
        [{"role": "assistant", "content": text * 40}],
        [
            {"role": "user", "content": text},
            {"role": "assistant", "content": "", "metadata": {"tool_calls": [CALL]}},
            {"role": "tool", "content": "3", "metadata": {"tool_call_id": "c1"}},
            {"role": "assistant", "content": text},
        ],
    ])  # fmt: skip


def spoil(context: Context) -> None:
    """Change whatever can be changed of what was given out."""
    for message in context.messages:
        message.metadata["spoilt"] = True
        if isinstance(message.content, list):
            message.content.append({"type": "text", "text": "spoilt"})


def shown(context: Context) -> tuple[Any, ...]:
    """All of a context but where it came from."""
    return context.as_openai(), context.tokens, context.omitted, context.unpaired, context.prefix_id, context.summary


@pytest.mark.parametrize("has_redis", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_every_context_is_what_postgres_says(
    postgres_url: str, redis_url: str, settings: Settings, seed: int, has_redis: bool
) -> None:
    """Two who write by turns, one through a Redis the other does not tell, with windows that are soon full."""
    drawn = random.Random(seed)
    small = settings.model_copy(
        update={"window_max_messages": 12, "window_max_bytes": 4000, "window_message_bytes": 900}
    )
    with (
        ChatMemory.open(postgres_url, redis=redis_url if has_redis else None, settings=small) as mine,
        ChatMemory.open(postgres_url, settings=settings) as theirs,
    ):
        session = mine.tenant("acme").sessions.create(user_id="ann", session_id="s-1")
        other = theirs.tenant("acme").sessions.get("s-1")
        if drawn.random() < 0.5:
            session.append_many([SYSTEM])
        for _ in range(40):
            asked: dict[str, Any] = drawn.choice(
                [{"max_messages": drawn.randint(0, 15)}, {"max_tokens": drawn.randint(60, 900)}, {}]
            )
            match drawn.randrange(6):
                case 0:
                    other.append_many(turn(drawn))
                    continue
                case 1:
                    session.append_many(turn(drawn))
                    given = met(session, session.append_and_context(turn(drawn), **asked))
                case 2:
                    other.consolidate()
                    session.append_many(turn(drawn))
                    given = met(session, session.append_and_context(turn(drawn), **asked))
                case 3:
                    session.append_many(turn(drawn))
                    given = met(session, session.context(**asked))
                    if has_redis:
                        continue  # of others' messages Redis tells, where they tell it
                case _:
                    given = met(session, session.append_and_context(turn(drawn), **asked))
            there = theirs.tenant("acme").sessions.get("s-1")
            expected = met(there, there.context(**asked, fresh=True))
            assert (given and shown(given)) == (expected and shown(expected))
            recent = recent_of(session)
            assert recent is None or (len(recent.messages) <= 12 and recent.messages_size <= 4000)
            if given:
                spoil(given)


def recent_of(session: Session) -> RecentMessages | None:
    """Return a session's entry in the memory's cache."""
    return session._state.parts.recent.recent(session._state.contexts._session())


def met(session: Session, context: Any) -> Context | None:
    """A context; None where not even the newest message fits."""
    try:
        return context  # type: ignore[no-any-return]
    except ContextTooSmallError:
        return None


def test_what_is_held_is_not_read_again(cached_memory: ChatMemory, postgres_url: str) -> None:
    """From the second turn on, storing a turn and knowing what the prompt needs reads no message."""
    session = cached_memory.tenant("acme").sessions.create(user_id="ann")
    session.append_and_context([{"role": "user", "content": "said"}], max_messages=20)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("update chatmemory.messages set content = 'changed in the database'")
    context = session.append_and_context([{"role": "user", "content": "and more"}], max_messages=20)
    assert [message.text for message in context] == ["said", "and more"]
    assert context.source == "postgres"
    fresh = session.context(fresh=True)
    assert [message.text for message in fresh] == ["changed in the database", "and more"]
    again = session.append_and_context([{"role": "user", "content": "x"}], max_messages=20)
    assert [message.text for message in again] == ["changed in the database", "and more", "x"]


def test_right_after_its_own_append_a_handle_asks_nobody(
    cached_memory: ChatMemory, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For as long as Redis may lag behind; but at once where this process deletes, or learns."""
    monkeypatch.setattr(Windows, "lag", 3600.0)
    sessions = cached_memory.tenant("acme").sessions
    session = sessions.create(user_id="ann")
    session.append_and_context([{"role": "user", "content": text} for text in ("one", "two", "three")])
    session.append_many([{"role": "user", "content": text} for text in ("four", "five")])
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("update chatmemory.messages set content = 'changed in the database'")
    assert [message.text for message in session.context(max_messages=2)] == ["four", "five"]
    assert (sessions.get(session.id).consolidate()).status == "success"
    assert session.context(max_messages=2).summary
    session.append("user", "six")
    sessions.get(session.id).delete()
    with pytest.raises(SessionNotFoundError):
        session.context()


def test_many_at_once_on_one_handle(cached_memory: ChatMemory) -> None:
    """Each gets a context without gaps that holds what it has just stored, and is what Postgres says."""
    session = cached_memory.tenant("acme").sessions.create(user_id="ann")
    contexts: list[tuple[str, Context]] = []

    def write(name: int) -> None:
        for number in range(12):
            text = f"{name} {number}"
            context = session.append_and_context([{"role": "user", "content": text}], max_messages=30)
            contexts.append((text, context))

    side_by_side([partial(write, name) for name in range(6)])
    stored = {message.seq: message.text for message in session.history(100)}
    assert len(stored) == 72
    for text, context in contexts:
        seqs = [message.seq for message in context]
        assert seqs == list(range(seqs[-1] - len(seqs) + 1, seqs[-1] + 1))
        assert [message.text for message in context] == [stored[seq] for seq in seqs]
        assert text in [message.text for message in context]


def test_a_handle_of_an_erased_session_gets_nothing_of_its_successor(
    cached_memory: ChatMemory, postgres_url: str
) -> None:
    """Another process erases it, and begins one of another user under the same id: the handle is told it is gone."""
    session = cached_memory.tenant("acme").sessions.create(user_id="ann", session_id="s-1")
    session.append_and_context([{"role": "user", "content": "mine"}])
    with ChatMemory.open(postgres_url, settings=cached_memory.settings.model_copy(update={"redis_url": None})) as other:
        (other.tenant("acme").sessions.get("s-1")).erase()
        successor = other.tenant("acme").sessions.create(user_id="bob", session_id="s-1")
        successor.append("user", "theirs")
        calls: list[Callable[[], Any]] = [
            lambda: session.append("user", "x"),
            lambda: session.append("user", "x", message_id="m-1"),
            lambda: session.append_and_context([{"role": "user", "content": "x"}]),
            lambda: session.context(fresh=True),
        ]
        for call in calls:
            with pytest.raises(SessionNotFoundError, match="s-1"):
                call()
        assert [message.text for message in successor.history()] == ["theirs"]


def test_nothing_is_held_over_a_restart_of_postgres(cached_memory: ChatMemory) -> None:
    """Another server may answer then, which has not heard of all that was stored."""
    session = cached_memory.tenant("acme").sessions.create(user_id="ann")
    session.append_and_context([{"role": "user", "content": "said"}])
    assert recent_of(session) is not None
    cached_memory._database.heal()
    assert recent_of(session) is None
