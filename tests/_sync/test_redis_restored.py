# Generated from tests/_async/test_redis_restored.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""A Redis that was restored from an older snapshot, or that mixes up its replies."""

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from chatmemory import ChatMemory, Session, Settings
from chatmemory._sync.storage.redis import Cache
from chatmemory.storage.redis_keys import window_key
from tests.fixtures.redis import RedisServer

pytestmark = pytest.mark.usefixtures("asks_redis")


def resumed(memory: ChatMemory, id: str | None = None) -> Session:
    """Resume a session as an app does at every turn."""
    return memory.tenant("acme").sessions.resume_or_create(id, user_id="ann")


def restore(snapshot: dict[bytes, bytes], server: RedisServer) -> None:
    """Give a server the keys of another one, as loading its snapshot or replicating it does."""
    with server.client() as client:
        client.flushall()
        for key, value in snapshot.items():
            client.restore(key, 1_800_000, value)


def snapshot_of(server: RedisServer) -> dict[bytes, bytes]:
    """All keys of a server."""
    with server.client() as client:
        keys: list[Any] = list(client.scan_iter())
        return {key: client.dump(key) for key in keys}


@pytest.mark.parametrize("how", ["delete", "erase"])
def test_an_older_snapshot_brings_nothing_back(
    postgres_url: str, settings: Settings, own_redis: Callable[..., RedisServer], how: str
) -> None:
    """Another server takes over with an old state: no old context, and no session that is gone."""
    before, after = own_redis(), own_redis()
    with ChatMemory.open(postgres_url, redis=before.url, settings=settings) as memory:
        session = resumed(memory)
        for text in ("1", "2", "3"):
            session.append("user", text)
        resumed(memory, session.id)
        assert len(session.context()) == 3
        snapshot = snapshot_of(before)
        for text in ("4", "5", "6"):
            session.append("user", text)
    restore(snapshot, after)
    with ChatMemory.open(postgres_url, redis=after.url, settings=settings) as memory:
        again = resumed(memory, session.id)
        assert [message.text for message in again.context()] == ["1", "2", "3", "4", "5", "6"]
        getattr(again, how)()
    restore(snapshot, after)
    with ChatMemory.open(postgres_url, redis=after.url, settings=settings) as memory:
        assert resumed(memory, session.id).id != session.id


def test_a_reply_to_another_call_is_not_used(cached_memory: ChatMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two replies are swapped: neither session shows the other's messages."""
    sessions = [resumed(cached_memory) for _ in range(2)]
    for number, session in enumerate(sessions):
        session.append("user", f"of {number}")
        session.context()
    evaluate = Cache._evaluate
    keys = [window_key("acme", session.id) for session in sessions]

    def swapped(self: Cache, name: str, key: str, args: Any) -> Any:
        assert self._client is not None
        run = self._client.evalsha

        def other(digest: str, count: int, asked: str, *more: Any) -> Any:
            reply = run(digest, count, asked, *more)
            named = keys[1 - keys.index(asked)] if asked in keys else asked
            return [named.encode(), reply[1]]

        monkeypatch.setattr(self._client, "evalsha", other)
        return evaluate(self, name, key, args)

    monkeypatch.setattr(Cache, "_evaluate", swapped)
    for number, session in enumerate(sessions):
        context = session.context()
        assert [message.text for message in context] == [f"of {number}"]
        assert context.source == "postgres"


@pytest.mark.parametrize(
    "fields", [{"first": 9}, {"last": 0}, {"first": 0}, {"marker": 9}, {"first": "x"}, {"summary": '[9, "text"]'}]
)
def test_fields_that_contradict_each_other_are_no_window(
    cached_memory: ChatMemory, redis_url: str, fields: dict[str, Any]
) -> None:
    """Whatever is wrong in the hash, the context is Postgres' own."""
    session = resumed(cached_memory)
    for text in ("1", "2"):
        session.append("user", text)
    session.context()
    with Redis.from_url(redis_url) as client:
        client.hset(window_key("acme", session.id), mapping=fields)
    context = session.context()
    assert [message.text for message in context] == ["1", "2"]
    assert context.source == "postgres"
    cached_memory._windows.flush()  # what is broken is gone
    session.context()
    assert session.context().source == "redis"
