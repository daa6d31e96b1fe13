"""Storing memories: what is known already is confirmed, and not stored again."""

from collections import Counter
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

from chatmemory._async.memories.providers import AsyncProviders
from chatmemory._async.storage.pgvector import AsyncPgvector
from chatmemory._async.storage.transaction import AsyncTransaction, Row, Statement
from chatmemory.errors import ConfigurationError
from chatmemory.memories.places import LAST_PLACE
from chatmemory.memories.records import TRUSTS, NewMemory, digest
from chatmemory.memories.sameness import says_the_same
from chatmemory.memories.vectors import pgvector_text, similarity
from chatmemory.records import to_json
from chatmemory.settings import Settings
from chatmemory.storage import queries

NEAR = 0.9  # similarity from which two facts may say the same
LOOKED_AT = 200  # nearest facts, of which some may be superseded
NEAREST = 50  # of those that hold
MAX_SIMILAR = 5  # linked
ONCE = ["fact", "preference"]


class Stored(NamedTuple):
    """The result of storing memories."""

    ids: list[str]  # one for each that was given: its own, or that of the one that was known
    created: dict[str, int]  # by kind
    confirmed: int


class AsyncMemoryStore:
    """Memories on their way into Postgres."""

    def __init__(self, pgvector: AsyncPgvector, providers: AsyncProviders, settings: Settings) -> None:
        self._pgvector, self._providers, self._settings = pgvector, providers, settings

    @property
    def model(self) -> str:
        """Under which name vectors are kept."""
        return self._providers.embedding_model

    async def embedded(self, texts: Sequence[str], *, in_haste: bool = False) -> list[list[float]]:
        """One vector for each text; none where there is no embedder.

        Raises:
            ConfigurationError: There is an embedder, and Postgres has no pgvector.
            LlmError: The embedder failed.
        """
        if not self._providers.has_embedder:
            return []
        await self.check_vectors()
        return await self._providers.embed(texts, in_haste=in_haste)

    async def check_vectors(self) -> None:
        """See that vectors can be made and kept.

        Raises:
            ConfigurationError: There is no embedder, or Postgres has no pgvector.
        """
        if not self._providers.has_embedder:
            raise ConfigurationError("There is no embedder: give embedder=… or set CHATMEMORY_EMBEDDING_MODEL.")
        await self._pgvector.check("There is an embedder", "leave the embedder out: recall then goes by words")

    async def add(
        self, transaction: AsyncTransaction, tenant_id: str, user_id: str, new: Sequence[NewMemory]
    ) -> Stored:
        """Store memories of one user in two round trips; facts that are known are confirmed instead."""
        found = await transaction.run(*self.lookups(tenant_id, user_id, new))
        stored, writes = self.writes(tenant_id, new, found)
        await transaction.run(*writes)
        return stored

    def lookups(self, tenant_id: str, user_id: str, new: Sequence[NewMemory]) -> list[Statement]:
        """Return the statements that lock a user's memories and find those that say the same as new ones."""
        locking: Statement = (queries.memories.LOCK_MEMORIES, (tenant_id, user_id))
        return [
            locking,
            *chain.from_iterable(self._lookups(tenant_id, memory) for memory in new if memory.is_known_once),
        ]

    def _lookups(self, tenant_id: str, memory: NewMemory) -> list[Statement]:
        params: dict[str, Any] = {
            "digest": digest(memory.text), "user_id": memory.user_id, "kinds": ONCE, "at": memory.valid_from
        }  # fmt: skip
        then: Statement = (queries.memories.KNOWN_THEN, params)
        if not memory.vectors:
            return [(queries.memories.KNOWN_MEMORY, params), then]
        near = {
            "tenant": tenant_id, "users": [memory.user_id], "letters": ["f", "p"], "model": self.model,
            "vector": pgvector_text(memory.vectors[0]), "top": LOOKED_AT, "last": LAST_PLACE, "same": NEAR,
            "nearest": NEAREST,
        }  # fmt: skip
        return [(queries.memories.KNOWN_OR_NEAR, {**params, **near}), then]

    def writes(
        self, tenant_id: str, new: Sequence[NewMemory], found: Sequence[list[Row]]
    ) -> tuple[Stored, list[Statement]]:
        """Return what storing comes to, and the statements that store it.

        Args:
            tenant_id: Whose.
            new: The memories that lookups() was given.
            found: What its statements returned.
        """
        ids: list[str] = []
        adding: list[NewMemory] = []
        confirming: list[tuple[NewMemory, str]] = []
        closing: list[tuple[NewMemory, str]] = []
        rows = iter(found[1:])
        for memory in new:
            near, then = (
                (_besides(next(rows), memory), _besides(next(rows), memory)) if memory.is_known_once else ([], [])
            )
            near = _among(adding, memory) + near
            known, superseded = _same(near, memory), _same(then, memory)
            since = None if known or not memory.sources else superseded
            known = known or since
            ids.append(known or memory.id)
            if memory.closes and not since:
                closing.append((memory, ids[-1]))
            if known is None:
                adding.append(memory._replace(similar_to=_similar(memory, near)))
            else:
                confirming.append((memory, known))
        stored = Stored(ids, dict(Counter(memory.kind for memory in adding)), len(confirming))
        return stored, [*self.additions(tenant_id, adding), *_confirming(tenant_id, confirming), *_closing(closing)]

    def additions(self, tenant_id: str, adding: Sequence[NewMemory]) -> list[Statement]:
        """Return the statements that store memories and their vectors, whatever is stored already."""
        if not adding:
            return []
        rows = to_json([memory.row() for memory in adding])
        statements: list[Statement] = [(queries.memories.ADD_MEMORIES, (tenant_id, self._settings.language, rows))]
        vectors = [
            {"memory_id": memory.id, "part": part, "embedding": pgvector_text(vector)}
            for memory in adding
            for part, vector in enumerate(memory.vectors)
        ]
        if vectors:
            statements.append((queries.memories.ADD_VECTORS, (tenant_id, self.model, to_json(vectors))))
        return statements


class _Near(NamedTuple):
    """A fact that may say the same as a new one; `same`: in the same words."""

    id: str
    text: str
    same: bool


def _besides(rows: list[Row], memory: NewMemory) -> list[_Near]:
    """The memories found that are not about to be closed."""
    return [_Near(*row) for row in rows if row[0] not in memory.closes]


def _same(near: list[_Near], memory: NewMemory) -> str | None:
    """The first memory that certainly says the same."""
    return next((each.id for each in near if each.same or says_the_same(each.text, memory.text)), None)


def _similar(memory: NewMemory, near: list[_Near]) -> tuple[str, ...]:
    """The memories that perhaps say the same."""
    return tuple(dict.fromkeys([*memory.similar_to, *(each.id for each in near)]))[:MAX_SIMILAR]


def _confirming(tenant_id: str, confirming: list[tuple[NewMemory, str]]) -> list[Statement]:
    statements: list[Statement] = []
    for memory, known in confirming:
        statements.append((queries.memories.CONFIRM_MEMORY, {"id": known, "importance": memory.importance}))
        for source in memory.sources:
            params = {
                "tenant": tenant_id, "memory": known, "session": source.session_id, "from": source.from_seq,
                "to": source.to_seq, "trust": TRUSTS.index(memory.trust),
            }  # fmt: skip
            statements.append((queries.memories.ADD_SOURCE, params))
    return statements


def _closing(closing: list[tuple[NewMemory, str]]) -> list[Statement]:
    """Close what is superseded, by the new memory or by the one that said the same already."""
    return [
        (
            queries.memories.CLOSE_MEMORIES,
            {
                "ids": [id for id in memory.closes if id != by],
                "by": by,
                "at": memory.valid_from,
                "user_id": memory.user_id,
            },
        )
        for memory, by in closing
    ]


def _among(adding: list[NewMemory], memory: NewMemory) -> list[_Near]:
    """The facts being added with it that say the same, or may do so."""
    if not memory.is_known_once:
        return []
    facts = [other for other in adding if other.is_known_once]
    near = [_Near(other.id, other.text, digest(other.text) == digest(memory.text)) for other in facts]
    return [each for each, other in zip(near, facts, strict=True) if each.same or _is_near(other, memory)]


def _is_near(one: NewMemory, other: NewMemory) -> bool:
    return bool(one.vectors and other.vectors) and similarity(one.vectors[0], other.vectors[0]) >= NEAR
