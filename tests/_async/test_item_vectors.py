"""Items that are found by vectors."""

import math
from typing import Any

import psycopg
import pytest

from chatmemory import AsyncChatMemory, ConfigurationError, InvalidInputError, NewItem
from tests._async.test_isolation import raw

PLACE = ("memories", "ann")
COUNT = "select count(*) from chatmemory.item_vectors"
EAST, NORTH = [1.0, 0.0], [0.0, 1.0]
HALFWAY = [3.0, 3.0]


async def test_the_nearest_come_first(async_memory: AsyncChatMemory) -> None:
    """By the best of an item's vectors; what has no vector of the model follows without a score, the newest first."""
    items = async_memory.tenant("acme").items
    await items.put(PLACE, "east", {}, vectors=[EAST], model="m")
    await items.put(PLACE, "both", {}, vectors=[[0.0, -1.0], HALFWAY], model="m")
    await items.put(PLACE, "none", {"text": "east"})
    await items.put(PLACE, "other model", {}, vectors=[EAST], model="n")
    await items.put(PLACE, "other length", {}, vectors=[[1.0, 0.0, 0.0]], model="m")
    await items.put(PLACE, "zeros", {}, vectors=[[0.0, 0.0]], model="m")
    found = await items.search(PLACE, vector=EAST, model="m")
    assert [item.key for item in found] == ["east", "both", "zeros", "other length", "other model", "none"]
    assert [item.score for item in found][:2] == pytest.approx([1, math.sqrt(0.5)])
    assert [item.score for item in found][2:] == [None] * 4
    assert found.next is None


@pytest.mark.parametrize(
    ("distance", "scores"),
    [
        ("cosine", {"east": 1, "halfway": math.sqrt(0.5), "north": 0}),
        ("inner_product", {"halfway": 6, "east": 2, "north": 0}),
        ("l2", {"east": -1, "north": -math.sqrt(5), "halfway": -math.sqrt(10)}),
    ],
)
async def test_nearness_is_measured_as_asked(
    async_memory: AsyncChatMemory, distance: Any, scores: dict[str, float]
) -> None:
    """A score is the cosine, the inner product or 0 minus the distance of the vectors as they were given."""
    items = async_memory.tenant("acme").items
    for key, vector in (("east", EAST), ("north", NORTH), ("halfway", HALFWAY)):
        await items.put(PLACE, key, {}, vectors=[vector])
    found = await items.search(PLACE, vector=[2.0, 0.0], distance=distance)
    assert {item.key: item.score for item in found} == pytest.approx(scores, abs=1e-6)
    assert [item.key for item in found] == list(scores)


async def test_pages_filters_users_and_namespaces(async_memory: AsyncChatMemory) -> None:
    """They choose among the items that a vector sorts."""
    items = async_memory.tenant("acme").items
    await items.put_many(NewItem((*PLACE, "deep"), f"{n}", {"n": n}, "ann", vectors=[[1.0, n / 10]]) for n in range(9))
    await items.put(("memories", "bob"), "his", {"n": 1}, user_id="bob", vectors=[EAST])
    pages = [[item.key for item in await items.search(vector=EAST, limit=4, offset=at)] for at in (0, 4, 8)]
    assert pages == [["his", "0", "1", "2"], ["3", "4", "5", "6"], ["7", "8"]], "of two that are as near, the newer"
    assert [item.key for item in await items.search(PLACE, vector=EAST, limit=2)] == ["0", "1"]
    assert [item.key for item in await items.search(vector=EAST, user_id="bob")] == ["his"]
    odd = await items.search(PLACE, vector=NORTH, filter={"n": {"$gt": 5}}, limit=2, offset=1)
    assert [item.key for item in odd] == ["7", "6"]


async def test_vectors_go_with_the_value(async_memory: AsyncChatMemory) -> None:
    """A put replaces them, or removes them if it brings none; they go with the item and with its user."""
    acme = async_memory.tenant("acme")
    await acme.items.put(PLACE, "k", {}, user_id="ann", vectors=[EAST, EAST, EAST])
    await acme.items.put(PLACE, "k", {}, user_id="ann", vectors=[NORTH])
    [found] = await acme.items.search(vector=EAST)
    assert found.score == 0
    await acme.items.put(PLACE, "k", {}, user_id="ann")
    assert await raw(async_memory, "acme", COUNT) == [(0,)]
    await acme.items.put(PLACE, "k", {}, user_id="ann", vectors=[NORTH])
    await acme.items.delete(PLACE, "k")
    assert await raw(async_memory, "acme", COUNT) == [(0,)]
    await acme.items.put(PLACE, "k", {}, user_id="ann", vectors=[NORTH])
    assert (await acme.users.erase("ann")).items == 1
    assert await raw(async_memory, "acme", COUNT) == [(0,)]


async def test_tenants_do_not_meet_by_vectors(async_memory: AsyncChatMemory) -> None:
    """The same namespace, key, user and vector in another tenant are not compared, replaced or removed."""
    acme, rival = async_memory.tenant("acme").items, async_memory.tenant("rival").items
    await acme.put(PLACE, "k", {"of": "acme"}, user_id="ann", vectors=[EAST])
    assert not await rival.search(vector=EAST)
    await rival.put(PLACE, "k", {"of": "rival"}, user_id="ann", vectors=[NORTH])
    await rival.put(PLACE, "k", {"of": "rival"}, user_id="ann")
    [found] = await acme.search(vector=EAST, user_id="ann")
    assert (found.value, found.score) == ({"of": "acme"}, 1)
    assert await raw(async_memory, None, COUNT) == [(0,)]


async def test_without_pgvector_vectors_are_refused(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """Nothing is written, and the error says what to install; without vectors items work, and with it, all does."""
    items = async_memory.tenant("acme").items
    await items.put(PLACE, "before", {"text": "tea"})
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("drop extension vector cascade")
    for call in (
        lambda: items.put(PLACE, "k", {}, vectors=[EAST]),
        lambda: items.search(vector=EAST),
    ):
        with pytest.raises(ConfigurationError, match="pgvector"):
            await call()
    await items.put(PLACE, "before", {"text": "green tea"})
    assert [item.key for item in await items.search(query="green")] == ["before"]
    await async_memory.migrate()
    await items.put(PLACE, "after", {}, vectors=[EAST])
    assert [item.key for item in await items.search(vector=EAST)] == ["after", "before"]


@pytest.mark.parametrize(
    "vector", [[], [math.nan], [1, math.inf], [1e39], ["one"], "12", 1, None, [1.0] * 16_001], ids=lambda v: repr(v)[:9]
)
async def test_vectors_that_are_none_are_refused(async_memory: AsyncChatMemory, vector: Any) -> None:
    """Before anything is written, with a word of what is wrong."""
    items = async_memory.tenant("acme").items
    with pytest.raises(InvalidInputError, match="vector"):
        await items.put_many([NewItem(PLACE, "good", {}), NewItem(PLACE, "k", {}, vectors=[vector])])
    assert not await items.search()
    if vector is not None:
        with pytest.raises(InvalidInputError, match="vector"):
            await items.search(vector=vector)


async def test_one_order_at_a_time(async_memory: AsyncChatMemory) -> None:
    """A query and a vector, an unknown distance, and a cursor beside a vector are refused."""
    items = async_memory.tenant("acme").items
    await items.put_many(NewItem(PLACE, f"{n}", {}) for n in range(3))
    cursor = (await items.search(limit=1)).next
    wrong: list[dict[str, Any]] = [{"query": "tea"}, {"distance": "hamming"}, {"cursor": cursor}, {"model": 1}]
    for each in wrong:
        with pytest.raises(InvalidInputError):
            await items.search(vector=EAST, **each)
