"""The hand-written pairs: what asyncio and threads offer under other names."""

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")

AsyncLock = asyncio.Lock
Lock = threading.Lock


async def async_in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call without blocking the event loop."""
    return await asyncio.to_thread(call)


def async_within(seconds: float) -> asyncio.Timeout:
    """Raise TimeoutError where the body takes longer."""
    return asyncio.timeout(seconds)


def within(_seconds: float) -> contextlib.AbstractContextManager[None]:
    """Nothing: what blocks a thread has time limits of its own."""
    return contextlib.nullcontext()


def in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call."""
    return call()


class Once(Generic[T]):
    """A slow call that is made once in a process, on a thread that keeps nobody from exiting."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._pid = 0  # a forked child does not inherit a thread
        self._done = threading.Event()
        self.result: T | None = None

    def start(self) -> "Once[T]":
        """Begin, unless that has happened."""
        if self.result is None and self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._pid, self._done = os.getpid(), threading.Event()
                    threading.Thread(target=self._run, name="chatmemory-once", daemon=True).start()
        return self

    @property
    def is_running(self) -> bool:
        """Whether it has begun and neither succeeded nor failed."""
        return self.result is None and not self._done.is_set()

    def wait(self, seconds: float) -> None:
        """Wait until it has succeeded or failed, at most this long."""
        self._done.wait(seconds)

    def _run(self) -> None:
        try:
            self.result = self._call()
        except Exception:  # whatever it is, there is no result, and waiters see that
            logging.getLogger("chatmemory").debug("a background load failed", exc_info=True)
        finally:
            self._done.set()


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
