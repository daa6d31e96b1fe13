"""Recall: the memories that answer a query, by words and by meaning."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from chatmemory._async.shared import AsyncShared
from chatmemory.errors import LlmError
from chatmemory.memories.places import ALL_PLACES, NO_PLACES, places_of
from chatmemory.memories.ranking import Hit, Ranked, best_places, by_place, candidate_from_row, rank
from chatmemory.memories.records import MemoryKind, Recalled, memory_from_row
from chatmemory.memories.vectors import pgvector_text
from chatmemory.storage import queries

LOG = logging.getLogger("chatmemory")
# Of each list, and places whose memories are looked at; the more where too few of the first may be shown.
CANDIDATES = ((200, 400), (4000, 8000))
MOST_PLACES = 4000  # where a common word is looked up


class Asked(NamedTuple):
    """What a recall asks for, checked."""

    query: str
    users: list[str]
    k: int
    kinds: list[MemoryKind]
    session_id: str | None
    at: datetime | None
    trust: int


class AsyncRecall:
    """Finds one tenant's memories for a checked query."""

    def __init__(self, tenant_id: str, parts: AsyncShared) -> None:
        self._tenant_id = tenant_id
        self._parts = parts
        self._database, self._settings, self._store = parts.database, parts.settings, parts.store

    async def find(
        self, asked: Asked, *, marks: bool = False, min_score: float = 0, spent_on: str | None = None
    ) -> list[Recalled]:
        """Recall what was checked; marks: note that it was recalled; spent_on: the session it is asked for."""
        vectors = await self._meaning(asked)
        async with self._database.transaction(self._tenant_id) as connection:
            bounds = await self._places(connection, asked.session_id)
            for most in CANDIDATES:
                found, has_more = await self._ranked(connection, asked, vectors, bounds, most)
                if len(found) >= asked.k or not has_more:
                    break
            ranked = [each for each in found if each.score >= min_score]
            best = [each.id for each in ranked]
            rows = await (await connection.execute(queries.memories.MEMORIES_BY_ID, (best,))).fetchall()
            await connection.execute(queries.memories.SOON)
            if ranked and marks:
                await connection.execute(queries.memories.RECALLED, (best,))
            await self.note_cost(connection, asked.users[0], "recall", asked.query, vectors, spent_on)
        memories = {memory.id: memory for memory in map(memory_from_row, rows)}
        held = (each for each in ranked if each.id in memories)  # not forgotten meanwhile
        return [Recalled(memories[each.id], each.score, each.ranks) for each in held]

    async def _ranked(
        self, connection: Any, asked: Asked, vectors: Sequence[Sequence[float]], bounds: tuple[int, int],
        most: tuple[int, int],
    ) -> tuple[list[Ranked], bool]:  # fmt: skip
        """The best of so many candidates, and whether there may be more of them."""
        top, most_places = most
        kinds = [kind[0] for kind in asked.kinds]
        words = (asked.users, kinds, self._settings.language, asked.query, top, MOST_PLACES, *bounds)
        rows = await (await connection.execute(queries.memories.FIND_TERMS, (self._tenant_id, *words))).fetchall()
        hits = [Hit(*row) for row in rows]
        near: dict[str, float] = {}
        if vectors:
            like = (asked.users, kinds, self._store.model, pgvector_text(vectors[0]), top, *bounds)
            near = dict(
                await (await connection.execute(queries.memories.FIND_NEAR, (self._tenant_id, *like))).fetchall()
            )
        scores = by_place(hits)
        params = {
            "places": best_places(scores, most_places), "ids": list(near), "users": asked.users,
            "kinds": list(asked.kinds), "trust": asked.trust, "at": asked.at, "session_id": asked.session_id,
        }  # fmt: skip
        rows = await (await connection.execute(queries.memories.CANDIDATES, params)).fetchall()
        has_more = len({hit.place for hit in hits}) >= top or len(scores) > most_places or 2 * len(near) > top
        return rank(hits, scores, near, map(candidate_from_row, rows), asked.k), has_more

    async def _meaning(self, asked: Asked) -> list[list[float]]:
        """The query's vector; none where there is no embedder, or it does not answer now."""
        try:
            says_something = asked.k and asked.query.strip()
            return await self._store.embedded([asked.query], in_haste=True) if says_something else []
        except LlmError as error:
            LOG.warning("recall goes by words alone: %s", error)
            return []

    async def note_cost(
        self, connection: Any, user_id: str, purpose: str, text: str, vectors: Sequence[object],
        session_id: str | None = None,
    ) -> None:  # fmt: skip
        """Note what embedding a text cost, if it was embedded."""
        if vectors:
            spent = (self._parts.tokenizer.at_hand().count(text), 0)
            note = self._parts.spending.note
            await note(connection, self._tenant_id, user_id, session_id, purpose, self._store.model, spent)

    async def _places(self, connection: Any, session_id: str | None) -> tuple[int, int]:
        """The first and the last place to look at: those of a session, or all."""
        if session_id is None:
            return ALL_PLACES
        rows = await (await connection.execute(queries.sessions.SESSION_NUMBER, (session_id,))).fetchall()
        return places_of(rows[0][0]) if rows else NO_PLACES
