"""The TTL of a store, as LangGraph's own Postgres store has it."""

import asyncio
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from langgraph.store.base import PutOp, TTLConfig

from chatmemory import AsyncChatMemory, ChatMemory, ConfigurationError, InvalidInputError, Item
from chatmemory_langchain import ChatMemoryStore
from tests._async.test_item_ttl import expire, kept

NOTES = ("notes", "ann")
TTL: TTLConfig = {"default_ttl": 30, "refresh_on_read": True}
SOON = 1 / 60_000  # minutes: a millisecond


def stored(memory: ChatMemory, key: str) -> Item:
    """An item as the tenant sees it."""
    found = memory.tenant("acme").items.get(NOTES, key)
    assert found is not None
    return found


def minutes_left(memory: ChatMemory, key: str) -> float | None:
    """Return the time that an item has left; None: for ever."""
    end = stored(memory, key).expires_at
    return None if end is None else (end - datetime.now(UTC)).total_seconds() / 60


def test_a_put_says_how_long(memory: ChatMemory) -> None:
    """For one put, else as the store says; None is for ever, and a store without ttl takes one, too."""
    store = ChatMemoryStore(memory.tenant("acme"), user_at=1, ttl=TTL)
    store.put(NOTES, "default", {})
    store.put(NOTES, "short", {}, ttl=0.5)
    store.put(NOTES, "ever", {}, ttl=None)
    ChatMemoryStore(memory.tenant("acme"), user_at=1).put(NOTES, "hour", {}, ttl=60)
    assert minutes_left(memory, "default") == pytest.approx(30, abs=1)
    assert minutes_left(memory, "short") == pytest.approx(0.5, abs=0.5)
    assert minutes_left(memory, "ever") is None
    assert minutes_left(memory, "hour") == pytest.approx(60, abs=1)
    store.put(NOTES, "hour", {})
    assert minutes_left(memory, "hour") == pytest.approx(30, abs=1)


@pytest.mark.parametrize("refreshes", [True, False], ids=["refresh", "keep"])
@pytest.mark.parametrize("said", ["by the store", "by the call"])
def test_a_read_begins_the_time_anew(memory: ChatMemory, refreshes: bool, said: str) -> None:
    """By default, unless the store or the call says otherwise: of what a get or a search returns."""
    config: TTLConfig = {"refresh_on_read": refreshes if said == "by the store" else not refreshes}
    store = ChatMemoryStore(memory.tenant("acme"), user_at=1, ttl=config)
    how: dict[str, Any] = {} if said == "by the store" else {"refresh_ttl": refreshes}
    for key in ("got", "found", "neither"):
        store.put(NOTES, key, {"key": key}, ttl=30)
    before = {key: stored(memory, key).expires_at for key in ("got", "found", "neither")}
    store.get(NOTES, "got", **how)
    store.search(NOTES, filter={"key": "found"}, **how)
    changed = {key for key, at in before.items() if stored(memory, key).expires_at != at}
    assert changed == ({"got", "found"} if refreshes else set())


@pytest.mark.parametrize("omit", [True, False, None])
def test_what_has_expired_is_gone(memory: ChatMemory, postgres_url: str, omit: bool | None) -> None:
    """From gets, searches and namespaces, swept or not, and no read brings it back."""
    config: Any = TTL if omit is None else {**TTL, "omit_expired": omit}
    store = ChatMemoryStore(memory.tenant("acme"), user_at=1, ttl=config)
    store.put(NOTES, "gone", {"text": "tea"})
    store.put(("other",), "here", {"text": "tea"}, ttl=None)
    expire(postgres_url, "gone")
    for refresh in (True, False):
        assert store.get(NOTES, "gone", refresh_ttl=refresh) is None
        assert [item.key for item in store.search((), query="tea", refresh_ttl=refresh)] == ["here"]
    assert store.list_namespaces() == [("other",)]
    assert kept(postgres_url) == [("acme", "gone"), ("acme", "here")]
    assert store.sweep_ttl() == 1
    assert kept(postgres_url) == [("acme", "here")]


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), 10**9, "5"])
def test_an_interval_that_cannot_be_kept_is_refused(memory: ChatMemory, minutes: Any) -> None:
    """At once, and not by a thread that never rests."""
    with pytest.raises(InvalidInputError, match="sweep_interval_minutes"):
        ChatMemoryStore(memory.tenant("acme"), user_at=1).start_ttl_sweeper(minutes)


def test_a_sweeper_removes_while_it_runs(memory: ChatMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread at the store's interval, however often it is started; a failed sweep is followed by another."""
    config: Any = {"sweep_interval_minutes": SOON}
    store = ChatMemoryStore(memory.tenant("acme"), user_at=1, ttl=config)
    removed: list[int] = []
    seen = threading.Event()

    def sweep() -> int:
        removed.append(ChatMemoryStore.sweep_ttl(store))
        if sum(removed):
            seen.set()
        if len(removed) == 1:
            raise InvalidInputError("the first one fails")
        return removed[-1]

    monkeypatch.setattr(store, "sweep_ttl", sweep)
    store.start_ttl_sweeper()
    store.start_ttl_sweeper()
    assert [thread.name for thread in threading.enumerate()].count("chatmemory-sweeper") == 1
    store.put(NOTES, "k", {}, ttl=0)
    assert seen.wait(60)
    assert store.stop_ttl_sweeper(60)
    assert store.stop_ttl_sweeper()
    assert "chatmemory-sweeper" not in [thread.name for thread in threading.enumerate()]
    assert sum(removed) == 1


async def test_async_expires_sweeps_and_refreshes(
    async_memory: AsyncChatMemory, memory: ChatMemory, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same on an AsyncTenant, its sweeper as a task; the sync methods say what to do."""
    store = ChatMemoryStore(async_memory.tenant("acme"), user_at=1, ttl=TTL)
    await store.aput(NOTES, "k", {"text": "tea"})
    before = stored(memory, "k").expires_at
    assert await store.aget(NOTES, "k") is not None
    assert await store.asearch(NOTES, query="tea", refresh_ttl=False) != []
    after = stored(memory, "k").expires_at
    assert before is not None
    assert after is not None
    assert after > before
    expire(postgres_url, "k")
    assert await store.aget(NOTES, "k") is None
    swept = asyncio.Event()

    async def sweep() -> int:
        removed = await ChatMemoryStore.asweep_ttl(store)
        if removed:
            swept.set()
        return removed

    monkeypatch.setattr(store, "asweep_ttl", sweep)
    await store.astart_ttl_sweeper(SOON)
    async with asyncio.timeout(60):
        await swept.wait()
    await store.astop_ttl_sweeper()
    await store.astop_ttl_sweeper()
    assert kept(postgres_url) == []
    for call in (store.sweep_ttl, store.start_ttl_sweeper):
        with pytest.raises(ConfigurationError, match="async methods"):
            call()


async def test_a_sync_tenant_sweeps_for_async_callers(memory: ChatMemory, postgres_url: str) -> None:
    """In a thread, as its other async methods."""
    store = ChatMemoryStore(memory.tenant("acme"), user_at=1)
    await store.aput(NOTES, "k", {}, ttl=5)
    expire(postgres_url, "k")
    assert await store.asweep_ttl() == 1


@pytest.mark.parametrize("ttl", [-1, float("nan"), float("inf"), "5"], ids=repr)
def test_a_ttl_that_is_none_is_refused(memory: ChatMemory, ttl: Any) -> None:
    """By the put, and by the store whose default it is."""
    store = ChatMemoryStore(memory.tenant("acme"), user_at=1)
    with pytest.raises(InvalidInputError):
        store.batch([PutOp(NOTES, "good", {}), PutOp(NOTES, "k", {}, ttl=ttl)])
    assert store.search(()) == []
    if ttl != -1:
        with pytest.raises(InvalidInputError, match="minutes"):
            ChatMemoryStore(memory.tenant("acme"), user_at=1, ttl={"default_ttl": ttl})
