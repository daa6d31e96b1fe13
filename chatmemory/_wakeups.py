"""The wake-up signal of tasks, or threads, that wait for work; a hand-written async and sync pair."""

import asyncio
import contextlib
import selectors
import socket
import threading


class AsyncWakeup:
    """Wakes all waiting tasks, each time wake() is called and once `stop` is set.

    To miss no signal, a task takes next() before it looks for work, and waits for that event if it found none.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self.stop = stop
        self._next = asyncio.Event()
        self._watcher: asyncio.Future[None] | None = None

    def start(self) -> None:
        """Begin to watch `stop`, which is to be set at the end."""
        self._watcher = asyncio.ensure_future(self._wake_at_stop())

    async def _wake_at_stop(self) -> None:
        await self.stop.wait()
        self.wake()

    def next(self) -> asyncio.Event:
        """Return the event that the next wake() sets."""
        return self._next

    def wake(self) -> None:
        """Wake all waiting tasks; after `stop` is set, no task waits any more."""
        current = self._next
        if not self.stop.is_set():
            self._next = asyncio.Event()
        current.set()

    async def readable(self, descriptor: int, seconds: float) -> bool:
        """Wait until a socket is readable, `stop` is set, or the time is over; return whether it is readable."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()
        waits = [asyncio.ensure_future(event.wait()) for event in (arrived, self.stop)]
        loop.add_reader(descriptor, arrived.set)
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(descriptor)
            for each in waits:
                each.cancel()
        return arrived.is_set()

    async def close(self) -> None:
        """Stop watching `stop`."""
        if self._watcher is not None:
            self._watcher.cancel()


class Wakeup:
    """Wakes all waiting threads, each time wake() is called and once `stop` is set.

    To miss no signal, a thread takes next() before it looks for work, and waits for that event if it found none.
    """

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self._next = threading.Event()
        self._lock = threading.Lock()
        self._stopped, self._stop = socket.socketpair()  # interrupts readable() when `stop` is set

    def start(self) -> None:
        """Begin to watch `stop`, which is to be set at the end: a thread waits for it."""
        threading.Thread(target=self._wake_at_stop, name="chatmemory-wakeup", daemon=True).start()

    def _wake_at_stop(self) -> None:
        self.stop.wait()
        self.wake()
        with contextlib.suppress(OSError):  # it is closed
            self._stop.send(b".")

    def next(self) -> threading.Event:
        """Return the event that the next wake() sets."""
        return self._next

    def wake(self) -> None:
        """Wake all waiting threads; after `stop` is set, no thread waits any more."""
        with self._lock:
            current = self._next
            if not self.stop.is_set():
                self._next = threading.Event()
        current.set()

    def readable(self, descriptor: int, seconds: float) -> bool:
        """Wait until a socket is readable, `stop` is set, or the time is over; return whether it is readable."""
        with selectors.DefaultSelector() as selector:
            for each in (descriptor, self._stopped.fileno()):
                selector.register(each, selectors.EVENT_READ)
            return any(key.fd == descriptor for key, _ in selector.select(seconds))

    def close(self) -> None:
        """Close the sockets."""
        self._stopped.close()
        self._stop.close()
