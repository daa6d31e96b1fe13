# Generated from chatmemory/_async/sessions/ending.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Ending sessions: the one mechanism, for a handle, for many sessions, and for the session limit."""

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import LiteralString, NamedTuple, TypeAlias

from chatmemory._sync.memories.worker import Worker
from chatmemory._sync.runs.results import Results, without_vectors
from chatmemory._sync.shared import Shared
from chatmemory._sync.storage.transaction import Row, Statement
from chatmemory.errors import ChatMemoryError, LlmError, StorageError, StorageUnavailableError
from chatmemory.memories.records import NewMemory
from chatmemory.records import JsonObject, to_json
from chatmemory.runs.metric_packing import Logged, packed_at_end, run_of
from chatmemory.runs.metric_records import MetricSummary, with_points
from chatmemory.runs.results import outcome
from chatmemory.sessions.ending import CHANGED, End, Ending, ending_from_row
from chatmemory.sessions.records import SessionInfo, session_from_row
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import changed_meanwhile, ended_otherwise, not_found

BATCH = 1000  # sessions that end in one transaction
UNLOCKED_ATTEMPTS = 3  # to end a session without a lock between reading and writing
Ended: TypeAlias = SessionInfo | ChatMemoryError


class Prepared(NamedTuple):
    """One end that is ready to be written."""

    row: JsonObject  # the argument of end_sessions
    result: NewMemory | None
    metrics: tuple[Statement, ...]


class Endings:
    """Ends sessions of one tenant; a run's end and its result memory are one transaction."""

    def __init__(self, tenant_id: str, parts: Shared) -> None:
        self._tenant_id = tenant_id
        self._database, self._windows, self._metrics = parts.database, parts.windows, parts.metrics
        self._store = parts.store
        self._results = Results(tenant_id, parts)
        self._worker = Worker(parts)

    def end(self, info: SessionInfo, end: End) -> SessionInfo:
        """End a session, in one round trip, or in two for a run or with last values.

        Args:
            info: The session, as it was read at any time.
            end: The requested end.

        Raises:
            MoveError: The run has ended with another final status.
            SessionNotFoundError: The session was deleted or erased.
        """
        self._metrics.flush()
        with self._windows.forgetting([info]):
            ended = self._end(info, end)
        self._metrics.forget(self._tenant_id, info.id)
        return ended

    def _end(self, info: SessionInfo, end: End) -> SessionInfo:
        if not end.needs_reading(info):
            return self._end_as_it_is(info, end)
        for _ in range(UNLOCKED_ATTEMPTS):
            try:
                return self._end_unchanged(info, end)
            except StorageError as error:
                if not changed_meanwhile(error):
                    raise
        return self._end_locked(info, end)

    def _end_as_it_is(self, info: SessionInfo, end: End) -> SessionInfo:
        params = (self._tenant_id, to_json([end.row(info)]), True)
        return self._one(info, self._database.call(queries.sessions.END_SESSIONS, params, subject=info.id))

    def _end_unchanged(self, info: SessionInfo, end: End) -> SessionInfo:
        """Read, decide, and write if the session has not changed: no lock is held while an embedder works."""
        reading = _reading([info.id], queries.sessions.SESSIONS_TO_END)
        prepared = self._prepared(info, end, *self._database.run(self._tenant_id, *reading))
        if prepared is None:
            return self._end_as_it_is(info, end)
        if prepared.result is not None:
            [result] = self._results.with_vectors([prepared.result])
            prepared = prepared._replace(result=result)
        try:
            written = self._database.run(self._tenant_id, *self._writing(prepared), subject=info.id)
        except LlmError as error:  # a vector of another dimension than the user's: no embedder keeps a run from ending
            [result] = without_vectors([prepared.result] if prepared.result else [], error)
            prepared = prepared._replace(result=result)
            written = self._database.run(self._tenant_id, *self._writing(prepared), subject=info.id)
        return self._one(info, written[1])

    def _end_locked(self, info: SessionInfo, end: End) -> SessionInfo:
        """Do the same under a lock, for a session that keeps changing; its result gets no vector."""
        deadline = self._database.deadline()
        for attempt in self._database.retrying(deadline):
            with attempt:
                with self._database.transaction(self._tenant_id, info.id, deadline=deadline) as transaction:
                    _, *found = transaction.run(
                        self._lock(_users([info], end)), *_reading([info.id], queries.sessions.LOCK_TO_END)
                    )
                    prepared = self._prepared(info, end, *found)
                    if prepared is not None:
                        return self._one(info, transaction.finish(*self._writing(prepared))[1])
        return self._end_as_it_is(info, end)

    def _prepared(
        self, info: SessionInfo, end: End, rows: list[Row], extremes: list[Row], steps: list[Row]
    ) -> Prepared | None:
        """Return what to write; None: the session has ended already, and only its status is to be reported."""
        ending = ending_from_row(rows[0]) if rows else None
        if ending is None or ending.info.born_at != info.born_at:  # a later session with the same id
            raise not_found(info.id)
        if not ending.info.is_active:
            return None
        step = end.step if end.step is not None else steps[0][1] if steps else 0
        summaries = with_points([MetricSummary(*row[1:]) for row in extremes], end.points, step)
        logged = Logged(run_of(info), step, end.points, time.time())
        metrics = tuple((queries.runs.KEEP_METRICS, packed.row()) for packed in packed_at_end(logged, step))
        return _prepare(ending, end, summaries)._replace(metrics=metrics)

    def _writing(self, prepared: Prepared) -> list[Statement]:
        """Return the statements of one end, the second of which ends it; they lock in the same order as an erasure."""
        results = [] if prepared.result is None else [prepared.result]
        params = (self._tenant_id, to_json([prepared.row]), True)
        return [
            self._lock([result.user_id for result in results]),
            (queries.sessions.END_SESSIONS, params),
            *prepared.metrics,
            *self._store.additions(self._tenant_id, results),
        ]

    def leave_results(self, rows: Sequence[Row]) -> None:
        """Store the results of runs that a statement has ended; those that fail are left to a worker.

        Args:
            rows: The statement's rows: a session, with queries.sessions.RESULTS_DUE after its columns.
        """
        due = rows[0][-1] if rows else None
        for session_id in json.loads(due) if due else ():
            with suppress(ChatMemoryError):
                if self._worker.claim(1, self._tenant_id, session_id):
                    self._worker.learn(self._tenant_id, session_id)

    def _lock(self, users: Iterable[str]) -> Statement:
        return queries.memories.LOCK_MEMORIES_OF, (self._tenant_id, sorted(set(users)))

    def _one(self, info: SessionInfo, rows: Sequence[Row]) -> SessionInfo:
        if not rows:
            raise not_found(info.id)
        return session_from_row(rows[0][:-1])

    def end_many(self, ids: Sequence[str], end: End, *, if_unchanged: bool = False) -> dict[str, Ended]:
        """End many sessions, a thousand in one transaction; a failure of one does not stop the others.

        Args:
            ids: The sessions.
            end: The requested end.
            if_unchanged: Whether to leave out sessions that change meanwhile.

        Returns:
            For each id, the session as it is now, or the error.
        """
        ended: dict[str, Ended] = {}
        ids = list(dict.fromkeys(ids))
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            try:
                ended |= self._end_batch(batch, end)
            except ChatMemoryError:  # of one of them: end each in a transaction of its own
                for id in batch:
                    ended |= self._end_alone(id, end)
            if not if_unchanged:
                ended |= {id: self._by_itself(id, end) for id in batch if id not in ended}
        return ended

    def _end_alone(self, id: str, end: End) -> dict[str, Ended]:
        try:
            return self._end_batch([id], end)
        except ChatMemoryError as error:
            return {id: error}

    def _by_itself(self, id: str, end: End) -> Ended:
        try:
            rows = self._database.fetch(self._tenant_id, queries.sessions.GET_SESSION, {"id": id, "user_id": None})
            if not rows:
                return not_found(id)
            return self.end(session_from_row(rows[0]), end)
        except ChatMemoryError as error:
            return error

    def _end_batch(self, ids: Sequence[str], end: End) -> dict[str, Ended]:
        """End sessions in one transaction; return the outcomes, without sessions that changed meanwhile.

        Raises:
            ChatMemoryError: One of them cannot be ended, so that none is.
        """
        reading = _reading(ids, queries.sessions.SESSIONS_TO_END)
        try:
            self._metrics.flush()
            rows, extremes, _ = self._database.run(self._tenant_id, *reading)
            done, prepared = _prepare_all(rows, extremes, end)
            done |= {id: not_found(id) for id in ids if id not in done and id not in prepared}
            infos = [ending_from_row(row).info for row in rows]
            with self._windows.forgetting(infos):
                done |= self._write_batch(prepared)
        except StorageUnavailableError as error:
            return dict.fromkeys(ids, error)
        for id in ids:
            self._metrics.forget(self._tenant_id, id)
        return done

    def _write_batch(self, prepared: Mapping[str, Prepared]) -> dict[str, Ended]:
        results = self._results.with_vectors([each.result for each in prepared.values() if each.result])
        try:
            return self._write_ends(prepared, results)
        except LlmError as error:
            return self._write_ends(prepared, without_vectors(results, error))

    def _write_ends(self, prepared: Mapping[str, Prepared], results: Sequence[NewMemory]) -> dict[str, Ended]:
        params = (self._tenant_id, to_json([each.row for each in prepared.values()]), False)
        with self._database.transaction(self._tenant_id, patient=True) as transaction:
            _, rows = transaction.run(
                self._lock(result.user_id for result in results), (queries.sessions.END_SESSIONS, params)
            )
            done = _outcomes(rows)
            left = [result for result in results if isinstance(done.get(result.sources[0].session_id), SessionInfo)]
            transaction.finish(*self._store.additions(self._tenant_id, left))
        return done


def _reading(ids: Sequence[str], sessions: LiteralString) -> list[Statement]:
    """Return the statements that read what an end depends on."""
    params = (list(ids),)
    return [(sessions, params), (queries.runs.EXTREMES, params), (queries.runs.NEXT_STEPS, params)]


def _users(infos: Iterable[SessionInfo], end: End) -> list[str]:
    """Return the users to whom the result memories will belong."""
    return ["" if end.shared else info.user_id for info in infos if info.learns == "result"]


def _prepare(ending: Ending, end: End, summaries: Sequence[MetricSummary]) -> Prepared:
    info, row = ending.ended(end)
    result = None
    if info.learns == "result":
        result = outcome(info, summaries, ending.number, shared=end.shared)
    return Prepared(row, result, ())


def _prepare_all(
    rows: Iterable[Row], extremes: Iterable[Row], end: End
) -> tuple[dict[str, Ended], dict[str, Prepared]]:
    """Return the errors of sessions that cannot end like this, and what to write for the others."""
    summaries: dict[str, list[MetricSummary]] = {}
    for id, *summary in extremes:
        summaries.setdefault(id, []).append(MetricSummary(*summary))
    errors: dict[str, Ended] = {}
    prepared: dict[str, Prepared] = {}
    for ending in map(ending_from_row, rows):
        info = ending.info
        try:
            if info.is_active:
                prepared[info.id] = _prepare(ending, end, summaries.get(info.id, ()))
            else:  # it has ended: only its status is reported
                prepared[info.id] = Prepared(end.row(info), None, ())
        except ChatMemoryError as error:
            errors[info.id] = error
    return errors, prepared


def _outcomes(rows: Iterable[Row]) -> dict[str, Ended]:
    """Return the outcomes from end_sessions, without the sessions that had changed."""
    ended: dict[str, Ended] = {}
    for *row, refused in rows:
        info = session_from_row(row)
        if refused != CHANGED:
            ended[info.id] = info if refused is None else ended_otherwise(info.id, refused)
    return ended
