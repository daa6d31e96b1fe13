import asyncio
import random
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage
from langgraph.store.base import (
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    PutOp,
    SearchItem,
    SearchOp,
)
from langgraph.store.memory import InMemoryStore

from chatmemory import AsyncChatMemory, ChatMemory, ConfigurationError, InvalidInputError
from chatmemory_langchain import ChatMemoryStore

LABELS = st.sampled_from(["memories", "ann", "bob", "x"])
NAMESPACES = st.lists(LABELS, min_size=1, max_size=3).map(tuple)
PREFIXES = st.lists(LABELS, max_size=2).map(tuple)
PATTERNS = st.lists(st.one_of(LABELS, st.just("*")), min_size=1, max_size=3).map(tuple)
KEYS = st.sampled_from(["k", "j", "ä 'x'"])
SCALARS = st.one_of(st.integers(-3, 3), st.sampled_from(["red", "blue"]), st.booleans(), st.just(1.5))
VALUES = st.dictionaries(
    st.sampled_from(["color", "size", "in"]),
    st.one_of(SCALARS, st.lists(SCALARS, max_size=2), st.dictionaries(st.sampled_from(["color", "size"]), SCALARS)),
)
EQUALITIES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=2),
    st.dictionaries(st.sampled_from(["color", "size"]), SCALARS, max_size=2),
    st.fixed_dictionaries({"$ne": SCALARS}),
    st.fixed_dictionaries({"$eq": SCALARS}),
)
FILTERS = st.one_of(st.none(), st.dictionaries(st.sampled_from(["color", "size", "in"]), EQUALITIES, max_size=2))
CONDITIONS = st.lists(
    st.builds(MatchCondition, match_type=st.sampled_from(["prefix", "suffix"]), path=PATTERNS), max_size=2
).map(tuple)
OPERATIONS = st.one_of(
    st.builds(PutOp, namespace=NAMESPACES, key=KEYS, value=VALUES, index=st.none(), ttl=st.none()),
    st.builds(PutOp, namespace=NAMESPACES, key=KEYS, value=VALUES, index=st.none(), ttl=st.none()),
    st.builds(PutOp, namespace=NAMESPACES, key=KEYS, value=st.none(), index=st.none(), ttl=st.none()),
    st.builds(GetOp, namespace=NAMESPACES, key=KEYS),
    st.builds(
        SearchOp,
        namespace_prefix=PREFIXES,
        filter=FILTERS,
        query=st.sampled_from([None, "red", "a blue one"]),
        limit=st.just(100),
        offset=st.just(0),
    ),
    st.builds(
        ListNamespacesOp,
        match_conditions=CONDITIONS,
        max_depth=st.one_of(st.none(), st.integers(1, 3)),
        limit=st.integers(1, 4),
        offset=st.integers(0, 2),
    ),
)
BATCHES = st.lists(st.lists(OPERATIONS, min_size=1, max_size=6), max_size=10)


def plain(result: Any) -> Any:
    """A result without times, scores and an order, which the stores do not promise."""
    if isinstance(result, Item):
        return (result.namespace, result.key, result.value)
    if isinstance(result, list) and result and isinstance(result[0], SearchItem):
        return sorted(((each.namespace, each.key, each.value) for each in result), key=repr)
    return result


def forget_empty_namespaces(store: InMemoryStore) -> None:
    """InMemoryStore lists namespaces whose items are gone, or that were only asked for; LangGraph's others do not."""
    for namespace in [namespace for namespace, held in store._data.items() if not held]:
        del store._data[namespace]


def results(store: Any, batch: Any) -> Any:
    """Return the results of a batch, or its rejection."""
    if isinstance(store, InMemoryStore):
        forget_empty_namespaces(store)
        for op in batch:  # each alone, as a GetOp leaves an empty namespace behind
            if isinstance(op, ListNamespacesOp):
                return [plain(_reading(store, each)) for each in batch]
    return [plain(result) for result in store.batch(batch)]


def _reading(store: InMemoryStore, op: Any) -> Any:
    if isinstance(op, PutOp):
        return None
    [result] = store.batch([op])
    forget_empty_namespaces(store)
    return result


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=BATCHES, user_at=st.sampled_from([None, 0, 1]))
def test_any_operations_do_as_in_memory(memory: ChatMemory, batches: Any, user_at: Any) -> None:
    """Random batches of puts, reads, searches, lists and deletions: both stores give the same answers."""
    ours = ChatMemoryStore(memory.tenant(uuid4()), user_at=user_at)
    theirs = InMemoryStore()
    for batch in [*batches, [SearchOp((), limit=100)], [ListNamespacesOp(limit=100)]]:
        assert results(ours, batch) == results(theirs, batch)
        theirs.batch([op for op in batch if isinstance(op, PutOp)])


@pytest.mark.parametrize("operator", ["$gt", "$gte", "$lt", "$lte"])
def test_comparisons_do_as_in_memory(memory: ChatMemory, operator: str) -> None:
    """Numbers, and strings that are numbers, are compared as InMemoryStore compares them."""
    stores = (ChatMemoryStore(memory.tenant("acme"), user_at=None), InMemoryStore())
    for number in (-1, 0, 2, 2.5, "3", True):
        for store in stores:
            store.put(("n",), str(number), {"n": number})
    for bound in (0, 2, 2.5, "2"):
        found = [sorted(each.key for each in store.search(("n",), filter={"n": {operator: bound}})) for store in stores]
        assert found[0] == found[1]


def test_a_comparison_with_nothing_keeps_nothing(memory: ChatMemory) -> None:
    """An item whose value is missing or not a number is skipped; InMemoryStore raises TypeError or ValueError."""
    store = ChatMemoryStore(memory.tenant("acme"), user_at=None)
    store.put(("n",), "k", {"n": "many"})
    assert store.search(("n",), filter={"n": {"$gt": 1}}) == []
    assert store.search(("n",), filter={"m": {"$gt": 1}}) == []
    with pytest.raises(InvalidInputError, match=r"\$near"):
        store.search(("n",), filter={"n": {"$near": 1}})


def test_a_number_too_large_to_compare_spoils_no_search(memory: ChatMemory) -> None:
    """One item whose number no float holds is left out; InMemoryStore raises for all."""
    store = ChatMemoryStore(memory.tenant("acme"), user_at=None)
    store.put(("n",), "huge", {"n": 10**400})
    store.put(("n",), "two", {"n": 2})
    assert [each.key for each in store.search(("n",), filter={"n": {"$gt": 1}})] == ["two"]


def test_places_that_no_index_holds_are_refused(memory: ChatMemory) -> None:
    """A key or namespace that is too long says so before anything is written; asking for one finds nothing."""
    store = ChatMemoryStore(memory.tenant("acme"), user_at=None)
    key = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz", k=20_000))
    for namespace, name in ((("n",), key), (("n", key), "k")):
        with pytest.raises(InvalidInputError, match="at most 2000"):
            store.batch([PutOp(("n",), "fits", {"a": 1}), PutOp(namespace, name, {"a": 1})])
        assert store.get(namespace, name) is None
        store.delete(namespace, name)
    longest = ("é" * 900, "x" * 100)
    store.put(longest[:1], longest[1], {"a": 1})
    assert [each.key for each in store.search(())] == [longest[1]]


async def test_what_is_no_operation_is_refused(memory: ChatMemory) -> None:
    """A batch with something else in it is refused whole."""
    store = ChatMemoryStore(memory.tenant("acme"), user_at=None)
    batch: Any = [PutOp(("n",), "k", {"a": 1}), ("get", "k")]
    with pytest.raises(InvalidInputError, match="tuple is not an operation"):
        store.batch(batch)
    with pytest.raises(InvalidInputError, match="tuple is not an operation"):
        await store.abatch(batch)
    assert store.search(()) == []


def test_the_position_says_whose_an_item_is(memory: ChatMemory) -> None:
    """Items below a user's label are exported and erased with the user; shorter namespaces are nobody's."""
    acme = memory.tenant("acme")
    store = ChatMemoryStore(acme, user_at=1)
    store.put(("memories", "ann", "food"), "k", {"likes": "tea"})
    store.put(("memories", "bob"), "k", {"likes": "coffee"})
    store.put(("memories",), "k", {"rule": "be kind"})
    assert len(list(acme.users.export("ann"))) == 2, "the first line names the format"
    assert acme.users.erase("ann").items == 1
    assert store.list_namespaces() == [("memories",), ("memories", "bob")]
    assert store.list_namespaces(prefix=("memories", "*")) == [("memories", "bob")]
    assert store.search(("memories", "ann")) == []


def test_tenants_do_not_meet(memory: ChatMemory) -> None:
    """The same namespace in another tenant's store is empty, in a search of everything too."""
    store, foreign = (ChatMemoryStore(memory.tenant(name), user_at=1) for name in ("acme", "rival"))
    store.put(("memories", "ann"), "k", {"likes": "tea"})
    assert foreign.get(("memories", "ann"), "k") is None
    assert foreign.search(()) == []
    assert foreign.list_namespaces() == []
    foreign.delete(("memories", "ann"), "k")
    assert store.get(("memories", "ann"), "k") is not None


def test_a_query_ranks_by_words(memory: ChatMemory) -> None:
    """Items that share words come first with a score, then the others; index= names the fields that are searched."""
    store = ChatMemoryStore(memory.tenant("acme"), user_at=None)
    store.put(("m",), "tea", {"text": "green tea", "note": "lemon"}, index=["text"])
    store.put(("m",), "parts", {"parts": [{"text": "a"}, {"text": "lemon tea"}]}, index=["parts[*].text"])
    store.put(("m",), "never", {"text": "lemon"}, index=False)
    store.put(("m",), "all", {"text": "lemon cake"})
    found = store.search(("m",), query="lemon")
    assert [(item.key, bool(item.score)) for item in found[2:]] == [("never", False), ("tea", False)]
    assert {item.key for item in found[:2] if item.score} == {"parts", "all"}
    assert [item.key for item in store.search(("m",), query="lemon cake", limit=1)] == ["all"]


def test_times_are_those_of_the_first_and_the_last_put(memory: ChatMemory) -> None:
    """created_at stays, updated_at moves on, both with a time zone."""
    store = ChatMemoryStore(memory.tenant("acme"), user_at=None)
    seen = []
    for number in (1, 2):
        store.put(("m",), "k", {"n": number})
        item = store.get(("m",), "k")
        assert item is not None
        seen.append(item)
    assert seen[0].created_at == seen[1].created_at <= seen[0].updated_at < seen[1].updated_at
    assert seen[0].created_at.tzinfo is not None


def test_what_is_nearly_json_is_kept(memory: ChatMemory) -> None:
    """The text of a message, which is a string of a class of its own, and tuples come back as strings and lists."""
    store = ChatMemoryStore(memory.tenant("acme"), user_at=None)
    store.put(("m",), "k", {"text": HumanMessage("I like tea").text, "parts": ("a", 1)}, index=["text"])
    item = store.get(("m",), "k")
    assert item is not None
    assert item.value == {"text": "I like tea", "parts": ["a", 1]}
    with pytest.raises(InvalidInputError, match="object"):
        store.put(("m",), "k", {"what": object()})


async def test_async_is_native(async_memory: AsyncChatMemory) -> None:
    """With an AsyncChatMemory's tenant the async methods work, many at once; the sync ones say what to do."""
    store = ChatMemoryStore(async_memory.tenant("acme"), user_at=1)
    await asyncio.gather(*(store.aput(("memories", "ann"), f"k-{n}", {"n": n}) for n in range(20)))
    assert len(await store.asearch(("memories", "ann"), filter={"n": {"$lt": 10}}, limit=50)) == 10
    item = await store.aget(("memories", "ann"), "k-3")
    assert item is not None
    assert item.value == {"n": 3}
    await store.adelete(("memories", "ann"), "k-3")
    assert await store.aget(("memories", "ann"), "k-3") is None
    assert await store.alist_namespaces(max_depth=1) == [("memories",)]
    with pytest.raises(ConfigurationError, match="async methods"):
        store.get(("memories", "ann"), "k-1")


async def test_a_sync_tenant_also_answers_async_calls(memory: ChatMemory) -> None:
    """The async methods run in threads there."""
    store = ChatMemoryStore(memory.tenant("acme"), user_at=1)
    await store.aput(("memories", "ann"), "k", {"n": 1})
    assert [item.value for item in await store.asearch(("memories",))] == [{"n": 1}]


def test_what_is_no_tenant_is_refused() -> None:
    """A wrong object is told when the store is made."""
    with pytest.raises(ConfigurationError, match="not a str"):
        ChatMemoryStore("acme", user_at=None)  # type: ignore[arg-type]
