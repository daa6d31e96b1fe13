# Generated from chatmemory/_async/memories/worker.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The worker: a loop that claims due sessions by a query, under a lease, and learns from them."""

from datetime import timedelta
from typing import NamedTuple
from uuid import uuid4

from chatmemory._concurrency import Flag, side_by_side, wait_for
from chatmemory._interrupts import undisturbed
from chatmemory._sync.memories.learner import Learner
from chatmemory._sync.memories.listener import Listener
from chatmemory._sync.shared import Shared
from chatmemory._wakeups import Wakeup
from chatmemory.errors import StorageError
from chatmemory.memories.records import Consolidation, Report
from chatmemory.storage import queries


class Done(NamedTuple):
    """Counts of claimed sessions."""

    claimed: int = 0
    processed: int = 0
    failed: int = 0

    def after(self, one: Consolidation) -> "Done":
        """Return the counts with one more session."""
        return Done(self.claimed + 1, self.processed + (one.status == "success"), self.failed + (one.status == "error"))


class Worker:
    """A worker; any number may run at once."""

    def __init__(self, parts: Shared) -> None:
        self._parts = parts
        self._database, self._settings = parts.database, parts.settings
        self._learner = Learner(parts)
        self._owner = uuid4().hex

    def claim(self, limit: int, tenant_id: str | None = None, session_id: str | None = None) -> list[tuple[str, str]]:
        """Claim due sessions, or one session, due or not; return (tenant id, session id) of each."""
        settings = self._settings
        lease = timedelta(seconds=settings.worker_lease_seconds)
        params = (self._owner, lease, limit, tenant_id, session_id)
        claimed: list[tuple[str, str]] = []

        def ask() -> None:
            claimed.extend((tenant, id) for tenant, id in self._database.call(queries.learning.CLAIM_SESSIONS, params))

        try:
            undisturbed(ask)
        except BaseException:  # cancelled: give the claims back
            for each in claimed:
                self._learner.hand_back(*each, self._owner)
            raise
        return claimed

    def learn(self, tenant_id: str, session_id: str) -> Consolidation:
        """Learn from one batch of a claimed session."""
        return self._learner.learn(tenant_id, session_id, self._owner)

    def run_due(self, limit: int) -> Report:
        """Learn from due sessions, one after the other, until none is due or `limit` were claimed."""
        done = self._learn_due(limit)
        return Report(processed=done.processed, failed=done.failed, parked=self.parked())

    def _learn_due(self, limit: int) -> Done:
        """Claim and learn from up to `limit` sessions. It ends: each claim changes when its session is due."""
        done = Done()
        while done.claimed < limit:
            claimed = self.claim(1)
            if not claimed:
                break
            done = done.after(self.learn(*claimed[0]))
        return done

    def parked(self, *, retry: bool = False) -> int:
        """Return the number of parked sessions; with `retry`, make them due again first."""
        return self.state(retry=retry)[1]

    def state(self, *, retry: bool = False) -> tuple[int, int]:
        """Return the numbers of due and of parked sessions; with `retry`, make the parked ones due first."""
        [(due, parked)] = self._database.call(queries.learning.LEARNING_STATE, (retry,))
        return due, parked

    def run(self, concurrency: int, stop: Flag, *, until_idle: bool = False) -> Report:
        """Work until `stop` is set, or with until_idle until nothing is due; sessions in progress are finished."""
        total = Done()
        wakeup = Wakeup(stop)
        listener = Listener(self._database, wakeup)

        def work() -> None:
            nonlocal total
            while not stop.is_set():
                event = wakeup.next()
                self._parts.on_use()  # idle sessions expire, and become due
                try:
                    done = self._learn_due(1)
                except StorageError:  # Postgres is away; look again later
                    if until_idle:
                        raise
                    done = Done()
                total = Done(*map(sum, zip(total, done, strict=True)))
                if done.claimed:
                    continue
                if until_idle:
                    return
                wait_for(event, listener.poll_seconds(self._settings.worker_poll_seconds))

        if not until_idle:
            wakeup.start()
            listener.start()
        try:
            side_by_side([work] * concurrency, stop.set)
        finally:
            listener.close()
            wakeup.close()
        return Report(processed=total.processed, failed=total.failed, parked=self.parked())
