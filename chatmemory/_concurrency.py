"""The hand-written pairs: what asyncio and threads offer under other names."""

import asyncio
import contextlib
import inspect
import logging
import os
import select
import signal
import threading
import time
import types
from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")

IDLE_BEATS = 100

_deadline = threading.local()

AsyncLock = asyncio.Lock
Lock = threading.Lock
Guard = threading.Lock  # of both halves: for a few lines that never wait
AsyncEvent = asyncio.Event
Event = threading.Event


async def async_wait_for(event: asyncio.Event, seconds: float) -> None:
    """Wait until the event is set, at most this long."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def wait_for(event: threading.Event, seconds: float) -> None:
    """Wait until the event is set, at most this long."""
    event.wait(seconds)


def until_signalled(work: Callable[[asyncio.Event], Coroutine[Any, Any, T]]) -> T:
    """Run what is to end soon after its event is set: by SIGTERM or SIGINT, of which a second one cancels it.

    Raises:
        SystemExit: It was cancelled; the code is 128 and the signal's number, as shells have it.
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
    """Do all of it at once, and wait until it is done; the first error calls `give_up` and ends the others."""

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
    """Do all of it at once, and wait until it is done; after the first error, `give_up` tells the others to end."""
    with ThreadPoolExecutor(len(works), thread_name_prefix="chatmemory-worker") as pool:
        try:
            for done in as_completed([pool.submit(work) for work in works]):
                done.result()
        except BaseException:  # also an interrupt: leaving the pool waits for its threads
            give_up()
            raise


async def async_undisturbed(call: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
    """Make a call to its end, also where that is cancelled meanwhile; only then the cancellation goes on.

    A call that need not wait is made at once: a task for each would cost as much as a fifth of an append.
    """
    work = call(*arguments)
    try:
        waits_for = work.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    return await _undisturbed(work, waits_for)


async def _undisturbed(work: Coroutine[Any, Any, T], waits_for: object) -> T:
    async def rest() -> T:
        return await _rest(work, waits_for)

    task = asyncio.create_task(rest())
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # looked at, so that nobody logs it
        raise cancelled
    return task.result()


@types.coroutine
def _rest(work: Coroutine[Any, Any, T], waits_for: object) -> Generator[object, Any, T]:
    """Go on with what has begun to wait."""
    while True:
        try:
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001  # the work decides
                waits_for = work.throw(error)
            else:
                waits_for = work.send(sent)
        except StopIteration as done:
            return cast(T, done.value)


def undisturbed(call: Callable[..., T], *arguments: object) -> T:
    """Make a call; nothing cancels a thread."""
    return call(*arguments)


async def async_in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call without blocking the event loop."""
    return await asyncio.to_thread(call)


async def async_ask(owner: object, name: str, *arguments: object) -> Any:
    """Call a method of somebody else's object: its async form (`a` before the name) or, on a thread, the plain one."""
    method = getattr(owner, f"a{name}", None) or getattr(owner, name)
    if inspect.iscoroutinefunction(method):
        return await method(*arguments)
    return await asyncio.to_thread(method, *arguments)


def ask(owner: object, name: str, *arguments: object) -> Any:
    """Call a method of somebody else's object."""
    return getattr(owner, name)(*arguments)


def has_news(descriptor: int) -> bool:
    """Whether a socket can be read without waiting: the other side has sent something, or has hung up."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([descriptor], [], [], 0)[0])
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    return bool(poll.poll(0))


def async_within(seconds: float) -> asyncio.Timeout:
    """Raise TimeoutError where the body takes longer."""
    return asyncio.timeout(seconds)


@contextlib.contextmanager
def within(seconds: float) -> Iterator[None]:
    """Let whoever reads in steps know when the body has taken longer: nothing else can end what blocks a thread."""
    _deadline.at = time.monotonic() + seconds
    try:
        yield
    finally:
        _deadline.at = None


def is_late() -> bool:
    """Whether this thread is in the body of a within() that has taken longer."""
    at = getattr(_deadline, "at", None)
    return at is not None and time.monotonic() > at


def in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call."""
    return call()


class Once(Generic[T]):
    """A slow call that is made once in a process, on a thread that keeps nobody from exiting."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._until: float | None = None  # nobody waits any longer
        self._pid = 0  # a forked child does not inherit a thread
        self._done = threading.Event()
        self.result: T | None = None

    def start(self) -> "Once[T]":
        """Begin, unless that has happened."""
        if self.result is None and self._pid != os.getpid():
            with self._lock:
                if self._pid != os.getpid():
                    self._pid, self._done, self._until = os.getpid(), threading.Event(), None
                    threading.Thread(target=self._run, name="chatmemory-once", daemon=True).start()
        return self

    @property
    def is_running(self) -> bool:
        """Whether it has begun and neither succeeded nor failed."""
        return self.result is None and not self._done.is_set()

    def wait(self, seconds: float) -> None:
        """Wait until it has succeeded or failed; all who wait do so at most this long in all, from the first one on."""
        self._until = self._until or time.monotonic() + seconds
        self._done.wait(max(0, self._until - time.monotonic()))

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

        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done() or self._task.get_loop() is not loop:
            self._task = loop.create_task(run())

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


class AsyncPulse:
    """A task that does some work at a steady pace while there is some, and ends after a while without.

    Args:
        seconds: The pace.
        work: Tells whether there was something to do.
    """

    def __init__(self, seconds: float, work: Callable[[], Awaitable[bool]]) -> None:
        self._seconds = seconds
        self._work = work
        self._background = AsyncBackground()

    def start(self) -> None:
        """See that the work is done soon."""
        self._background.start(self._beat)

    async def _beat(self) -> None:
        idle = 0
        while idle < IDLE_BEATS:
            await asyncio.sleep(self._seconds)
            idle = 0 if await self._work() else idle + 1

    async def close(self) -> None:
        """End it."""
        await self._background.close()

    def leave(self) -> None:
        """At the end of the interpreter: it has ended with its event loop."""


class Pulse:
    """A thread that does some work at a steady pace while there is some, and ends after a while without.

    Args:
        seconds: The pace.
        work: Tells whether there was something to do.
    """

    def __init__(self, seconds: float, work: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._work = work
        self._lock = threading.Lock()
        self._wanted = threading.Event()  # set while a thread runs that will still look for work
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """See that the work is done soon."""
        if self._wanted.is_set():
            return
        with self._lock:
            if not self._wanted.is_set() and not self._closed.is_set():
                self._wanted.set()
                self._thread = threading.Thread(target=self._beat, name="chatmemory-pulse", daemon=True)
                self._thread.start()

    def _beat(self) -> None:
        idle = 0
        while idle < IDLE_BEATS and not self._closed.wait(self._seconds):
            idle = 0 if self._work() else idle + 1
        self._wanted.clear()
        self._work()  # what came between the last look and that

    def close(self) -> None:
        """End it, and wait until its last work is done."""
        with self._lock:
            self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def leave(self) -> None:
        """At the end of the interpreter: end it, before it is stopped half-way."""
        self.close()


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
