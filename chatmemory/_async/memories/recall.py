"""Recall: the memories that answer a query, by words and by meaning."""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime
from heapq import nlargest
from typing import NamedTuple

from chatmemory._async.shared import AsyncShared
from chatmemory._async.storage.transaction import Statement
from chatmemory.errors import LlmError
from chatmemory.memories.places import LAST_PLACE
from chatmemory.memories.ranking import Hit, Ranked, best_places, by_place, candidate_from_row, rank
from chatmemory.memories.records import Memory, MemoryKind, Recalled, memory_from_row
from chatmemory.memories.vectors import pgvector_text
from chatmemory.records import JsonObject
from chatmemory.storage import queries

LOG = logging.getLogger("chatmemory")
# Of each list, and places whose memories are looked at; the more where too few of the first may be shown.
CANDIDATES = ((200, 400), (4000, 8000))
MAX_PLACES = 4000  # where a common word is looked up


class Asked(NamedTuple):
    """The checked arguments of a recall."""

    query: str
    users: list[str]
    k: int
    kinds: list[MemoryKind]
    session_id: str | None
    at: datetime | None
    trust: int

    @property
    def params(self) -> JsonObject:
        """The parameters of the statements that find candidates."""
        letters = [kind[0] for kind in self.kinds]
        return {"query": self.query, "users": self.users, "kinds": list(self.kinds), "letters": letters,
                "session_id": self.session_id, "at": self.at, "trust": self.trust}  # fmt: skip


class AsyncRecall:
    """Finds one tenant's memories for a checked query."""

    def __init__(self, tenant_id: str, parts: AsyncShared) -> None:
        self._tenant_id = tenant_id
        self._parts = parts
        self._database, self._settings, self._store = parts.database, parts.settings, parts.store
        self.counts = parts.recall_counts

    async def find(
        self, asked: Asked, *, marks: bool = False, min_score: float = 0, spent_on: str | None = None
    ) -> list[Recalled]:
        """Recall what was checked, in two round trips, seldom more.

        Args:
            asked: What is asked for.
            marks: Whether it counts as a recall.
            min_score: Only those with this score or more.
            spent_on: The session that embedding the query is charged to.
        """
        vectors = await self._meaning(asked)
        costs = self.costs(asked.users[0], "recall", asked.query, vectors, spent_on)
        for most in CANDIDATES:
            ranked, memories, has_more = await self._ranked(asked, vectors, most, costs)
            if len(ranked) >= asked.k or not has_more:
                break
            costs = []
        best = [each for each in ranked if each.score >= min_score]
        memories |= await self._rest(each.id for each in best if each.id not in memories)
        there = [each for each in best if each.id in memories]  # not forgotten meanwhile
        if marks and there:
            self.counts.add(self._tenant_id, (each.id for each in there))
        return [Recalled(memories[each.id], each.score, each.ranks) for each in there]

    async def _ranked(
        self, asked: Asked, vectors: Sequence[Sequence[float]], most: tuple[int, int], costs: Sequence[Statement]
    ) -> tuple[list[Ranked], dict[str, Memory], bool]:
        """Return the best of so many candidates, the memories they most likely are, and whether there may be more."""
        top, most_places = most
        params = {**asked.params, "tenant": self._tenant_id, "language": self._settings.language, "top": top,
                  "most": MAX_PLACES, "last": LAST_PLACE, "model": self._store.model}  # fmt: skip
        async with self._database.transaction(self._tenant_id) as transaction:
            soon = [(queries.memories.SOON, ()), *costs] if costs else []
            rows, *near_rows = await transaction.run(*_lookups(params, vectors), *soon)
            hits = [Hit(*row) for row in rows]
            near: dict[str, float] = dict(near_rows[0]) if vectors else {}
            scores = by_place(hits)
            few = 3 * asked.k + 30  # a speaker's name in the query changes the order
            likely = nlargest(few, near, near.__getitem__)
            params |= {"places": best_places(scores, most_places), "ids": list(near),
                       "likely_places": best_places(scores, few), "likely_ids": likely}  # fmt: skip
            rows, read = await transaction.finish(
                (queries.memories.CANDIDATES, params), (queries.memories.LIKELY_MEMORIES, params)
            )
        has_more = len({hit.place for hit in hits}) >= top or len(scores) > most_places or 2 * len(near) > top
        ranked = rank(hits, scores, near, map(candidate_from_row, rows), asked.k)
        return ranked, {memory.id: memory for memory in map(memory_from_row, read)}, has_more

    async def _rest(self, ids: Iterable[str]) -> dict[str, Memory]:
        """Return memories that were not among the likely ones."""
        missing = list(ids)
        if not missing:
            return {}
        rows = await self._database.fetch(self._tenant_id, queries.memories.MEMORIES_BY_ID, (missing,))
        return {memory.id: memory for memory in map(memory_from_row, rows)}

    async def _meaning(self, asked: Asked) -> list[list[float]]:
        """The query's vector; none where there is no embedder, or it does not answer now."""
        try:
            says_something = asked.k and asked.query.strip()
            return await self._store.embedded([asked.query], in_haste=True) if says_something else []
        except LlmError as error:
            LOG.warning("recall goes by words alone: %s", error)
            return []

    def costs(
        self, user_id: str, purpose: str, text: str, vectors: Sequence[object], session_id: str | None = None
    ) -> list[Statement]:
        """Return the statement that notes what embedding a text cost, if it was embedded."""
        if not vectors:
            return []
        spent = (self._parts.tokenizer.at_hand().count(text), 0)
        noting = self._parts.spending.noting
        return [noting(self._tenant_id, user_id, session_id, purpose, self._store.model, spent)]


def _lookups(params: JsonObject, vectors: Sequence[Sequence[float]]) -> list[Statement]:
    """Return the statements that find candidates by words and, with the query's vector, by meaning."""
    in_session = params["session_id"] is not None
    terms = queries.memories.FIND_TERMS_IN_SESSION if in_session else queries.memories.FIND_TERMS
    near = queries.memories.FIND_NEAR_IN_SESSION if in_session else queries.memories.FIND_NEAR
    return [(terms, params), *((near, {**params, "vector": pgvector_text(vector)}) for vector in vectors)]
