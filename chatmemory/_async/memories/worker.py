"""The worker: a loop that claims due sessions by a query, under a lease, and learns from them."""

from datetime import timedelta
from typing import NamedTuple
from uuid import uuid4

from chatmemory._async.memories.learner import AsyncLearner
from chatmemory._async.memories.listener import AsyncListener
from chatmemory._async.shared import AsyncShared
from chatmemory._concurrency import AsyncFlag, async_side_by_side, async_wait_for
from chatmemory._interrupts import async_undisturbed
from chatmemory._wakeups import AsyncWakeup
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


class AsyncWorker:
    """A worker; any number may run at once."""

    def __init__(self, parts: AsyncShared) -> None:
        self._parts = parts
        self._database, self._settings = parts.database, parts.settings
        self._learner = AsyncLearner(parts)
        self._owner = uuid4().hex

    async def claim(
        self, limit: int, tenant_id: str | None = None, session_id: str | None = None
    ) -> list[tuple[str, str]]:
        """Claim due sessions, or one session, due or not; return (tenant id, session id) of each."""
        settings = self._settings
        lease = timedelta(seconds=settings.worker_lease_seconds)
        params = (self._owner, lease, limit, tenant_id, session_id)
        claimed: list[tuple[str, str]] = []

        async def ask() -> None:
            claimed.extend(
                (tenant, id) for tenant, id in await self._database.call(queries.learning.CLAIM_SESSIONS, params)
            )

        try:
            await async_undisturbed(ask)
        except BaseException:  # cancelled: give the claims back
            for each in claimed:
                await self._learner.hand_back(*each, self._owner)
            raise
        return claimed

    async def learn(self, tenant_id: str, session_id: str) -> Consolidation:
        """Learn from one batch of a claimed session."""
        return await self._learner.learn(tenant_id, session_id, self._owner)

    async def run_due(self, limit: int) -> Report:
        """Learn from due sessions, one after the other, until none is due or `limit` were claimed."""
        done = await self._learn_due(limit)
        return Report(processed=done.processed, failed=done.failed, parked=await self.parked())

    async def _learn_due(self, limit: int) -> Done:
        """Claim and learn from up to `limit` sessions. It ends: each claim changes when its session is due."""
        done = Done()
        while done.claimed < limit:
            claimed = await self.claim(1)
            if not claimed:
                break
            done = done.after(await self.learn(*claimed[0]))
        return done

    async def parked(self, *, retry: bool = False) -> int:
        """Return the number of parked sessions; with `retry`, make them due again first."""
        return (await self.state(retry=retry))[1]

    async def state(self, *, retry: bool = False) -> tuple[int, int]:
        """Return the numbers of due and of parked sessions; with `retry`, make the parked ones due first."""
        [(due, parked)] = await self._database.call(queries.learning.LEARNING_STATE, (retry,))
        return due, parked

    async def run(self, concurrency: int, stop: AsyncFlag, *, until_idle: bool = False) -> Report:
        """Work until `stop` is set, or with until_idle until nothing is due; sessions in progress are finished."""
        total = Done()
        wakeup = AsyncWakeup(stop)
        listener = AsyncListener(self._database, wakeup)

        async def work() -> None:
            nonlocal total
            while not stop.is_set():
                event = wakeup.next()
                self._parts.on_use()  # idle sessions expire, and become due
                try:
                    done = await self._learn_due(1)
                except StorageError:  # Postgres is away; look again later
                    if until_idle:
                        raise
                    done = Done()
                total = Done(*map(sum, zip(total, done, strict=True)))
                if done.claimed:
                    continue
                if until_idle:
                    return
                await async_wait_for(event, listener.poll_seconds(self._settings.worker_poll_seconds))

        if not until_idle:
            wakeup.start()
            listener.start()
        try:
            await async_side_by_side([work] * concurrency, stop.set)
        finally:
            await listener.close()
            await wakeup.close()
        return Report(processed=total.processed, failed=total.failed, parked=await self.parked())
