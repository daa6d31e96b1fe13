"""Result memories of runs: their vectors, and their storage."""

import logging
from collections.abc import Sequence

from chatmemory._async.shared import AsyncShared
from chatmemory.errors import ChatMemoryError, ConfigurationError, LlmError
from chatmemory.memories.records import Consolidation, NewMemory
from chatmemory.runs.metric_records import MetricSummary
from chatmemory.runs.results import outcome
from chatmemory.sessions.ending import Ending, ending_from_row
from chatmemory.storage import queries

LOG = logging.getLogger("chatmemory")


class AsyncResults:
    """Embeds result memories, and stores those of runs that the database has ended by itself."""

    def __init__(self, tenant_id: str, parts: AsyncShared) -> None:
        self._tenant_id = tenant_id
        self._database, self._store = parts.database, parts.store

    async def with_vectors(self, results: Sequence[NewMemory]) -> list[NewMemory]:
        """Return the results with vectors; without any if no embedder answers, so that they are found by words only."""
        try:
            vectors = await self._store.embedded([result.text for result in results]) if results else []
        except (LlmError, ConfigurationError) as error:
            return without_vectors(results, error)
        if not vectors:
            return list(results)
        return [result._replace(vectors=(vector,)) for result, vector in zip(results, vectors, strict=True)]

    async def leave(self, session_id: str, owner: str) -> Consolidation:
        """Store the result memory of a claimed run that has ended, once.

        Raises:
            ChatMemoryError: The result is not stored, and the run stays due.
        """
        key, ids = (session_id, owner), ([session_id],)
        rows, extremes = await self._database.run(
            self._tenant_id, (queries.sessions.SESSIONS_TO_END, ids), (queries.runs.EXTREMES, ids)
        )
        if not rows:
            return _skipped(session_id)
        run = ending_from_row(rows[0])
        result = outcome(run.info, [MetricSummary(*row[1:]) for row in extremes], run.number, shared=False)
        results = await self.with_vectors([result])
        try:
            stored = await self._store_leased(run, key, results)
        except LlmError as error:  # vectors of another dimension than the user's
            stored = await self._store_leased(run, key, without_vectors(results, error))
        if not stored:
            return _skipped(session_id)
        return Consolidation(session_id=session_id, status="success", from_seq=0, to_seq=0, memories={"result": 1})

    async def _store_leased(self, run: Ending, key: tuple[str, str], results: Sequence[NewMemory]) -> bool:
        """Store results and finish the claim, if the lease is still held."""
        session_id, _ = key
        async with self._database.transaction(self._tenant_id, session_id) as transaction:
            _, leased = await transaction.run(
                (queries.memories.LOCK_MEMORIES, (self._tenant_id, run.info.user_id)),
                (queries.learning.LOCK_LEASED, key),
            )
            if not leased:
                return False
            await transaction.finish(
                *self._store.additions(self._tenant_id, results), (queries.learning.RESULT_LEFT, (session_id,))
            )
        return True


def without_vectors(results: Sequence[NewMemory], error: ChatMemoryError) -> list[NewMemory]:
    """Return the results without vectors, so that they are found by words only, and log why."""
    runs = ", ".join(repr(result.sources[0].session_id) for result in results)
    LOG.warning("the result of session %s is stored without a vector, and found by words only: %s", runs, error)
    return [result._replace(vectors=()) for result in results]


def _skipped(session_id: str) -> Consolidation:
    return Consolidation(session_id=session_id, status="skipped", reason="the lease was lost")
