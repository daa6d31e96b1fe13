# Generated from chatmemory/_async/memories/recall_counts.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The number of recalls of each memory, counted beside the caller's work."""

import logging
from collections import Counter
from collections.abc import Iterable

from chatmemory import _forks
from chatmemory._concurrency import Guard, Lock, Pulse
from chatmemory._sync.storage.database import Database
from chatmemory.errors import ChatMemoryError
from chatmemory.storage import queries

WRITE_SECONDS = 0.5  # how late Postgres may count a recall
MAX_WAITING = 10_000  # memories; what is recalled while Postgres is away is counted up to here

LOG = logging.getLogger("chatmemory")


class RecallCounts:
    """Counts the recalls of one process, so that a recall neither waits for its count nor for a lock on a memory.

    The counts are statistics: those of a process that is killed, or that Postgres does not take, are lost.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._begin()
        _forks.watch(self)

    def _begin(self) -> None:
        self._waiting: Counter[tuple[str, str]] = Counter()  # by tenant and memory
        self._guard = Guard()  # of what waits
        self._lock = Lock()  # held while counts are written
        self._writer = Pulse(WRITE_SECONDS, self._write_quietly)

    def forked(self) -> object:
        """In a forked child: what waits is the parent's to write."""
        parents = (self._writer, self._lock, self._guard)
        self._begin()
        return parents

    def add(self, tenant_id: str, memory_ids: Iterable[str]) -> None:
        """Count a recall soon; never waits."""
        with self._guard:
            if len(self._waiting) < MAX_WAITING:
                self._waiting.update((tenant_id, id) for id in memory_ids)
        self._writer.start()

    def flush(self) -> bool:
        """Write what waits, so that whoever reads memories sees it; report whether there was something."""
        if not self._waiting and not self._lock.locked():
            return False
        with self._lock:
            with self._guard:
                waiting, self._waiting = self._waiting, Counter()
            for tenant_id in {tenant_id for tenant_id, _ in waiting}:
                self._write(tenant_id, {id: count for (of, id), count in waiting.items() if of == tenant_id})
        return bool(waiting)

    def _write(self, tenant_id: str, counts: dict[str, int]) -> None:
        params = {"ids": list(counts), "counts": list(counts.values())}
        self._database.run_once(tenant_id, (queries.memories.SOON, ()), (queries.memories.RECALLED, params))

    def _write_quietly(self) -> bool:
        try:
            return self.flush()
        except ChatMemoryError as error:
            LOG.debug("recalls were not counted: %s", error)
            return False

    def close(self) -> None:
        """Write what waits, and stop."""
        self._writer.close()
        self._write_quietly()
