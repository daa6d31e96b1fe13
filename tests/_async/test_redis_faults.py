"""With any fault of Redis, every call answers correctly from Postgres, and a dead Redis is skipped."""

import time
from collections.abc import Callable

import pytest
from redis import Redis

from chatmemory import AsyncChatMemory, AsyncSession, ConfigurationError, Settings
from chatmemory.storage.redis_keys import sessions_key, window_key
from tests.fixtures.liars import MANNERS, Liar
from tests.fixtures.redis import RedisServer, free_port

pytestmark = pytest.mark.usefixtures("asks_redis")

Start = Callable[..., RedisServer]
HEALS_WITHIN = 60.0  # seconds; it takes about one
QUICK = {"redis_timeout_seconds": 0.2}
NEVER_LONGER = 20.0  # seconds, for a call that may wait 0.2: one without a bound never ends


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Settings with which a Redis that does not answer is soon given up."""
    return settings.model_copy(update=QUICK)


def open_memory(postgres_url: str, redis_url: str, settings: Settings) -> AsyncChatMemory:
    """A memory whose Redis may fail."""
    return AsyncChatMemory.open(postgres_url, redis=redis_url, settings=settings)


async def converse(memory: AsyncChatMemory, session: AsyncSession, turns: int = 2, user: str = "ann") -> str:
    """Some turns, each context checked against what was said; where the last one came from."""
    source = ""
    for _ in range(turns):
        resumed = await memory.tenant("acme").sessions.resume_or_create(session.id, user_id=user)
        assert resumed.id == session.id
        last = (await session.append("user", "next")).seq
        context = await session.context(max_messages=10)
        assert [message.seq for message in context] == list(range(max(1, last - 9), last + 1))
        assert {message.text for message in context} == {"next"}
        source = context.source
    return source


async def healed(memory: AsyncChatMemory, session: AsyncSession) -> None:
    """Windows come from Redis again, without anybody's doing."""
    until = time.monotonic() + HEALS_WITHIN
    while await converse(memory, session) != "redis":
        assert time.monotonic() < until, memory._cache and memory._cache.last_error
    assert (await memory.health()).ok


def kill(server: RedisServer) -> None:
    """Connections are refused."""
    server.kill()


def freeze(server: RedisServer) -> None:
    """Connections are accepted, and nothing is answered."""
    server.freeze()


def demote(server: RedisServer) -> None:
    """It takes no writes any more: READONLY."""
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")


def fill(server: RedisServer) -> None:
    """It has no memory left: OOM."""
    with server.client() as client:
        client.config_set("maxmemory", "1")


def protect(server: RedisServer) -> None:
    """It asks for a password now: NOAUTH."""
    with server.client() as client:
        client.config_set("requirepass", "new")
        client.client_kill_filter(_type="normal", skipme=True)


def promote(server: RedisServer) -> None:
    """It takes writes again."""
    with server.client() as client:
        client.replicaof("NO", "ONE")


def empty(server: RedisServer) -> None:
    """It has memory again."""
    with server.client() as client:
        client.config_set("maxmemory", "0")


def open_up(server: RedisServer) -> None:
    """It asks for nothing again."""
    with Redis(unix_socket_path=str(server.socket), password="new") as client:
        client.config_set("requirepass", "")


FAULTS: dict[str, tuple[Callable[[RedisServer], None], Callable[[RedisServer], None]]] = {
    "refused": (kill, RedisServer.start),
    "frozen": (freeze, RedisServer.thaw),
    "readonly": (demote, promote),
    "full": (fill, empty),
    "protected": (protect, open_up),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_costs_little_and_heals(
    postgres_url: str, settings: Settings, own_redis: Start, fault: str
) -> None:
    """Correct before, during and after; one call waits, the next ones do not try; then it is used again."""
    server = own_redis()
    breaks, mends = FAULTS[fault]
    async with open_memory(postgres_url, server.url, settings) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        await healed(memory, session)
        breaks(server)
        start = time.monotonic()
        assert await converse(memory, session, turns=1) == "postgres"
        assert time.monotonic() - start < NEVER_LONGER
        assert memory._cache is not None
        assert memory._cache.state == "open"
        assert await converse(memory, session) == "postgres"
        assert (await memory.health()).redis == "unreachable"
        mends(server)
        await healed(memory, session)


async def test_a_cluster_that_dies(postgres_url: str, settings: Settings, own_redis: Start) -> None:
    """The same of a cluster: used, left alone while it is dead, and used again."""
    server = own_redis("--cluster-enabled", "yes", port=free_port())
    server.form_cluster()
    in_cluster = settings.model_copy(update={"redis_cluster": True})
    async with open_memory(postgres_url, server.url, in_cluster) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        await healed(memory, session)
        server.kill()
        assert await converse(memory, session) == "postgres"
        async with open_memory(postgres_url, server.url, in_cluster) as another:  # which has never seen it alive
            assert await converse(another, session) == "postgres"
            assert (await another.health()).redis == "unreachable"
        server.start()
        await healed(memory, session)


async def test_a_cluster_behind_a_unix_socket_is_refused(postgres_url: str, settings: Settings) -> None:
    """There is none; the error names the setting."""
    in_cluster = settings.model_copy(update={"redis_cluster": True})
    async with open_memory(postgres_url, "unix:///nowhere", in_cluster) as memory:
        with pytest.raises(ConfigurationError, match="REDIS_CLUSTER"):
            await memory.tenant("acme").sessions.create(user_id="ann")


@pytest.mark.parametrize("manner", MANNERS)
async def test_a_server_that_is_no_redis(
    postgres_url: str, settings: Settings, liar: Callable[[str], Liar], manner: str
) -> None:
    """Every call is answered; after the first failure nobody goes there, but for a probe once a second."""
    server = liar(manner)
    async with open_memory(postgres_url, server.url, settings) as memory:
        assert (await memory.tenant("acme").sessions.list(with_total=True)).total == 0  # Postgres is connected
        start = time.monotonic()
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        assert await converse(memory, session, turns=1) == "postgres"
        assert time.monotonic() - start < NEVER_LONGER
        before, start = server.visits, time.monotonic()
        for _ in range(20):
            assert await converse(memory, session) == "postgres"
        assert server.visits - before <= 2 * (time.monotonic() - start) + 2
        assert (await memory.health()).redis == "unreachable"


def _flush(client: Redis, _key: str) -> None:
    client.flushall()


def _forget_scripts(client: Redis, _key: str) -> None:
    client.script_flush()


def _wrong_type(client: Redis, key: str) -> None:
    client.delete(key)
    client.set(key, "a string")


def _garbage(client: Redis, key: str) -> None:
    for field in client.hkeys(key):
        if field not in (b"first", b"last"):
            client.hset(key, field, "\x00garbage")


def _not_numbers(client: Redis, key: str) -> None:
    client.hset(key, mapping={"first": "one", "last": "many"})


def _last(client: Redis, key: str) -> str:
    found = client.hget(key, "last")
    assert isinstance(found, bytes)
    return found.decode()


def _a_hole(client: Redis, key: str) -> None:
    client.hdel(key, _last(client, key))


def _no_message(client: Redis, key: str) -> None:
    client.hset(key, _last(client, key), '{"seq": 3}')


LIES = [_flush, _forget_scripts, _wrong_type, _garbage, _not_numbers, _a_hole, _no_message]


@pytest.mark.parametrize("lie", LIES)
async def test_what_stands_in_redis_is_not_trusted(
    postgres_url: str, settings: Settings, own_redis: Start, lie: Callable[[Redis, str], None]
) -> None:
    """Something else under our keys: the answer is right all the same, and the window is built anew."""
    server = own_redis()
    async with open_memory(postgres_url, server.url, settings) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        await converse(memory, session, turns=3)
        with server.client() as client:
            lie(client, window_key("acme", session.id))
        await converse(memory, session)
        await memory._windows.flush()
        with server.client() as client:
            lie(client, window_key("acme", session.id))
            client.set(sessions_key("acme", "ann"), "a string")
        await healed(memory, session)


async def test_what_was_missed_is_forgotten(postgres_url: str, settings: Settings, own_redis: Start) -> None:
    """Windows that could not be told of an append do not stay, even if their process makes no other call."""
    server = own_redis()
    async with (
        open_memory(postgres_url, server.url, settings) as memory,
        open_memory(postgres_url, server.url, settings) as other,
    ):
        sessions = [await memory.tenant("acme").sessions.create(user_id="ann") for _ in range(3)]
        for session in sessions:
            await converse(memory, session)
        bystanders = [await other.tenant("acme").sessions.get(session.id) for session in sessions]
        server.freeze()
        for session in sessions:  # the first one opens the breaker
            await session.append("user", "missed")
            await memory._windows.flush()
        server.thaw()
        until = time.monotonic() + HEALS_WITHIN
        for bystander in bystanders:
            while (await bystander.context()).messages[-1].text != "missed":
                assert time.monotonic() < until


async def test_a_session_that_ended_during_a_fault_is_not_resumed(
    postgres_url: str, settings: Settings, own_redis: Start
) -> None:
    """Redis could not be told: it is told before it is used again."""
    server = own_redis()
    async with open_memory(postgres_url, server.url, settings) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        await converse(memory, session)
        server.freeze()
        await session.end()
        server.thaw()
        until = time.monotonic() + HEALS_WITHIN
        while memory._cache is not None and memory._cache.state == "open":
            assert time.monotonic() < until
            resumed = await memory.tenant("acme").sessions.resume_or_create(session.id, user_id="ann")
            assert resumed.id != session.id
        resumed = await memory.tenant("acme").sessions.resume_or_create(session.id, user_id="ann")
        assert resumed.id != session.id
