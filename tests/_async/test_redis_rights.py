"""A user of Redis who lacks a right: every call answers from Postgres, and the examination names the right."""

from collections.abc import Callable

import pytest

from chatmemory import AsyncChatMemory, Check, Settings
from chatmemory.storage.redis_rights import COMMANDS, KEYS
from tests._async.test_redis_faults import converse, healed, open_memory
from tests.fixtures.redis import RedisServer

pytestmark = pytest.mark.usefixtures("asks_redis")

Start = Callable[..., RedisServer]


def allow(server: RedisServer, *rules: str) -> str:
    """Make a user with the documented rights and these rules; the URL for it."""
    rights = [KEYS, *(f"+{command}" for command in COMMANDS)]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "app", "reset", "on", ">hunter2", *rights, *rules)
    return server.url.replace("://", "://app:hunter2@")


async def examined(memory: AsyncChatMemory) -> Check:
    """The check of Redis."""
    [check] = [check for check in (await memory.examine()).checks if check.name == "redis"]
    assert "hunter2" not in check.detail
    return check


async def test_the_documented_rights_suffice(postgres_url: str, settings: Settings, own_redis: Start) -> None:
    """Nothing else is sent; also not while Redis heals."""
    server = own_redis()
    async with open_memory(postgres_url, allow(server), settings) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        await healed(memory, session)
        server.kill()
        assert await converse(memory, session) == "postgres"
        server.start()
        allow(server)
        await healed(memory, session)
        assert (await examined(memory)).ok
        with server.client() as client:
            refused = {entry["object"] for entry in client.acl_log()}
        assert refused <= {"client", "client|setinfo"}  # redis-py's own, which it does without


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        (["-eval"], "give it +eval by"),
        (["-@scripting"], "give it +eval +evalsha by"),
        (["-hstrlen", "-time"], "give it +time +hstrlen by"),
        (["resetkeys", "~other:*"], "give it ~cm:* by"),
    ],
)
async def test_without_a_right_redis_counts_as_failed(
    postgres_url: str, settings: Settings, own_redis: Start, rules: list[str], missing: str
) -> None:
    """It is left alone, as health says, and used as soon as the user has the right."""
    server = own_redis()
    async with open_memory(postgres_url, allow(server, *rules), settings) as memory:
        assert (await memory.health()).redis == "unreachable"
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        for _ in range(3):
            assert await converse(memory, session) == "postgres"
        check = await examined(memory)
        assert not check.ok
        assert missing in check.detail
        allow(server)
        await healed(memory, session)


async def test_a_right_of_scripts_alone_is_missed_at_the_first_call(
    postgres_url: str, settings: Settings, own_redis: Start
) -> None:
    """The script is let in and its command refused: not the key is at fault, but the user's rights."""
    async with open_memory(postgres_url, allow(own_redis(), "-hmget"), settings) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        assert await converse(memory, session) == "postgres"
        assert memory._cache is not None
        assert memory._cache.state == "open"


async def test_without_info_redis_works(postgres_url: str, settings: Settings, own_redis: Start) -> None:
    """Only restored snapshots are not noticed any more, which the examination says."""
    async with open_memory(postgres_url, allow(own_redis(), "-info"), settings) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        await healed(memory, session)
        check = await examined(memory)
        assert not check.ok
        assert "give it +info by" in check.detail
