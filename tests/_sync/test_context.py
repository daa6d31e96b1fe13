# Generated from tests/_async/test_context.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Contexts from Postgres and from Redis: the same, and never older than what the handle has seen."""

import pytest
from redis import Redis

from chatmemory import ChatMemory, Context, ContextTooSmallError, Session, SessionNotFoundError, Settings
from chatmemory.context.window import Window
from chatmemory.storage.redis_keys import window_key

pytestmark = pytest.mark.usefixtures("asks_redis")


def begin(memory: ChatMemory, count: int = 0) -> Session:
    """A session with some messages."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    if count:
        session.append_many(turn(1, count))
    return session


def turn(start: int, count: int) -> list[dict[str, str]]:
    """Messages by turns, told apart by their number."""
    return [{"role": ("assistant", "user")[n % 2], "content": f"message {n}"} for n in range(start, start + count)]


def seen_by_another(memory: ChatMemory, session: Session) -> Session:
    """A handle as another process has it: it has seen the session's row alone; Redis has every message."""
    memory._windows.flush()
    memory._parts.recent.forget("acme", session.id)
    return memory.tenant("acme").sessions.get(session.id)


def seqs(context: Context) -> list[int]:
    """Return the seqs of the messages in a context."""
    return [message.seq for message in context]


def test_redis_and_postgres_give_the_same(cached_memory: ChatMemory) -> None:
    """To the last field but the source, with a budget, a number, or neither, and before and after each append."""
    session = begin(cached_memory, 3)
    for n in range(4, 60, 7):
        session.append_many(turn(n, 7))
        for asked in ({"max_tokens": 90}, {"max_messages": 9}, {}):
            warm = session.context(**asked)  # type: ignore[arg-type]
            cold = session.context(**asked, fresh=True)  # type: ignore[arg-type]
            assert cold.source == "postgres"
            assert [getattr(warm, name) for name in Context.__slots__ if name != "source"] == [
                getattr(cold, name) for name in Context.__slots__ if name != "source"
            ]
    assert session.context().source == "redis"


def test_many_short_messages_come_from_redis(cached_memory: ChatMemory) -> None:
    """The handle that appended them knows how many fit into a budget, and asks for as many."""
    session = begin(cached_memory, 150)
    assert len(session.context(1000)) > 50
    assert session.context(1000).source == "redis"


def test_another_process_finds_the_window(cached_memory: ChatMemory, redis_url: str) -> None:
    """A message appended by one process is in another's context from Redis, without a query to Postgres."""
    session = begin(cached_memory, 5)
    session.context()
    session.append("user", "news")
    other = seen_by_another(cached_memory, session)
    context = other.context()
    assert (context.source, seqs(context)[-1], context.messages[-1].text) == ("redis", 6, "news")
    with Redis.from_url(redis_url) as client:
        assert 0 < client.pttl(window_key("acme", session.id)) <= 1_800_000


def test_a_window_that_is_behind_is_not_believed(cached_memory: ChatMemory, redis_url: str) -> None:
    """A handle that has seen message 6 gets no window that ends at 5."""
    session = begin(cached_memory, 5)
    session.context()
    cached_memory._windows.flush()
    key = window_key("acme", session.id)
    with Redis.from_url(redis_url) as client:
        old = client.dump(key)
        session.append("user", "news")
        cached_memory._windows.flush()
        client.restore(key, 0, old, replace=True)
    context = session.context()
    assert (context.source, seqs(context)) == ("postgres", [1, 2, 3, 4, 5, 6])


def test_a_rebuild_does_not_overwrite_a_newer_window(cached_memory: ChatMemory) -> None:
    """A window read from Postgres before an append is not stored after it; nor after a flush."""
    session = begin(cached_memory, 5)
    windows, info = cached_memory._windows, session.info
    windows.forget(info)
    found = windows.read(info, 20, 0)
    assert found.window is None
    old = Window(session.history(), None, 1, 5, 0, "postgres")
    session.append("user", "news")
    windows.flush()
    windows.store(info, old, found.lease)
    assert windows.read(info, 20, 0).window is None
    assert session.context().messages[-1].text == "news"
    windows.store(info, old, found.lease)
    found = windows.read(info, 20, 0)
    assert found.window is not None
    assert found.window.last_seq == 6
    windows.forget(info)
    windows.store(info, found.window, found.lease)
    assert windows.read(info, 20, 0).window is None


def test_appends_at_once_reach_the_window_in_any_order(cached_memory: ChatMemory, memory: ChatMemory) -> None:
    """The writer of message 7 updates the window before the writer of message 6; the window has both."""
    session = begin(cached_memory, 5)
    session.context()
    stored = (memory.tenant("acme").sessions.get(session.id)).append_many(turn(6, 2))
    windows = cached_memory._windows
    for message in reversed(stored):
        windows.append(session.info, [message], message.seq)
    windows.flush()
    window = windows.read(session.info, 20, 0).window
    assert window is not None
    assert (window.last_seq, window.token_count, len(window.messages)) == (7, 7, 7)


def test_append_and_context_is_both_in_one(cached_memory: ChatMemory) -> None:
    """It stores, and gives what context() gives then; a repeated id adds nothing; an empty list only reads."""
    session = begin(cached_memory, 30)
    new = {"role": "user", "content": "and now?", "message_id": "m-31"}
    context = session.append_and_context([new], max_tokens=120, system="Be brief.")
    assert (context.messages[-1].id, context.messages[-1].seq) == ("m-31", 31)
    again = session.append_and_context([new], max_tokens=120, system="Be brief.")
    assert again == context == session.append_and_context([], max_tokens=120, system="Be brief.")
    many = session.append_and_context(turn(32, 9), max_messages=4)
    assert seqs(many) == [37, 38, 39, 40]
    assert session.info.message_count == 40


def test_too_small_a_budget_loses_nothing(cached_memory: ChatMemory) -> None:
    """The messages are stored before the context is made; the error says so by its type."""
    session = begin(cached_memory)
    with pytest.raises(ContextTooSmallError):
        session.append_and_context(turn(1, 2), max_tokens=1)
    assert [message.seq for message in session.history()] == [1, 2]


def test_the_first_system_message_stays(cached_memory: ChatMemory) -> None:
    """However long the session gets, from Redis, from Postgres, and from one statement."""
    session = begin(cached_memory)
    session.append("system", "Be kind.")
    for n in range(2, 700, 100):
        session.append_many(turn(n, 100))
    for _ in range(2):
        context = session.context(100)
        assert (seqs(context)[0], seqs(context)[-1]) == (1, 701)
        assert context.omitted is not None
        assert context.omitted.from_seq == 2
        assert context.omitted.count == 701 - len(context)
    assert context.source == "redis"
    assert seqs(session.append_and_context(turn(702, 1), max_tokens=100))[0] == 1


def test_a_large_message_comes_from_postgres(postgres_url: str, redis_url: str, settings: Settings) -> None:
    """Redis holds a stub of it; a context that needs it is whole, and one that does not costs no Postgres."""
    settings = settings.model_copy(update={"window_message_bytes": 1000})
    with ChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        session = begin(memory)
        session.append("user", "large " * 1000, metadata={"kept": True})
        session.append_many(turn(2, 30))
        session.context(max_messages=100)
        whole = session.context(max_messages=100)
        assert whole.source == "redis"
        assert whole.messages[0].text == "large " * 1000
        assert whole.messages[0].metadata == {"kept": True}
        assert seqs(session.context(max_messages=4)) == [28, 29, 30, 31]
        with Redis.from_url(redis_url) as client:
            assert client.hstrlen(window_key("acme", session.id), "1") < 1000


@pytest.mark.parametrize("how", ["delete", "erase"])
def test_what_is_gone_has_no_context(cached_memory: ChatMemory, how: str) -> None:
    """A deleted or erased session is not answered from Redis either."""
    session = begin(cached_memory, 5)
    session.context()
    other = seen_by_another(cached_memory, session)
    assert other.context().source == "redis"
    getattr(session, how)()
    for handle in (session, other):
        with pytest.raises(SessionNotFoundError):
            handle.context()


def test_windows_of_tenants_are_apart(cached_memory: ChatMemory) -> None:
    """The same session id in two tenants is two windows, also where ids hold what separates parts of a key."""
    pairs = [("a/b", "c"), ("a", "b/c"), ("a}", "{c"), ("a", "}{c"), ("ä:", "c"), ("a%2Fb", "c")]
    for tenant, id in pairs:
        session = cached_memory.tenant(tenant).sessions.create(user_id="ann", session_id=id)
        session.append("user", f"{tenant} {id}")
        session.context()
    cached_memory._windows.flush()
    for tenant, id in pairs:
        cached_memory._parts.recent.forget(tenant, id)
        context = (cached_memory.tenant(tenant).sessions.get(id)).context()
        assert (context.source, [message.text for message in context]) == ("redis", [f"{tenant} {id}"])


def test_health_tells(cached_memory: ChatMemory, memory: ChatMemory) -> None:
    """health() reports the working parts and those that are not configured."""
    health = cached_memory.health()
    assert (health.postgres, health.redis, health.ok) == ("ok", "ok", True)
    assert memory.health().redis == "off"
    with ChatMemory.open("postgresql://nobody:hunter2@127.0.0.1:1/x", redis="redis://127.0.0.1:1") as memory:
        health = memory.health()
    assert (health.postgres, health.redis, health.ok) == ("unreachable", "unreachable", False)
