# Generated from chatmemory/_async/runs/metrics.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Metrics: logged without waiting, and written to Postgres in the background."""

import logging
import time

from chatmemory import _forks
from chatmemory._concurrency import Lock, Pulse
from chatmemory._sync.storage.database import Database
from chatmemory.errors import ChatMemoryError, ConfigurationError, SessionNotFoundError, StorageUnavailableError
from chatmemory.runs.metric_packing import Logged, Packed, Packer, Run, Waiting
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found

FLUSH_SECONDS = 0.5  # the longest time from a point to its write
PACKED_AT_ONCE = 5_000  # calls, so that an event loop is not blocked for long


class Metrics:
    """The metrics of all runs of one memory. Writing a row is idempotent, so a retry doubles nothing.

    Args:
        database: The memory's database.
        by_itself: Whether points are written in the background, and not by flush() alone.
    """

    def __init__(self, database: Database, *, by_itself: bool = True) -> None:
        self._database, self._by_itself = database, by_itself
        self._closed = False
        self._begin()
        _forks.watch(self)

    def _begin(self) -> None:
        self._waiting = Waiting()
        self._packer = Packer()
        self._lock = Lock()
        self._flusher = Pulse(FLUSH_SECONDS, self._flush_quietly)

    def forked(self) -> object:
        """Start without unwritten points in a forked child: the parent writes them."""
        parents = (self._flusher, self._lock)
        self._begin()
        return parents

    def log(
        self,
        run: Run,
        step: int | None,
        values: tuple[tuple[str, float], ...],
        at: float | None = None,
    ) -> None:
        """Take points to be written soon, without waiting."""
        if self._closed:
            raise ConfigurationError("This ChatMemory is closed; open a new one.")
        self._waiting.append(Logged(run, step, values, time.time() if at is None else at))
        if self._by_itself:
            self._flusher.start()

    def flush(self) -> bool:
        """Write everything logged so far; return whether there was anything.

        Raises:
            StorageError: It could not be written now, and is written later.
        """
        if not self._waiting and self._packer.is_written:
            return False
        with self._lock:
            due = len(self._waiting)
            while True:
                self._pack(min(due, PACKED_AT_ONCE))
                due -= PACKED_AT_ONCE
                for rows in self._packer.unwritten():
                    self._write(rows)
                if due <= 0:
                    return True

    def _pack(self, count: int) -> None:
        for _ in range(count):
            logged = self._waiting[0]
            if self._packer.needs_step(logged):
                tenant_id, session_id, _ = logged.run
                [(step,)] = self._database.fetch(tenant_id, queries.runs.NEXT_STEP, (session_id,))
                self._packer.go_on_at(logged, step)
            self._packer.add(logged)
            self._waiting.popleft()  # last: a concurrent reader must find it in at least one place

    def _write(self, rows: list[Packed]) -> None:
        """Write rows of one session; drop them if the session was erased."""
        tenant_id, session_id, born_at = rows[0].run
        try:
            deadline = self._database.deadline()
            for attempt in self._database.retrying(deadline):
                with attempt:
                    with self._database.transaction(tenant_id, session_id, deadline=deadline) as transaction:
                        own, _ = transaction.run(
                            (queries.runs.OWN_SESSION, (session_id, born_at)),
                            (queries.runs.TOUCH_SESSION, (session_id,)),
                        )
                        if not own:
                            raise not_found(session_id)
                        transaction.execute_many(queries.runs.KEEP_METRICS, [row.row() for row in rows])
        except SessionNotFoundError:
            logging.getLogger("chatmemory").warning("metrics of session %r are dropped: it was erased", session_id)
            self._packer.forget(tenant_id, session_id)
        self._packer.written(rows)

    def _flush_quietly(self) -> bool:
        try:
            return self.flush()
        except ChatMemoryError:
            return True  # the next pulse tries again

    def forget(self, tenant_id: str, *session_ids: str) -> None:
        """Drop the state of sessions that have ended or were erased."""
        with self._lock:
            self._packer.forget(tenant_id, *session_ids)

    def close(self) -> None:
        """Write all points, and stop.

        Raises:
            StorageUnavailableError: Postgres cannot be reached; the message says how many points are lost.
        """
        self._closed = True
        self._flusher.close()
        try:
            self.flush()
        except StorageUnavailableError as error:
            lost = self._packer.count() + sum(len(logged.values) for logged in self._waiting)
            self._waiting, self._packer = Waiting(), Packer()
            problem = f"{lost} points of metrics could not be written. {error}"
            raise StorageUnavailableError(problem, error.may_be_stored) from error
