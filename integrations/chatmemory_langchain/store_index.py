"""Texts of items and of queries, and their vectors, as the `index` of a LangGraph store declares them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from langchain_core.embeddings import Embeddings
from langgraph.store.base import IndexConfig, Op, PutOp, SearchOp
from langgraph.store.base.embed import ensure_embeddings, get_text_at_path

from chatmemory import ChatMemoryError, ConfigurationError, LlmError
from chatmemory_langchain.llm import model_name
from chatmemory_langchain.messages import json_equivalent

Vector = list[float]
DISTANCES = ("cosine", "inner_product", "l2")


class StoreIndexConfig(IndexConfig, total=False):
    """LangGraph's IndexConfig, and what its Postgres store adds; `ann_index_config` is ignored, as search is exact."""

    distance_type: Literal["cosine", "inner_product", "l2"]
    """The measure of nearness; "cosine" by default."""
    ann_index_config: dict[str, Any]
    """Accepted for LangGraph's Postgres store: every vector in the namespace is compared, without an index."""
    model: str
    """The name under which vectors are stored; by default that of the embeddings. Only equal names are compared."""


class Embedded(NamedTuple):
    """The vectors of a batch, by the number of the operation."""

    items: dict[int, list[Vector]]
    queries: dict[int, Vector]


class StoreIndex:
    """Embeds what is put and what is asked.

    Raises:
        ConfigurationError: dims, embed, fields or distance_type cannot be used.
    """

    def __init__(self, config: StoreIndexConfig) -> None:
        self.embeddings = _embeddings(config)
        self.model = config.get("model") or _name(config, self.embeddings)
        self.distance = config.get("distance_type", "cosine")
        fields: Any = config.get("fields") or ["$"]  # LangGraph's Postgres store takes a string, too
        self._dims, self._fields = config.get("dims"), [fields] if isinstance(fields, str) else list(fields)
        if not isinstance(self._dims, int) or self._dims < 1:
            raise ConfigurationError("index needs dims, the length of each vector.")
        if self.distance not in DISTANCES:
            raise ConfigurationError(f"distance_type of index must be one of {', '.join(DISTANCES)}.")

    def texts(self, op: PutOp) -> list[str]:
        """Return the texts of an item that are embedded, each by itself."""
        return texts_at(op, self._fields if op.index is None else op.index)

    def embed(self, operations: Sequence[Op]) -> Embedded:
        """Embed the items and the queries of a batch."""
        texts, queries = self._asked(operations)
        with self._failures():
            items = self.embeddings.embed_documents(_all(texts)) if texts else []
            asked = [self.embeddings.embed_query(query) for query in queries.values()]
        return self._embedded(texts, items, queries, asked)

    async def aembed(self, operations: Sequence[Op]) -> Embedded:
        """Embed the items and the queries of a batch."""
        texts, queries = self._asked(operations)
        with self._failures():
            items = await self.embeddings.aembed_documents(_all(texts)) if texts else []
            asked = [await self.embeddings.aembed_query(query) for query in queries.values()]
        return self._embedded(texts, items, queries, asked)

    def _asked(self, operations: Sequence[Op]) -> tuple[dict[int, list[str]], dict[int, str]]:
        texts = {number: self.texts(op) for number, op in enumerate(operations) if isinstance(op, PutOp)}
        queries = {number: op.query for number, op in enumerate(operations) if isinstance(op, SearchOp) and op.query}
        return {number: found for number, found in texts.items() if found}, queries

    def _embedded(self, texts: dict[int, list[str]], items: Any, queries: dict[int, str], asked: list[Any]) -> Embedded:
        vectors = iter(self._checked(items, len(_all(texts))))
        return Embedded(
            {number: [next(vectors) for _ in found] for number, found in texts.items()},
            dict(zip(queries, self._checked(asked, len(queries)), strict=True)),
        )

    def _checked(self, vectors: Any, count: int) -> list[Vector]:
        found = [list(vector) for vector in vectors]
        if len(found) != count:
            raise LlmError(f"The embeddings {self.model!r} returned {len(found)} vectors for {count} texts.")
        for vector in found:
            if len(vector) != self._dims:
                raise LlmError(
                    f"The embeddings {self.model!r} returned vectors of {len(vector)} numbers; "
                    f"dims of index is {self._dims}."
                )
        return found

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """Raise LlmError for whatever the app's embeddings raise."""
        try:
            yield
        except ChatMemoryError:
            raise
        except Exception as error:
            raise LlmError(f"The embeddings {self.model!r} failed with a {type(error).__name__}.") from error


def texts_at(op: PutOp, paths: Sequence[str] | Literal[False]) -> list[str]:
    """Return the texts at paths in the value of an item."""
    if op.value is None or paths is False:
        return []
    value = json_equivalent(op.value)
    return [text for path in paths for text in get_text_at_path(value, path)]


def _all(texts: dict[int, list[str]]) -> list[str]:
    return [text for found in texts.values() for text in found]


def _embeddings(config: StoreIndexConfig) -> Embeddings:
    try:
        return ensure_embeddings(config.get("embed"))
    except ValueError as error:  # LangGraph's own words say what to install
        raise ConfigurationError(f"embed of index cannot be used: {error}") from error


def _name(config: StoreIndexConfig, embeddings: Embeddings) -> str:
    embed = config.get("embed")
    return embed if isinstance(embed, str) else model_name(embeddings)
