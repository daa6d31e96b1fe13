import json
from typing import Any

import pytest

from chatmemory import AsyncChatMemory, InvalidInputError, NewItem
from tests._async.test_isolation import raw

PLACE = ("memories", "ann")


async def test_items_are_put_read_replaced_and_deleted(async_memory: AsyncChatMemory) -> None:
    """A value comes back exactly as stored; a second put replaces it and leaves created_at."""
    items = async_memory.tenant("acme").items
    value = {"b": 1e22, "a": [-0.0, None, {"z": "ä\\ü 🎈"}], "": "'"}
    await items.put(PLACE, "k-1", value, user_id="ann")
    found = await items.get(PLACE, "k-1")
    assert found is not None
    assert (found.namespace, found.key, found.user_id, found.score) == (PLACE, "k-1", "ann", None)
    assert json.dumps(found.value) == json.dumps(value)
    await items.put(PLACE, "k-1", {}, user_id="ann")
    again = await items.get(PLACE, "k-1")
    assert again is not None
    assert (again.value, again.created_at) == ({}, found.created_at)
    assert again.updated_at > found.updated_at
    await items.delete(PLACE, "k-1")
    await items.delete(PLACE, "k-1")
    assert await items.get(PLACE, "k-1") is None


async def test_namespaces_are_not_mixed_up(async_memory: AsyncChatMemory) -> None:
    """Labels that contain separators, quotes or the beginning of another are labels of their own."""
    items = async_memory.tenant("acme").items
    places = [("a",), ("a", "b"), ("a,b",), ('a","b',), ("ab",), ("{a}",)]
    for place in places:
        await items.put(place, "k", {"place": list(place)})
    assert await items.namespaces() == sorted(places)
    for place in places:
        found = await items.get(place, "k")
        assert found is not None
        assert found.value == {"place": list(place)}
    assert {item.namespace for item in await items.search(("a",))} == {("a",), ("a", "b")}


async def test_search_pages_through_all(async_memory: AsyncChatMemory) -> None:
    """The newest put stands first; limits and offsets cut pages without gaps, with a filter too."""
    items = async_memory.tenant("acme").items
    await items.put_many([NewItem(PLACE, f"k-{n:04}", {"n": n, "even": n % 2 == 0}, "ann") for n in range(1200)])
    await items.put(PLACE, "k-0003", {"n": 3, "even": False}, user_id="ann")
    assert [item.key for item in await items.search(limit=1)] == ["k-0003"]
    for filter, count in ((None, 1200), ({"even": True}, 600), ({"n": {"$gte": 100, "$lt": 107}}, 7)):
        pages: list[str] = []
        while page := await items.search(PLACE, filter=filter, limit=170, offset=len(pages)):
            pages += [item.key for item in page]
        assert len(pages) == len(set(pages)) == count


async def test_words_come_first(async_memory: AsyncChatMemory) -> None:
    """A query ranks by shared words; the rest follows without a score; what is not indexed has none."""
    items = async_memory.tenant("acme").items
    await items.put(PLACE, "tea", {"text": "She drinks green tea with lemon"})
    await items.put(PLACE, "both", {"text": ["Tea and Lisbon", {"more": "tea houses"}]})
    await items.put(PLACE, "hidden", {"text": "tea"}, text="")
    await items.put(PLACE, "named", {"text": "nothing"}, text="tea ceremony")
    await items.put(PLACE, "other", {"text": "coffee"})
    found = await items.search(PLACE, query="Tea? It's tea's \\ 'time'", limit=10)
    assert {item.key for item in found if item.score} == {"tea", "both", "named"}
    assert [bool(item.score) for item in found] == [True] * 3 + [False] * 2
    assert {item.key for item in await items.search(query="Lisbon", limit=1)} == {"both"}
    for query in ("", "the", "   ", "a \\ b", "':*&|!()"):
        assert len(await items.search(PLACE, query=query)) == 5


async def test_tenants_have_items_of_their_own(async_memory: AsyncChatMemory) -> None:
    """The same namespace and key in two tenants are two items, for SQL that forgets its WHERE too."""
    acme, rival = async_memory.tenant("acme").items, async_memory.tenant("rival").items
    await acme.put(PLACE, "k", {"of": "acme"}, user_id="ann")
    assert await rival.get(PLACE, "k") is None
    assert not await rival.search()
    assert await rival.namespaces() == []
    await rival.put(PLACE, "k", {"of": "rival"}, user_id="ann")
    await rival.delete(PLACE, "k")
    found = await acme.get(PLACE, "k")
    assert found is not None
    assert found.value == {"of": "acme"}
    assert await raw(async_memory, "rival", "select * from chatmemory.store_items") == []
    assert len(await raw(async_memory, "acme", "select * from chatmemory.store_items")) == 1
    assert await raw(async_memory, None, "select * from chatmemory.store_items") == []


async def test_a_users_items_are_exported_and_erased(async_memory: AsyncChatMemory) -> None:
    """users.export() hands them out, users.erase() removes and counts them; those of others stay."""
    acme = async_memory.tenant("acme")
    await acme.items.put(PLACE, "k", {"secret": 1}, user_id="ann")
    await acme.items.put(("memories", "bob"), "k", {"secret": 2}, user_id="bob")
    await acme.items.put(("rules",), "k", {"secret": 3})
    lines = [json.loads(line) async for line in acme.users.export("ann")]
    assert [(line["record"], line["namespace"], line["value"]) for line in lines[1:]] == [
        ("item", list(PLACE), {"secret": 1})
    ]
    assert (await acme.users.erase("ann")).items == 1
    assert [item.value for item in await acme.items.search()] == [{"secret": 3}, {"secret": 2}]
    assert await acme.items.namespaces(user_id="ann") == []


async def test_a_batch_is_all_or_none(async_memory: AsyncChatMemory) -> None:
    """One bad item, and none is stored; of two under one key the last counts."""
    items = async_memory.tenant("acme").items
    for bad in (
        NewItem(PLACE, "k", {"n": float("nan")}),
        NewItem(("",), "k", {}),
        NewItem("memories", "k", {}),
        NewItem(PLACE, "nul\0", {}),
        NewItem(PLACE, "k", {}, user_id=""),
    ):
        with pytest.raises(InvalidInputError):
            await items.put_many([NewItem(PLACE, "good", {}), bad])
    assert not await items.search()
    await items.put_many([NewItem(PLACE, "k", {"n": 1}), NewItem(PLACE, "k", {"n": 2}), NewItem(PLACE, "j", None)])
    assert [item.value for item in await items.search()] == [{"n": 2}]
    with pytest.raises(InvalidInputError, match="not a filter operator"):
        await items.search(filter={"n": {"$near": 1}})


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ({"$or": [{"n": 1}, {"n": 3}]}, [1, 3]),
        ({"$and": [{"n": {"$gt": 1}}, {"n": {"$lt": 4}}]}, [2, 3]),
        ({"even": True, "$or": [{"n": {"$lt": 3}}, {"n": {"$gt": 5}}]}, [2, 6]),
        ({"$or": [{"$and": [{"even": True}, {"n": {"$lt": 3}}]}, {"n": 5}]}, [2, 5]),
        ({"n": {"$or": [{"$lt": 2}, {"$gte": 6}]}}, [1, 6]),
        ({"n": {"$or": [{"$eq": 2}], "$lt": 9}}, [2]),
        ({"in": {"$or": [{"m": 1}, {"m": 2}]}}, [1, 2]),
        ({"$or": [{"n": 1}], "$and": [{"n": 2}]}, []),
    ],
)
async def test_filters_are_combined(async_memory: AsyncChatMemory, filter: Any, found: list[int]) -> None:
    """$and and $or take filters, at the top, in each other and of one field."""
    items = async_memory.tenant("acme").items
    await items.put_many([NewItem(PLACE, str(n), {"n": n, "even": n % 2 == 0, "in": {"m": n}}) for n in range(1, 7)])
    assert sorted(item.value["n"] for item in await items.search(filter=filter)) == found


@pytest.mark.parametrize(
    "filter",
    [
        {"$nor": [{"n": 1}]}, {"$gt": 1}, {"$or": []}, {"$or": {"n": 1}}, {"$and": [1]}, {"$or": [{"$gt": 1}]},
        {"n": {"$in": [1]}}, {"n": {"$or": 1}}, {"$or": [{"n": {"$near": 1}}]}, {"a": {"b": {"$not": 1}}}, ["n"], "n",
    ],
    ids=repr,
)  # fmt: skip
async def test_filters_that_are_none_are_refused(async_memory: AsyncChatMemory, filter: Any) -> None:
    """Also where there is no item to compare."""
    with pytest.raises(InvalidInputError):
        await async_memory.tenant("acme").items.search(filter=filter)
