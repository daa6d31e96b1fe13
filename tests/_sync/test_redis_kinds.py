# Generated from tests/_async/test_redis_kinds.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""A Redis Cluster, and a Redis behind TLS."""

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chatmemory import ChatMemory, Settings
from chatmemory.storage.redis_keys import sessions_key, window_key
from tests._sync.test_redis_faults import FAULTS, NEVER_LONGER, QUICK, converse, healed, open_memory
from tests.fixtures.redis import RedisServer
from tests.fixtures.tls import TlsProxy

pytestmark = pytest.mark.usefixtures("asks_redis")

Start = Callable[..., RedisServer]
StartCluster = Callable[[int], list[RedisServer]]
StartTls = Callable[..., TlsProxy]


def test_a_cluster_serves_contexts_and_sessions(
    postgres_url: str, redis_cluster: StartCluster, settings: Settings
) -> None:
    """Contexts come from there, and sessions are resumed from there without Postgres, on the nodes that hold them."""
    nodes = redis_cluster(2)
    settings = settings.model_copy(update={"redis_cluster": True})
    sessions = {f"s{number}": f"u{number}" for number in range(4)}
    with open_memory(postgres_url, nodes[0].url, settings) as memory:
        for id, user in sessions.items():
            session = memory.tenant("acme").sessions.create(session_id=id, user_id=user)
            converse(memory, session, user=user)
            assert converse(memory, session, user=user) == "redis"
        assert memory.health().ok
    with open_memory("postgresql://nobody@127.0.0.1:1/x", nodes[1].url, settings) as cut_off:
        for id, user in sessions.items():
            session = cut_off.tenant("acme").sessions.resume_or_create(id, user_id=user)
            assert (session.id, session.context(max_messages=4).messages[-1].seq) == (id, 4)
    tags = {window_key("acme", id): f"acme/{id}" for id in sessions}
    tags |= {sessions_key("acme", user): f"acme/{user}" for user in sessions.values()}
    found: set[str] = set()
    for node in nodes:
        with node.client() as client:
            here = [key.decode() for key in client.keys("cm:{*")]
            assert all(client.cluster("keyslot", key) == client.cluster("keyslot", tags[key]) for key in here)
        assert here
        found.update(here)
    assert found == tags.keys()


@pytest.mark.parametrize("fault", ["refused", "frozen"])
def test_a_cluster_that_was_gone_is_used_again(
    postgres_url: str, redis_cluster: StartCluster, settings: Settings, fault: str
) -> None:
    """Every call answers from Postgres, and soon; when it is back, with its slots, contexts come from there."""
    [server] = redis_cluster(1)
    breaks, mends = FAULTS[fault]
    settings = settings.model_copy(update={"redis_cluster": True, **QUICK})
    with open_memory(postgres_url, server.url, settings) as memory:
        session = memory.tenant("acme").sessions.create(user_id="ann")
        healed(memory, session)
        breaks(server)
        start = time.monotonic()
        assert converse(memory, session, turns=1) == "postgres"
        assert time.monotonic() - start < NEVER_LONGER
        assert memory.health().redis == "unreachable"
        mends(server)
        healed(memory, session)


def test_tls_with_a_trusted_certificate(
    postgres_url: str, own_redis: Start, tls: StartTls, authority_file: Path, settings: Settings
) -> None:
    """The URL names who vouches for the certificate: contexts come from there."""
    proxy = tls(own_redis().socket)
    url = f"{proxy.url}?ssl_ca_certs={authority_file}"
    with ChatMemory.open(postgres_url, redis=url, settings=settings) as memory:
        session = memory.tenant("acme").sessions.create(user_id="ann")
        converse(memory, session)
        assert converse(memory, session) == "redis"
        assert memory.health().ok


@pytest.mark.parametrize(("host", "trusted"), [("127.0.0.1", False), ("redis.example.org", True)])
def test_tls_with_a_certificate_of_no_use(
    postgres_url: str,
    own_redis: Start,
    tls: StartTls,
    authority_file: Path,
    settings: Settings,
    host: str,
    trusted: bool,
) -> None:
    """Nobody vouches for it, or it is another host's: every call answers from Postgres, and Redis is told nothing."""
    server = own_redis()
    proxy = tls(server.socket, host)
    url = f"{proxy.url}?ssl_ca_certs={authority_file}" if trusted else proxy.url
    with ChatMemory.open(postgres_url, redis=url, settings=settings) as memory:
        session = memory.tenant("acme").sessions.create(user_id="ann")
        for _ in range(3):
            assert converse(memory, session) == "postgres"
        assert memory.health().redis == "unreachable"
    with server.client() as client:
        assert client.dbsize() == 0
