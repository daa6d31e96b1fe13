"""Items with a time to live: who sees them until when, and what removes them."""

import json
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from chatmemory import AsyncChatMemory, InvalidInputError, NewItem
from chatmemory._async.items import AsyncItems
from tests._async.test_read_only import set_read_only
from tests.fixtures.postgres import own_roles

PLACE = ("memories", "ann")
HOUR = timedelta(hours=1)


def expire(url: str, *keys: str) -> None:
    """Let the time of items be over, in all tenants; nothing removes them yet."""
    with psycopg.connect(url) as connection:
        connection.execute(
            "update chatmemory.store_items set expires_at = now() - interval '1 minute' where key = any(%s)",
            (list(keys),),
        )


def kept(url: str) -> list[tuple[Any, ...]]:
    """The tenants and keys of all items that are stored, expired or not."""
    with psycopg.connect(url) as connection:
        return connection.execute("select tenant_id, key from chatmemory.store_items order by 1, 2").fetchall()


async def end_of(items: AsyncItems, key: str) -> datetime:
    """Return the time at which an item expires."""
    found = await items.get(PLACE, key)
    assert found is not None
    assert found.expires_at is not None
    return found.expires_at


async def test_nobody_sees_what_has_expired(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """No read shows it, though it is still stored; the pages of what is left have no gaps."""
    items = async_memory.tenant("acme").items
    for key in ("a", "gone", "b", "c"):
        await items.put(PLACE, key, {"text": "green tea"}, ttl=HOUR, vectors=[[1, 0]])
    await items.put(("old",), "gone", {"text": "green tea"}, ttl=HOUR)
    expire(postgres_url, "gone")
    assert ("acme", "gone") in kept(postgres_url)
    assert await items.get(PLACE, "gone") is None
    assert await items.namespaces() == [PLACE]
    pages = [[item.key for item in await items.search(limit=2, offset=offset)] for offset in (0, 2)]
    assert pages == [["c", "b"], ["a"]]
    for asked in ({"query": "tea"}, {"vector": [1, 0]}, {"filter": {"text": "green tea"}}, {"user_id": None}):
        assert {item.key for item in await items.search(**asked)} == {"a", "b", "c"}, asked


async def test_a_read_that_asks_begins_the_time_anew(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """Of the items that it returns, and no others; one that has expired stays so, and one without a time has none."""
    items = async_memory.tenant("acme").items
    for key in ("read", "listed", "left", "gone"):
        await items.put(PLACE, key, {"key": key}, ttl=HOUR)
    await items.put(PLACE, "ever", {"key": "ever"})
    expire(postgres_url, "gone")
    before = {key: await end_of(items, key) for key in ("read", "listed", "left")}
    await items.get(PLACE, "read")
    await items.search(PLACE)
    assert {key: await end_of(items, key) for key in before} == before
    assert await items.get(PLACE, "read", refresh=True) is not None
    assert [item.key for item in await items.search(PLACE, filter={"key": "listed"}, refresh=True)] == ["listed"]
    after = {key: await end_of(items, key) for key in before}
    assert after["read"] > before["read"]
    assert after["listed"] > before["listed"]
    assert after["left"] == before["left"]
    for found in (await items.get(PLACE, "ever", refresh=True), await items.get(PLACE, "gone", refresh=True)):
        assert found is None or found.expires_at is None
    assert len(await items.search(PLACE, refresh=True)) == 4


async def test_a_put_decides_anew(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """Without a time to live the item stays; over one that has expired, it is a new item."""
    items = async_memory.tenant("acme").items
    await items.put(PLACE, "k", {"n": 1}, ttl=HOUR)
    first = await items.get(PLACE, "k")
    assert first is not None
    await items.put(PLACE, "k", {"n": 2})
    second = await items.get(PLACE, "k")
    assert second is not None
    assert (second.expires_at, second.created_at) == (None, first.created_at)
    await items.put(PLACE, "k", {"n": 3}, ttl=HOUR)
    expire(postgres_url, "k")
    await items.put(PLACE, "k", {"n": 4}, ttl=timedelta(days=10**6))
    third = await items.get(PLACE, "k")
    assert third is not None
    assert third.created_at > first.created_at
    assert third.value == {"n": 4}


async def test_a_sweep_removes_the_tenants_expired_items(
    async_memory: AsyncChatMemory, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are; those of another tenant are another sweep's, and the clean-up's."""
    monkeypatch.setattr("chatmemory._async.items.SWEEP_BATCH", 2)
    monkeypatch.setattr("chatmemory._async.client.CLEAN_UP_BATCH", 2)
    for tenant in ("acme", "rival", "third"):
        new = [NewItem(PLACE, f"{n}", {}, ttl=HOUR) for n in range(5)]
        await async_memory.tenant(tenant).items.put_many([*new, NewItem(PLACE, "ever", {})])
    expire(postgres_url, "0", "1", "2", "3", "4")
    acme = async_memory.tenant("acme").items
    assert [await acme.sweep(), await acme.sweep()] == [5, 0]
    assert len(kept(postgres_url)) == 1 + 6 + 6
    assert (await async_memory.clean_up()).items == 10
    assert kept(postgres_url) == [("acme", "ever"), ("rival", "ever"), ("third", "ever")]
    assert (await async_memory.clean_up()).items == 0


async def test_the_worker_removes_no_item_by_itself(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """Its role sees which tenants have expired items; what removes them acts for one tenant."""
    await async_memory.tenant("acme").items.put(PLACE, "k", {}, ttl=HOUR)
    worker = sql.Identifier(own_roles(postgres_url)[1])
    with psycopg.connect(postgres_url) as connection:
        connection.execute(sql.SQL("set role {}").format(worker))
        assert connection.execute("select tenant_id from chatmemory.store_items").fetchall() == [("acme",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("delete from chatmemory.store_items")


async def test_a_user_gets_and_loses_what_is_still_stored(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """An export has items that have expired and were not removed yet, with their time; an erasure counts them."""
    acme = async_memory.tenant("acme")
    await acme.items.put(PLACE, "k", {"n": 1}, user_id="ann", ttl=HOUR)
    expire(postgres_url, "k")
    lines = [json.loads(line) async for line in acme.users.export("ann")]
    assert [line["expires_at"] is not None for line in lines if line["record"] == "item"] == [True]
    assert (await acme.users.erase("ann")).items == 1


async def test_a_read_does_not_fail_with_its_refresh(
    async_memory: AsyncChatMemory, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """While the database takes no writes, the item is returned, and a warning says that its time goes on."""
    items = async_memory.tenant("acme").items
    await items.put(PLACE, "k", {"n": 1}, ttl=HOUR)
    set_read_only(postgres_url, "on")
    await async_memory._database.heal()
    assert await items.get(PLACE, "k", refresh=True) is not None
    assert "goes on" in caplog.text


@pytest.mark.parametrize("ttl", [timedelta(seconds=-1), 5, "1 hour"], ids=repr)
async def test_a_time_that_is_none_is_refused(async_memory: AsyncChatMemory, ttl: Any) -> None:
    """Before anything is written."""
    items = async_memory.tenant("acme").items
    with pytest.raises(InvalidInputError, match="ttl"):
        await items.put_many([NewItem(PLACE, "good", {}), NewItem(PLACE, "k", {}, ttl=ttl)])
    assert not await items.search()
