"""Contexts from Postgres and from Redis: the same, and never older than what the handle has seen."""

import pytest
from redis import Redis

from chatmemory import AsyncChatMemory, AsyncSession, Context, ContextTooSmallError, SessionNotFoundError, Settings
from chatmemory.context.window import Window
from chatmemory.storage.redis_keys import window_key

pytestmark = pytest.mark.usefixtures("asks_redis")


async def begin(memory: AsyncChatMemory, count: int = 0) -> AsyncSession:
    """A session with some messages."""
    session = await memory.tenant("acme").sessions.create(user_id="ann")
    if count:
        await session.append_many(turn(1, count))
    return session


def turn(start: int, count: int) -> list[dict[str, str]]:
    """Messages by turns, told apart by their number."""
    return [{"role": ("assistant", "user")[n % 2], "content": f"message {n}"} for n in range(start, start + count)]


async def seen_by_another(memory: AsyncChatMemory, session: AsyncSession) -> AsyncSession:
    """A handle as another process has it: it has seen the session's row alone; Redis has every message."""
    await memory._windows.flush()
    memory._parts.recent.forget("acme", session.id)
    return await memory.tenant("acme").sessions.get(session.id)


def seqs(context: Context) -> list[int]:
    """Return the seqs of the messages in a context."""
    return [message.seq for message in context]


async def test_redis_and_postgres_give_the_same(async_cached_memory: AsyncChatMemory) -> None:
    """To the last field but the source, with a budget, a number, or neither, and before and after each append."""
    session = await begin(async_cached_memory, 3)
    for n in range(4, 60, 7):
        await session.append_many(turn(n, 7))
        for asked in ({"max_tokens": 90}, {"max_messages": 9}, {}):
            warm = await session.context(**asked)  # type: ignore[arg-type]
            cold = await session.context(**asked, fresh=True)  # type: ignore[arg-type]
            assert cold.source == "postgres"
            assert [getattr(warm, name) for name in Context.__slots__ if name != "source"] == [
                getattr(cold, name) for name in Context.__slots__ if name != "source"
            ]
    assert (await session.context()).source == "redis"


async def test_many_short_messages_come_from_redis(async_cached_memory: AsyncChatMemory) -> None:
    """The handle that appended them knows how many fit into a budget, and asks for as many."""
    session = await begin(async_cached_memory, 150)
    assert len(await session.context(1000)) > 50
    assert (await session.context(1000)).source == "redis"


async def test_another_process_finds_the_window(async_cached_memory: AsyncChatMemory, redis_url: str) -> None:
    """A message appended by one process is in another's context from Redis, without a query to Postgres."""
    session = await begin(async_cached_memory, 5)
    await session.context()
    await session.append("user", "news")
    other = await seen_by_another(async_cached_memory, session)
    context = await other.context()
    assert (context.source, seqs(context)[-1], context.messages[-1].text) == ("redis", 6, "news")
    with Redis.from_url(redis_url) as client:
        assert 0 < client.pttl(window_key("acme", session.id)) <= 1_800_000


async def test_a_window_that_is_behind_is_not_believed(async_cached_memory: AsyncChatMemory, redis_url: str) -> None:
    """A handle that has seen message 6 gets no window that ends at 5."""
    session = await begin(async_cached_memory, 5)
    await session.context()
    await async_cached_memory._windows.flush()
    key = window_key("acme", session.id)
    with Redis.from_url(redis_url) as client:
        old = client.dump(key)
        await session.append("user", "news")
        await async_cached_memory._windows.flush()
        client.restore(key, 0, old, replace=True)
    context = await session.context()
    assert (context.source, seqs(context)) == ("postgres", [1, 2, 3, 4, 5, 6])


async def test_a_rebuild_does_not_overwrite_a_newer_window(async_cached_memory: AsyncChatMemory) -> None:
    """A window read from Postgres before an append is not stored after it; nor after a flush."""
    session = await begin(async_cached_memory, 5)
    windows, info = async_cached_memory._windows, session.info
    await windows.forget(info)
    found = await windows.read(info, 20, 0)
    assert found.window is None
    old = Window(await session.history(), None, 1, 5, 0, "postgres")
    await session.append("user", "news")
    await windows.flush()
    await windows.store(info, old, found.lease)
    assert (await windows.read(info, 20, 0)).window is None
    assert (await session.context()).messages[-1].text == "news"
    await windows.store(info, old, found.lease)
    found = await windows.read(info, 20, 0)
    assert found.window is not None
    assert found.window.last_seq == 6
    await windows.forget(info)
    await windows.store(info, found.window, found.lease)
    assert (await windows.read(info, 20, 0)).window is None


async def test_appends_at_once_reach_the_window_in_any_order(
    async_cached_memory: AsyncChatMemory, async_memory: AsyncChatMemory
) -> None:
    """The writer of message 7 updates the window before the writer of message 6; the window has both."""
    session = await begin(async_cached_memory, 5)
    await session.context()
    stored = await (await async_memory.tenant("acme").sessions.get(session.id)).append_many(turn(6, 2))
    windows = async_cached_memory._windows
    for message in reversed(stored):
        windows.append(session.info, [message], message.seq)
    await windows.flush()
    window = (await windows.read(session.info, 20, 0)).window
    assert window is not None
    assert (window.last_seq, window.token_count, len(window.messages)) == (7, 7, 7)


async def test_append_and_context_is_both_in_one(async_cached_memory: AsyncChatMemory) -> None:
    """It stores, and gives what context() gives then; a repeated id adds nothing; an empty list only reads."""
    session = await begin(async_cached_memory, 30)
    new = {"role": "user", "content": "and now?", "message_id": "m-31"}
    context = await session.append_and_context([new], max_tokens=120, system="Be brief.")
    assert (context.messages[-1].id, context.messages[-1].seq) == ("m-31", 31)
    again = await session.append_and_context([new], max_tokens=120, system="Be brief.")
    assert again == context == await session.append_and_context([], max_tokens=120, system="Be brief.")
    many = await session.append_and_context(turn(32, 9), max_messages=4)
    assert seqs(many) == [37, 38, 39, 40]
    assert session.info.message_count == 40


async def test_too_small_a_budget_loses_nothing(async_cached_memory: AsyncChatMemory) -> None:
    """The messages are stored before the context is made; the error says so by its type."""
    session = await begin(async_cached_memory)
    with pytest.raises(ContextTooSmallError):
        await session.append_and_context(turn(1, 2), max_tokens=1)
    assert [message.seq for message in await session.history()] == [1, 2]


async def test_the_first_system_message_stays(async_cached_memory: AsyncChatMemory) -> None:
    """However long the session gets, from Redis, from Postgres, and from one statement."""
    session = await begin(async_cached_memory)
    await session.append("system", "Be kind.")
    for n in range(2, 700, 100):
        await session.append_many(turn(n, 100))
    for _ in range(2):
        context = await session.context(100)
        assert (seqs(context)[0], seqs(context)[-1]) == (1, 701)
        assert context.omitted is not None
        assert context.omitted.from_seq == 2
        assert context.omitted.count == 701 - len(context)
    assert context.source == "redis"
    assert seqs(await session.append_and_context(turn(702, 1), max_tokens=100))[0] == 1


async def test_a_large_message_comes_from_postgres(postgres_url: str, redis_url: str, settings: Settings) -> None:
    """Redis holds a stub of it; a context that needs it is whole, and one that does not costs no Postgres."""
    settings = settings.model_copy(update={"window_message_bytes": 1000})
    async with AsyncChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        session = await begin(memory)
        await session.append("user", "large " * 1000, metadata={"kept": True})
        await session.append_many(turn(2, 30))
        await session.context(max_messages=100)
        whole = await session.context(max_messages=100)
        assert whole.source == "redis"
        assert whole.messages[0].text == "large " * 1000
        assert whole.messages[0].metadata == {"kept": True}
        assert seqs(await session.context(max_messages=4)) == [28, 29, 30, 31]
        with Redis.from_url(redis_url) as client:
            assert client.hstrlen(window_key("acme", session.id), "1") < 1000


@pytest.mark.parametrize("how", ["delete", "erase"])
async def test_what_is_gone_has_no_context(async_cached_memory: AsyncChatMemory, how: str) -> None:
    """A deleted or erased session is not answered from Redis either."""
    session = await begin(async_cached_memory, 5)
    await session.context()
    other = await seen_by_another(async_cached_memory, session)
    assert (await other.context()).source == "redis"
    await getattr(session, how)()
    for handle in (session, other):
        with pytest.raises(SessionNotFoundError):
            await handle.context()


async def test_windows_of_tenants_are_apart(async_cached_memory: AsyncChatMemory) -> None:
    """The same session id in two tenants is two windows, also where ids hold what separates parts of a key."""
    pairs = [("a/b", "c"), ("a", "b/c"), ("a}", "{c"), ("a", "}{c"), ("ä:", "c"), ("a%2Fb", "c")]
    for tenant, id in pairs:
        session = await async_cached_memory.tenant(tenant).sessions.create(user_id="ann", session_id=id)
        await session.append("user", f"{tenant} {id}")
        await session.context()
    await async_cached_memory._windows.flush()
    for tenant, id in pairs:
        async_cached_memory._parts.recent.forget(tenant, id)
        context = await (await async_cached_memory.tenant(tenant).sessions.get(id)).context()
        assert (context.source, [message.text for message in context]) == ("redis", [f"{tenant} {id}"])


async def test_health_tells(async_cached_memory: AsyncChatMemory, async_memory: AsyncChatMemory) -> None:
    """health() reports the working parts and those that are not configured."""
    health = await async_cached_memory.health()
    assert (health.postgres, health.redis, health.ok) == ("ok", "ok", True)
    assert (await async_memory.health()).redis == "off"
    async with AsyncChatMemory.open("postgresql://nobody:hunter2@127.0.0.1:1/x", redis="redis://127.0.0.1:1") as memory:
        health = await memory.health()
    assert (health.postgres, health.redis, health.ok) == ("unreachable", "unreachable", False)
