"""The index of a store: search by meaning as LangGraph's own Postgres store has it."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from langchain_core.embeddings import Embeddings
from langgraph.store.base import IndexConfig, PutOp, SearchOp
from langgraph.store.memory import InMemoryStore

from chatmemory import AsyncChatMemory, ChatMemory, ConfigurationError, LlmError
from chatmemory_langchain import ChatMemoryStore
from chatmemory_langchain.store_index import StoreIndexConfig

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
DOCS = {
    "apple": {"text": "red apple", "color": "red", "stars": 4.5},
    "car": {"text": "red car", "color": "red", "stars": 3.0},
    "pear": {"text": "green pear", "color": "green", "stars": 4.0},
    "whale": {"text": "blue whale", "color": "blue", "stars": 3.5},
}


def letters(texts: Sequence[str]) -> list[list[float]]:
    """Vectors of how often each letter occurs: texts of the same letters are near each other."""
    counts = [Counter(text.lower()) for text in texts]
    return [[float(count[letter]) for letter in ALPHABET] for count in counts]


class Letters(Embeddings):
    """The same as LangChain's embeddings; it keeps what it was asked."""

    def __init__(self, model: str = "letters") -> None:
        self.model = model
        self.documents: list[list[str]] = []
        self.queries: list[str] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """Embed all texts at once."""
        self.documents.append(texts)
        return letters(texts)

    def embed_query(self, text: str) -> list[float]:
        """Embed a query, which some models do otherwise."""
        self.queries.append(text)
        return letters([text])[0]


def index(**more: Any) -> StoreIndexConfig:
    """An index of letters."""
    config: Any = {"dims": len(ALPHABET), "embed": Letters(), "fields": ["text"], **more}
    return config  # type: ignore[no-any-return]


def store_of(memory: ChatMemory, **more: Any) -> ChatMemoryStore:
    """A store with such an index, and the documents in it."""
    store = ChatMemoryStore(memory.tenant("acme"), user_at=None, index=index(**more))
    for key, value in DOCS.items():
        store.put(("docs",), key, value)
    return store


def similarity(one: str, other: str) -> float:
    """The cosine of two texts."""
    first, second = letters([one, other])
    product = sum(a * b for a, b in zip(first, second, strict=True))
    return product / math.hypot(*first) / math.hypot(*second)


def keys(found: Sequence[Any]) -> list[str]:
    """The keys of what was found, in order."""
    return [item.key for item in found]


@pytest.mark.parametrize(
    ("query", "filter", "first", "count"),
    [
        ("apple", None, "apple", 4),
        ("leap", {"color": "green"}, "pear", 1),
        ("car", {"color": "red"}, "car", 2),
        ("whale", {"stars": {"$gt": 3.2}}, "whale", 3),
        ("pear", {"stars": {"$gte": 4.0}, "color": "red"}, "apple", 1),
    ],
)
def test_a_query_finds_by_meaning(memory: ChatMemory, query: str, filter: Any, first: str, count: int) -> None:
    """The nearest item comes first with the score of the embeddings, filters choose among them, as in memory."""
    theirs_index: IndexConfig = index()
    theirs = InMemoryStore(index=theirs_index)
    for key, value in DOCS.items():
        theirs.put(("docs",), key, value)
    found = store_of(memory).search(("docs",), query=query, filter=filter)
    expected = theirs.search(("docs",), query=query, filter=filter)
    assert found[0].key == first
    assert {item.key: item.score for item in found} == pytest.approx({item.key: item.score for item in expected})
    assert len(found) == count
    assert found[0].score == pytest.approx(similarity(query, DOCS[first]["text"]), abs=1e-6)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("distance", "score"), [("cosine", 1.0), ("inner_product", 3.0), ("l2", 0.0)], ids=lambda each: str(each)
)
@pytest.mark.parametrize("kind", ["vector", "halfvec"])
def test_distances_of_the_postgres_store(memory: ChatMemory, distance: Any, score: float, kind: str) -> None:
    """Scores grow with nearness for each distance type; the kind of vector and of index is not asked about."""
    store = ChatMemoryStore(
        memory.tenant("acme"),
        user_at=None,
        index=index(distance_type=distance, ann_index_config={"vector_type": kind, "kind": "hnsw"}),
    )
    store.put(("d",), "same", {"text": "abc"})
    store.put(("d",), "other", {"text": "xyz"})
    best, worst = store.search(("d",), query="abc")
    assert best.key == "same"
    assert best.score == pytest.approx(score)
    assert best.score is not None
    assert worst.score is not None
    assert worst.score < best.score


def test_paths_say_what_is_embedded(memory: ChatMemory) -> None:
    """Fields of the store or of one put: nested, by number, all of a list; each text has a vector of its own."""
    embeddings = Letters()
    config = index(embed=embeddings, fields=["title", "parts[*].text", "meta.tags[0]"])
    store = ChatMemoryStore(memory.tenant("acme"), user_at=None, index=config)
    value = {
        "title": "aaa", "parts": [{"text": "bbb"}, {"text": "ccc"}, {"else": 1}],
        "meta": {"tags": ["ddd", "eee"]}, "rest": "zzz",
    }  # fmt: skip
    store.put(("d",), "all", value)
    store.put(("d",), "some", value, index=["rest", "missing"])
    store.put(("d",), "none", value, index=False)
    assert embeddings.documents == [["aaa", "bbb", "ccc", "ddd"], ["zzz"]]
    for query, best in (("a", "all"), ("b", "all"), ("c", "all"), ("d", "all"), ("z", "some")):
        found = store.search(("d",), query=query)
        assert (found[0].key, found[0].score) == (best, 1.0), query
        assert keys(found)[-1] == "none", "what has no vectors follows without a score"
        assert found[-1].score is None
    assert [item.score for item in store.search(("d",), query="e")] == [0.0, 0.0, None]


def test_the_whole_value_is_embedded_if_no_field_is_named(memory: ChatMemory) -> None:
    """As in LangGraph, as one text of JSON."""
    embeddings = Letters()
    store = ChatMemoryStore(memory.tenant("acme"), user_at=None, index=index(embed=embeddings, fields=None))
    store.put(("d",), "k", {"b": ("x",), "a": 1})
    assert embeddings.documents == [['{"a": 1, "b": ["x"]}']]


def test_a_put_replaces_what_is_found(memory: ChatMemory) -> None:
    """The old text is found no more, and an item that is excluded from now on has no score."""
    store = store_of(memory)
    store.put(("docs",), "apple", {"text": "vvvv"})
    best = store.search(("docs",), query="v", limit=1)[0]
    assert (best.key, best.score) == ("apple", 1.0)
    assert keys(store.search(("docs",), query="apple", limit=1)) == ["pear"]
    store.put(("docs",), "apple", {"text": "vvvv"}, index=False)
    last = store.search(("docs",), query="v")[-1]
    assert (last.key, last.score) == ("apple", None)


def test_pages_and_queries_that_ask_nothing(memory: ChatMemory) -> None:
    """Limit and offset cut what the query sorts; an empty query sorts nothing and asks no embeddings."""
    store = store_of(memory)
    whole = keys(store.search(("docs",), query="red apple"))
    assert [
        key for at in (0, 2) for key in keys(store.search(("docs",), query="red apple", limit=2, offset=at))
    ] == whole
    embeddings = store.embeddings
    assert isinstance(embeddings, Letters)
    asked = len(embeddings.queries)
    for query in ("", None):
        assert keys(store.search(("docs",), query=query)) == ["whale", "pear", "car", "apple"]
    assert len(embeddings.queries) == asked
    assert len(store.search(("docs",), query="red " * 1000)) == 4
    assert len(store.search(("docs",), query="!?")) == 4, "a query whose vector is all zeros is near nothing"


def test_a_batch_embeds_its_items_at_once(memory: ChatMemory) -> None:
    """One call for all puts, one for each query; a batch without either asks nothing."""
    embeddings = Letters()
    store = ChatMemoryStore(memory.tenant("acme"), user_at=None, index=index(embed=embeddings))
    puts = [PutOp(("d",), key, value) for key, value in DOCS.items()]
    found = store.batch([*puts, SearchOp(("d",), query="apple"), SearchOp(("d",))])
    assert found[-2:] == [[], []], "the reads of a batch see the state before its puts"
    assert (len(embeddings.documents), embeddings.queries) == (1, ["apple"])
    store.delete(("d",), "car")
    store.get(("d",), "apple")
    assert (len(embeddings.documents), embeddings.queries) == (1, ["apple"])


async def test_async_embeds_without_a_thread(async_memory: AsyncChatMemory) -> None:
    """With an AsyncTenant an async function is enough; a sync one and LangChain's embeddings do, too."""

    async def embed(texts: Sequence[str]) -> list[list[float]]:
        return letters(texts)

    for name, each in (("async", embed), ("sync", letters), ("embeddings", Letters())):
        store = ChatMemoryStore(async_memory.tenant(name), user_at=0, index=index(embed=each))
        await store.aput(("ann", "docs"), "apple", DOCS["apple"])
        await store.aput(("ann", "docs"), "car", DOCS["car"], index=["color"])
        found = await store.asearch(("ann",), query="red apple")
        assert [item.key for item in found] == ["apple", "car"], name
        assert found[0].score == pytest.approx(1.0)


def test_texts_in_any_script(memory: ChatMemory) -> None:
    """A text is embedded and asked for as it was put, character by character."""
    words = ["这是中文", "これは日本語です", "이건 한국어야", "Это русский", "यह रूसी है"]
    vectors = {word: [float(word == each) for each in words] for word in words}
    store = ChatMemoryStore(
        memory.tenant("acme"),
        user_at=None,
        index=index(dims=len(words), embed=lambda texts: [vectors[text] for text in texts]),
    )
    for word in words:
        store.put(("d",), word, {"text": word})
    assert [store.search(("d",), query=word, limit=1)[0].key for word in words] == words


def test_only_vectors_of_one_model_are_compared(memory: ChatMemory) -> None:
    """Another model of the same length does not find what the first one embedded, until it is put again."""
    store_of(memory)
    other = ChatMemoryStore(memory.tenant("acme"), user_at=None, index=index(embed=Letters("new")))
    assert [item.score for item in other.search(("docs",), query="apple")] == [None] * 4
    other.put(("docs",), "car", DOCS["car"])
    assert keys([item for item in other.search(("docs",), query="apple") if item.score]) == ["car"]
    same = ChatMemoryStore(memory.tenant("acme"), user_at=None, index=index(embed=letters, model="letters"))
    assert len([item for item in same.search(("docs",), query="apple") if item.score]) == 3


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (lambda texts: letters(texts)[:-1], "0 vectors for 1 texts"),
        (lambda texts: [vector[:5] for vector in letters(texts)], "vectors of 5 numbers; dims of index is 26"),
        (lambda texts: [][1], "IndexError"),
    ],
    ids=["too few", "too short", "fails"],
)
async def test_embeddings_that_fail_write_nothing(
    memory: ChatMemory, async_memory: AsyncChatMemory, answer: Any, problem: str
) -> None:
    """The error is ours, quotes no text, and the put is undone; so is a search."""
    tenant = memory.tenant("acme")
    store = ChatMemoryStore(tenant, user_at=None, index=index(embed=answer))
    native = ChatMemoryStore(async_memory.tenant("acme"), user_at=None, index=index(embed=answer))
    with pytest.raises(LlmError, match=problem) as raised:
        store.put(("d",), "k", {"text": "secret"})
    assert "secret" not in str(raised.value)
    with pytest.raises(LlmError):
        store.search(("d",), query="secret")
    with pytest.raises(LlmError, match=problem):
        await native.aput(("d",), "k", {"text": "secret"})
    assert not tenant.items.search()


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"dims": 0}, "dims"),
        ({"dims": None}, "dims"),
        ({"embed": None}, "embed"),
        ({"embed": "nobody:model"}, "embed"),
        ({"distance_type": "hamming"}, "distance_type"),
    ],
    ids=repr,
)
def test_an_index_that_cannot_be_used(memory: ChatMemory, wrong: Any, problem: str) -> None:
    """It is refused when the store is made."""
    with pytest.raises(ConfigurationError, match=problem):
        ChatMemoryStore(memory.tenant("acme"), user_at=None, index=index(**wrong))


def test_an_index_without_pgvector(memory: ChatMemory, postgres_url: str) -> None:
    """The error says what to install; what is not embedded is stored all the same."""
    assert not memory.tenant("acme").items.search()  # what connects first would migrate, and install it
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("drop extension vector cascade")
    store = ChatMemoryStore(memory.tenant("acme"), user_at=None, index=index())
    with pytest.raises(ConfigurationError, match="pgvector"):
        store.put(("d",), "k", {"text": "tea"})
    store.put(("d",), "k", {"text": "tea"}, index=False)
    with pytest.raises(ConfigurationError, match="pgvector"):
        store.search(("d",), query="tea")
    assert keys(store.search(("d",))) == ["k"]
