# Generated from chatmemory/_async/memories/reembedding.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Re-embedding: vectors of another model for existing memories, while recall continues with the old ones."""

from collections import Counter

from chatmemory._sync.shared import Shared
from chatmemory.memories.learning import Unembedded, texts_to_embed, unembedded_from_row, vectors_of
from chatmemory.memories.records import Reembedded
from chatmemory.memories.vectors import pgvector_text
from chatmemory.records import to_json
from chatmemory.storage import queries

BATCH = 64  # memories


class Reembedding:
    """Re-embeds one tenant's memories, in the order of their places."""

    def __init__(self, tenant_id: str, parts: Shared) -> None:
        self._tenant_id, self._parts = tenant_id, parts
        self._database, self._store = parts.database, parts.store

    def run(self, limit: int | None, *, drop_old: bool) -> Reembedded:
        """Embed the memories without a vector of the configured model; each batch is stored before the next.

        Raises:
            ConfigurationError: There is no embedder, or no pgvector.
            LlmError: The embedder failed; earlier batches are stored.
        """
        self._store.check_vectors()
        model, done, place = self._store.model, 0, -1
        while limit is None or done < limit:
            most = BATCH if limit is None else min(BATCH, limit - done)
            params = {"model": model, "place": place, "limit": most}
            rows = self._database.fetch(self._tenant_id, queries.memories.UNEMBEDDED, params)
            if not rows:
                break
            batch = [unembedded_from_row(row) for row in rows]
            self._embed(batch)
            done, place = done + len(batch), batch[-1].place
        dropped = self._drop(model) if drop_old else 0
        [(left,)] = self._database.fetch(self._tenant_id, queries.memories.COUNT_UNEMBEDDED, {"model": model})
        return Reembedded(embedded=done, left=left, dropped=dropped)

    def _embed(self, batch: list[Unembedded]) -> None:
        texts = [texts_to_embed(each.views) for each in batch]
        vectors = iter(self._store.embedded([text for views in texts for text in views]))
        rows = [
            {"memory_id": each.id, "part": part, "embedding": pgvector_text(vector)}
            for each in batch
            for part, vector in enumerate(vectors_of(each.views, vectors))
        ]
        self._database.call(queries.memories.ADD_VECTORS, (self._tenant_id, self._store.model, to_json(rows)))
        spent: Counter[str] = Counter()
        for each, views in zip(batch, texts, strict=True):
            spent[each.user_id] += sum(map(self._parts.tokenizer.at_hand().count, views))
        for user_id, tokens in spent.items():
            model = self._store.model
            self._parts.spending.add(self._tenant_id, user_id, None, "embed", model, (tokens, 0))

    def _drop(self, model: str) -> int:
        with self._database.transaction(self._tenant_id, patient=True) as connection:
            return connection.execute(queries.memories.DROP_OLD_VECTORS, {"model": model}).rowcount
