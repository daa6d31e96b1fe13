# Generated from tests/_async/test_items.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
import json
from typing import Any

import pytest

from chatmemory import ChatMemory, InvalidInputError, NewItem
from tests._sync.test_isolation import raw

PLACE = ("memories", "ann")


def test_items_are_put_read_replaced_and_deleted(memory: ChatMemory) -> None:
    """A value comes back exactly as stored; a second put replaces it and leaves created_at."""
    items = memory.tenant("acme").items
    value = {"b": 1e22, "a": [-0.0, None, {"z": "ä\\ü 🎈"}], "": "'"}
    items.put(PLACE, "k-1", value, user_id="ann")
    found = items.get(PLACE, "k-1")
    assert found is not None
    assert (found.namespace, found.key, found.user_id, found.score) == (PLACE, "k-1", "ann", None)
    assert json.dumps(found.value) == json.dumps(value)
    items.put(PLACE, "k-1", {}, user_id="ann")
    again = items.get(PLACE, "k-1")
    assert again is not None
    assert (again.value, again.created_at) == ({}, found.created_at)
    assert again.updated_at > found.updated_at
    items.delete(PLACE, "k-1")
    items.delete(PLACE, "k-1")
    assert items.get(PLACE, "k-1") is None


def test_namespaces_are_not_mixed_up(memory: ChatMemory) -> None:
    """Labels that contain separators, quotes or the beginning of another are labels of their own."""
    items = memory.tenant("acme").items
    places = [("a",), ("a", "b"), ("a,b",), ('a","b',), ("ab",), ("{a}",)]
    for place in places:
        items.put(place, "k", {"place": list(place)})
    assert items.namespaces() == sorted(places)
    for place in places:
        found = items.get(place, "k")
        assert found is not None
        assert found.value == {"place": list(place)}
    assert {item.namespace for item in items.search(("a",))} == {("a",), ("a", "b")}


def test_search_pages_through_all(memory: ChatMemory) -> None:
    """The newest put stands first; limits and offsets cut pages without gaps, with a filter too."""
    items = memory.tenant("acme").items
    items.put_many([NewItem(PLACE, f"k-{n:04}", {"n": n, "even": n % 2 == 0}, "ann") for n in range(1200)])
    items.put(PLACE, "k-0003", {"n": 3, "even": False}, user_id="ann")
    assert [item.key for item in items.search(limit=1)] == ["k-0003"]
    for filter, count in ((None, 1200), ({"even": True}, 600), ({"n": {"$gte": 100, "$lt": 107}}, 7)):
        pages: list[str] = []
        while page := items.search(PLACE, filter=filter, limit=170, offset=len(pages)):
            pages += [item.key for item in page]
        assert len(pages) == len(set(pages)) == count


def test_words_come_first(memory: ChatMemory) -> None:
    """A query ranks by shared words; the rest follows without a score; what is not indexed has none."""
    items = memory.tenant("acme").items
    items.put(PLACE, "tea", {"text": "She drinks green tea with lemon"})
    items.put(PLACE, "both", {"text": ["Tea and Lisbon", {"more": "tea houses"}]})
    items.put(PLACE, "hidden", {"text": "tea"}, text="")
    items.put(PLACE, "named", {"text": "nothing"}, text="tea ceremony")
    items.put(PLACE, "other", {"text": "coffee"})
    found = items.search(PLACE, query="Tea? It's tea's \\ 'time'", limit=10)
    assert {item.key for item in found if item.score} == {"tea", "both", "named"}
    assert [bool(item.score) for item in found] == [True] * 3 + [False] * 2
    assert {item.key for item in items.search(query="Lisbon", limit=1)} == {"both"}
    for query in ("", "the", "   ", "a \\ b", "':*&|!()"):
        assert len(items.search(PLACE, query=query)) == 5


def test_tenants_have_items_of_their_own(memory: ChatMemory) -> None:
    """The same namespace and key in two tenants are two items, for SQL that forgets its WHERE too."""
    acme, rival = memory.tenant("acme").items, memory.tenant("rival").items
    acme.put(PLACE, "k", {"of": "acme"}, user_id="ann")
    assert rival.get(PLACE, "k") is None
    assert not rival.search()
    assert rival.namespaces() == []
    rival.put(PLACE, "k", {"of": "rival"}, user_id="ann")
    rival.delete(PLACE, "k")
    found = acme.get(PLACE, "k")
    assert found is not None
    assert found.value == {"of": "acme"}
    assert raw(memory, "rival", "select * from chatmemory.store_items") == []
    assert len(raw(memory, "acme", "select * from chatmemory.store_items")) == 1
    assert raw(memory, None, "select * from chatmemory.store_items") == []


def test_a_users_items_are_exported_and_erased(memory: ChatMemory) -> None:
    """users.export() hands them out, users.erase() removes and counts them; those of others stay."""
    acme = memory.tenant("acme")
    acme.items.put(PLACE, "k", {"secret": 1}, user_id="ann")
    acme.items.put(("memories", "bob"), "k", {"secret": 2}, user_id="bob")
    acme.items.put(("rules",), "k", {"secret": 3})
    lines = [json.loads(line) for line in acme.users.export("ann")]
    assert [(line["record"], line["namespace"], line["value"]) for line in lines[1:]] == [
        ("item", list(PLACE), {"secret": 1})
    ]
    assert acme.users.erase("ann").items == 1
    assert [item.value for item in acme.items.search()] == [{"secret": 3}, {"secret": 2}]
    assert acme.items.namespaces(user_id="ann") == []


def test_a_batch_is_all_or_none(memory: ChatMemory) -> None:
    """One bad item, and none is stored; of two under one key the last counts."""
    items = memory.tenant("acme").items
    for bad in (
        NewItem(PLACE, "k", {"n": float("nan")}),
        NewItem(("",), "k", {}),
        NewItem("memories", "k", {}),
        NewItem(PLACE, "nul\0", {}),
        NewItem(PLACE, "k", {}, user_id=""),
    ):
        with pytest.raises(InvalidInputError):
            items.put_many([NewItem(PLACE, "good", {}), bad])
    assert not items.search()
    items.put_many([NewItem(PLACE, "k", {"n": 1}), NewItem(PLACE, "k", {"n": 2}), NewItem(PLACE, "j", None)])
    assert [item.value for item in items.search()] == [{"n": 2}]
    with pytest.raises(InvalidInputError, match="not a filter operator"):
        items.search(filter={"n": {"$near": 1}})


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
def test_filters_are_combined(memory: ChatMemory, filter: Any, found: list[int]) -> None:
    """$and and $or take filters, at the top, in each other and of one field."""
    items = memory.tenant("acme").items
    items.put_many([NewItem(PLACE, str(n), {"n": n, "even": n % 2 == 0, "in": {"m": n}}) for n in range(1, 7)])
    assert sorted(item.value["n"] for item in items.search(filter=filter)) == found


@pytest.mark.parametrize(
    "filter",
    [
        {"$nor": [{"n": 1}]}, {"$gt": 1}, {"$or": []}, {"$or": {"n": 1}}, {"$and": [1]}, {"$or": [{"$gt": 1}]},
        {"n": {"$in": [1]}}, {"n": {"$or": 1}}, {"$or": [{"n": {"$near": 1}}]}, {"a": {"b": {"$not": 1}}}, ["n"], "n",
    ],
    ids=repr,
)  # fmt: skip
def test_filters_that_are_none_are_refused(memory: ChatMemory, filter: Any) -> None:
    """Also where there is no item to compare."""
    with pytest.raises(InvalidInputError):
        memory.tenant("acme").items.search(filter=filter)
