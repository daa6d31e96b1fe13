"""Sweeping a store at intervals: in a thread, or as a task."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from threading import Event, Thread

from chatmemory import ChatMemoryError

LOG = logging.getLogger("chatmemory")


class Sweeper:
    """Calls a function at intervals in a thread of its own."""

    def __init__(self, sweep: Callable[[], object], seconds: float) -> None:
        self._sweep, self._seconds = sweep, seconds
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="chatmemory-sweeper", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            try:
                self._sweep()
            except ChatMemoryError as error:
                LOG.warning("expired items were not removed: %s", error)

    def stop(self, timeout: float | None) -> bool:
        """Stop after the sweep in progress; return whether it has ended in time."""
        self._stopped.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()


class AsyncSweeper:
    """Calls an async function at intervals in a task of the running loop."""

    def __init__(self, sweep: Callable[[], Awaitable[object]], seconds: float) -> None:
        self._sweep, self._seconds = sweep, seconds
        self._stopped = asyncio.Event()
        self._task = asyncio.create_task(self._run(), name="chatmemory-sweeper")

    async def _run(self) -> None:
        while not await self._is_stopped():
            try:
                await self._sweep()
            except ChatMemoryError as error:
                LOG.warning("expired items were not removed: %s", error)

    async def _is_stopped(self) -> bool:
        try:
            await asyncio.wait_for(self._stopped.wait(), self._seconds)
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Stop after the sweep in progress."""
        self._stopped.set()
        await self._task
