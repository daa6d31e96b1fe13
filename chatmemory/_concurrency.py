"""The hand-written pairs: what asyncio and threads offer under other names."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

AsyncLock = asyncio.Lock
Lock = threading.Lock


async def async_in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call without blocking the event loop."""
    return await asyncio.to_thread(call)


def in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call."""
    return call()


class AsyncBackground:
    """At most one task beside the caller's work, which close() ends."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Start `work` unless the last one still runs."""

        async def run() -> None:
            await work()

        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(run())

    async def wait(self) -> None:
        """Wait until the work is done."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Cancel the work and wait until it is gone."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None


class Background:
    """At most one thread beside the caller's work; close() waits for it."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Start `work` unless the last one still runs."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=work, name="chatmemory-background", daemon=True)
            self._thread.start()

    def wait(self) -> None:
        """Wait until the work is done."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Wait until the work is done; it is short, and each of its steps has a time limit."""
        self.wait()
        self._thread = None
