"""Hand-written pairs of async and sync primitives: locks, flags, tasks, time limits."""

import asyncio
import contextlib
import inspect
import logging
import os
import select
import signal
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Generic, TypeVar

from chatmemory import _forks
from chatmemory._interrupts import postponed, wait_until, waiting

T = TypeVar("T")

IDLE_BEATS = 100

_deadline = threading.local()

AsyncLock = asyncio.Lock
Lock = threading.Lock
Guard = threading.Lock  # the same in both halves: guards a few lines that never wait
AsyncFlag = asyncio.Event  # not "Event": that is an entry of a session's timeline
Flag = threading.Event


async def async_wait_for(flag: asyncio.Event, seconds: float) -> None:
    """Wait until the flag is set, at most `seconds`."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(flag.wait(), seconds)


def wait_for(flag: threading.Event, seconds: float) -> None:
    """Wait until the flag is set, at most `seconds`."""
    wait_until(flag, seconds)


@contextlib.asynccontextmanager
async def async_hold(lock: asyncio.Lock, seconds: float) -> AsyncIterator[None]:
    """Hold a lock; TimeoutError if it takes longer than `seconds` to get it."""
    async with asyncio.timeout(seconds):
        await lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def hold(lock: threading.Lock, seconds: float) -> Iterator[None]:
    """Hold a lock; TimeoutError if it takes longer than `seconds` to get it."""
    if not lock.acquire(timeout=seconds):
        raise TimeoutError
    try:
        yield
    finally:
        lock.release()


def until_signalled(work: Callable[[asyncio.Event], Coroutine[Any, Any, T]]) -> T:
    """Run work until it ends; the first SIGTERM or SIGINT sets its stop flag, the second one cancels it.

    Raises:
        SystemExit: The work was cancelled; the code is 128 plus the signal's number, as in a shell.
    """

    async def run() -> T:
        loop, stop, codes = asyncio.get_running_loop(), asyncio.Event(), list[int]()
        task = asyncio.ensure_future(work(stop))

        def end(number: int) -> None:
            if stop.is_set():
                codes.append(128 + number)
                task.cancel()
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end, number)
        try:
            return await task
        except asyncio.CancelledError:
            raise SystemExit(codes[0] if codes else 1) from None

    return asyncio.run(run())


async def async_side_by_side(
    works: Sequence[Callable[[], Awaitable[None]]], give_up: Callable[[], None] = lambda: None
) -> None:
    """Run all works concurrently and wait for them; the first error calls `give_up` and cancels the others."""

    async def run(work: Callable[[], Awaitable[None]]) -> None:
        await work()

    try:
        async with asyncio.TaskGroup() as group:
            for work in works:
                group.create_task(run(work))
    except BaseExceptionGroup as errors:
        give_up()
        raise errors.exceptions[0] from None


def side_by_side(works: Sequence[Callable[[], None]], give_up: Callable[[], None] = lambda: None) -> None:
    """Run all works in threads and wait for them; the first error calls `give_up`, which asks the others to end."""
    with ThreadPoolExecutor(len(works), thread_name_prefix="chatmemory-worker") as pool:
        try:
            for done in as_completed([pool.submit(work) for work in works]):
                done.result()
        except BaseException:  # an interrupt too: leaving the pool waits for its threads
            give_up()
            raise


async def async_in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call without blocking the event loop."""
    return await asyncio.to_thread(call)


async def async_ask(owner: object, name: str, *arguments: object) -> Any:
    """Call a method of a foreign object: its async form (with an `a` before the name), or the plain one in a thread."""
    method = getattr(owner, f"a{name}", None) or getattr(owner, name)
    if inspect.iscoroutinefunction(method):
        return await method(*arguments)
    return await asyncio.to_thread(method, *arguments)


def ask(owner: object, name: str, *arguments: object) -> Any:
    """Call a method of a foreign object."""
    return getattr(owner, name)(*arguments)


def has_news(descriptor: int) -> bool:
    """Return whether a socket is readable: the peer has sent data or closed the connection."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))


def async_within(seconds: float) -> asyncio.Timeout:
    """Raise TimeoutError if the body takes longer than `seconds`."""
    return asyncio.timeout(seconds)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Set a deadline for is_late(). Code that reads in steps checks it, as a blocked thread cannot be interrupted."""
    _deadline.at = time.monotonic() + seconds
    try:
        yield
    finally:
        _deadline.at = None


def is_late() -> bool:
    """Return whether this thread is in a within() body whose deadline has passed."""
    at = getattr(_deadline, "at", None)
    return at is not None and time.monotonic() > at


def in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call, which may be interrupted."""
    with waiting():
        return call()


class Once(Generic[T]):
    """A slow call that runs once per process, on a daemon thread."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._until: float | None = None  # the end of all waiting
        self._pid = 0  # a forked child does not inherit a thread
        self._done = threading.Event()
        self.result: T | None = None
        _forks.watch(self)

    def forked(self) -> object:
        """Take a new lock in a forked child: a thread of the parent may have held the old one."""
        parents, self._lock = self._lock, threading.Lock()
        return parents

    def start(self) -> "Once[T]":
        """Start the call, unless it was started before."""
        if self.result is None and self._pid != os.getpid():
            with postponed(), self._lock:
                if self._pid != os.getpid():
                    self._pid, self._done, self._until = os.getpid(), threading.Event(), None
                    threading.Thread(target=self._run, name="chatmemory-once", daemon=True).start()
        return self

    @property
    def is_running(self) -> bool:
        """True while the call is running."""
        return self.result is None and not self._done.is_set()

    def wait(self, seconds: float) -> None:
        """Wait until the call has ended. All waiters share one time limit, which starts with the first."""
        self._until = self._until or time.monotonic() + seconds
        wait_until(self._done, max(0, self._until - time.monotonic()))

    def _run(self) -> None:
        try:
            self.result = self._call()
        except Exception:  # any error: waiters see that there is no result
            logging.getLogger("chatmemory").debug("a background load failed", exc_info=True)
        finally:
            self._done.set()


class AsyncBackground:
    """At most one background task; close() cancels it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Callable[[], Awaitable[None]]) -> None:
        """Start `work` unless the previous one still runs."""

        async def run() -> None:
            await work()

        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(run())

    async def wait(self) -> None:
        """Wait until the work is done."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def close(self) -> None:
        """Cancel the work and wait until it has ended; work of another event loop is left to that one."""
        task, self._task = self._task, None
        if task is not None and task.get_loop() is asyncio.get_running_loop():
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


class AsyncPulse:
    """A task that runs some work periodically, and ends after a number of idle rounds.

    Args:
        seconds: Seconds between two rounds.
        work: Returns whether there was something to do.
    """

    def __init__(self, seconds: float, work: Callable[[], Awaitable[bool]]) -> None:
        self._seconds = seconds
        self._work = work
        self._background = AsyncBackground()

    def start(self) -> None:
        """Make sure that the work runs soon."""
        self._background.start(self._beat)

    async def _beat(self) -> None:
        idle = 0
        while idle < IDLE_BEATS:
            await asyncio.sleep(self._seconds)
            idle = 0 if await self._work() else idle + 1

    async def close(self) -> None:
        """Cancel the task."""
        await self._background.close()

    def leave(self) -> None:
        """Do nothing at interpreter exit: the task has ended with its event loop."""


class Pulse:
    """A thread that runs some work periodically, and ends after a number of idle rounds.

    Args:
        seconds: Seconds between two rounds.
        work: Returns whether there was something to do.
    """

    def __init__(self, seconds: float, work: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._work = work
        self._lock = threading.Lock()
        self._wanted = threading.Event()  # set while a running thread will still look for work
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Make sure that the work runs soon."""
        if self._wanted.is_set():
            return
        with postponed(), self._lock:
            if not self._wanted.is_set() and not self._closed.is_set():
                self._wanted.set()
                self._thread = threading.Thread(target=self._beat, name="chatmemory-pulse", daemon=True)
                self._thread.start()

    def _beat(self) -> None:
        idle = 0
        while idle < IDLE_BEATS and not self._closed.wait(self._seconds):
            idle = 0 if self._work() else idle + 1
        self._wanted.clear()
        self._work()  # work that arrived between the last round and the clear()

    def close(self) -> None:
        """Stop the thread and wait for its last round."""
        with postponed(), self._lock:
            self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def leave(self) -> None:
        """Stop the thread at interpreter exit, before it is killed in the middle of its work."""
        self.close()


class Background:
    """At most one background thread; close() waits for it."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    def start(self, work: Callable[[], None]) -> None:
        """Start `work` unless the previous one still runs."""
        with postponed():
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=work, name="chatmemory-background", daemon=True)
                self._thread.start()

    def wait(self) -> None:
        """Wait until the work is done."""
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Wait until the work is done. It is short, and each of its steps has a time limit."""
        self.wait()
        self._thread = None
