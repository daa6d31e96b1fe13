# Generated from chatmemory/_async/memories/storing.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Storing memories: what is known already is confirmed, and not stored again."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chatmemory._sync.memories.providers import Providers
from chatmemory._sync.storage.database import Database
from chatmemory._sync.storage.transaction import Transaction
from chatmemory.errors import ConfigurationError
from chatmemory.memories.places import ALL_PLACES
from chatmemory.memories.records import TRUSTS, NewMemory, digest
from chatmemory.memories.vectors import similarity, to_text
from chatmemory.records import to_json
from chatmemory.settings import Settings
from chatmemory.storage import queries

SAME = 0.9  # similarity from which two facts say the same
LOOKED_AT = 200  # nearest facts, of which some may be superseded
ONCE = ["fact", "preference"]


class Stored(NamedTuple):
    """What came of storing memories."""

    ids: list[str]  # one for each that was given: its own, or that of the one that was known
    created: dict[str, int]  # by kind
    confirmed: int


class MemoryStore:
    """Memories on their way into Postgres."""

    def __init__(self, database: Database, providers: Providers, settings: Settings) -> None:
        self._database, self._providers, self._settings = database, providers, settings
        self._has_vectors: bool | None = None

    @property
    def model(self) -> str:
        """Under which name vectors are kept."""
        return self._providers.embedding_model

    def embedded(self, texts: Sequence[str], *, in_haste: bool = False) -> list[list[float]]:
        """One vector for each text; none where there is no embedder.

        Raises:
            ConfigurationError: There is an embedder, and Postgres has no pgvector.
            LlmError: The embedder failed.
        """
        if not self._providers.has_embedder:
            return []
        self.check_vectors()
        return self._providers.embed(texts, in_haste=in_haste)

    def check_vectors(self) -> None:
        """See that vectors can be made and kept.

        Raises:
            ConfigurationError: There is no embedder, or Postgres has no pgvector.
        """
        if not self._providers.has_embedder:
            raise ConfigurationError("There is no embedder: give embedder=… or set CHATMEMORY_EMBEDDING_MODEL.")
        if self._has_vectors is None:
            [(self._has_vectors,)] = self._database.call(queries.memories.HAS_VECTORS, ())
        if not self._has_vectors:
            raise ConfigurationError(
                "There is an embedder, but this Postgres has no pgvector of 0.7 or newer. Install the extension "
                "`vector` and run `chatmemory migrate`, or leave the embedder out: recall then goes by words."
            )

    def add(self, connection: Transaction, tenant_id: str, user_id: str, new: Iterable[NewMemory]) -> Stored:
        """Store memories of one user in the caller's transaction; facts that are known are confirmed instead."""
        connection.execute(queries.memories.LOCK_MEMORIES, (tenant_id, user_id))
        ids: list[str] = []
        adding: list[NewMemory] = []
        closing: list[tuple[NewMemory, str]] = []
        confirmed = 0
        for memory in new:
            known = _among(adding, memory) or self._known(connection, tenant_id, memory)
            since_superseded = None if known else self._known_then(connection, memory)
            known = known or since_superseded
            ids.append(known or memory.id)
            if memory.closes and not since_superseded:
                closing.append((memory, ids[-1]))
            if known is None:
                adding.append(memory)
            else:
                confirmed += 1
                self._confirm(connection, tenant_id, known, memory)
        if adding:
            rows = to_json([memory.row() for memory in adding])
            connection.execute(queries.memories.ADD_MEMORIES, (tenant_id, self._settings.language, rows))
            self._add_vectors(connection, tenant_id, adding)
        self._close(connection, closing)
        return Stored(ids, dict(Counter(memory.kind for memory in adding)), confirmed)

    def _known(self, connection: Transaction, tenant_id: str, memory: NewMemory) -> str | None:
        """The id of a memory that says the same, and is not about to be closed."""
        if not memory.is_known_once:
            return None
        params = (digest(memory.text), memory.user_id, ONCE)
        rows = connection.execute(queries.memories.KNOWN_MEMORY, params).fetchall()
        if not rows and memory.vectors:
            model, vector = self._providers.embedding_model, to_text(memory.vectors[0])
            near = (tenant_id, [memory.user_id], ["f", "p"], model, vector, LOOKED_AT, *ALL_PLACES)
            found = connection.execute(queries.memories.FIND_NEAR, near).fetchall()
            alike = [id for id, alike in found if alike >= SAME]
            rows = connection.execute(queries.memories.HOLDING, (alike,)).fetchall() if alike else []
        return next((id for (id,) in rows if id not in memory.closes), None)

    def _known_then(self, connection: Transaction, memory: NewMemory) -> str | None:
        """The id of a memory that says the same and held when this was said, and was superseded since."""
        if not memory.is_known_once or not memory.sources:
            return None
        params = {
            "digest": digest(memory.text), "user_id": memory.user_id, "kinds": ONCE, "at": memory.valid_from
        }  # fmt: skip
        rows = connection.execute(queries.memories.KNOWN_THEN, params).fetchall()
        return rows[0][0] if rows and rows[0][0] not in memory.closes else None

    def _confirm(self, connection: Transaction, tenant_id: str, known: str, memory: NewMemory) -> None:
        connection.execute(queries.memories.CONFIRM_MEMORY, {"id": known, "importance": memory.importance})
        for source in memory.sources:
            params = {
                "tenant": tenant_id, "memory": known, "session": source.session_id, "from": source.from_seq,
                "to": source.to_seq, "trust": TRUSTS.index(memory.trust),
            }  # fmt: skip
            connection.execute(queries.memories.ADD_SOURCE, params)

    def _add_vectors(self, connection: Transaction, tenant_id: str, adding: list[NewMemory]) -> None:
        rows = [
            {"memory_id": memory.id, "part": part, "embedding": to_text(vector)}
            for memory in adding
            for part, vector in enumerate(memory.vectors)
        ]
        if rows:
            params = (tenant_id, self._providers.embedding_model, to_json(rows))
            connection.execute(queries.memories.ADD_VECTORS, params)

    def _close(self, connection: Transaction, closing: list[tuple[NewMemory, str]]) -> None:
        """Close what is superseded, by the new memory or by the one that said the same already."""
        for memory, by in closing:
            ids = [id for id in memory.closes if id != by]
            closed = {"ids": ids, "by": by, "at": memory.valid_from, "user_id": memory.user_id}
            connection.execute(queries.memories.CLOSE_MEMORIES, closed)


def _among(adding: list[NewMemory], memory: NewMemory) -> str | None:
    """The id of one that says the same and is being added with it."""
    if not memory.is_known_once:
        return None
    for other in adding:
        if other.is_known_once and (
            digest(other.text) == digest(memory.text)
            or (other.vectors and memory.vectors and similarity(other.vectors[0], memory.vectors[0]) >= SAME)
        ):
            return other.id
    return None
