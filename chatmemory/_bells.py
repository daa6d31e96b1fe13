"""Bells, a hand-written pair: what wakes tasks, or threads, that wait for work."""

import asyncio
import contextlib
import selectors
import socket
import threading


class AsyncBell:
    """Wakes all who wait for it, each time it is rung and once `stop` is set.

    Whoever takes next() before looking for work, and waits for it after finding none, misses no ring in between.
    """

    def __init__(self, stop: asyncio.Event) -> None:
        self.stop = stop
        self._next = asyncio.Event()
        self._watcher = asyncio.ensure_future(self._ring_at_stop())

    async def _ring_at_stop(self) -> None:
        await self.stop.wait()
        self.ring()

    def next(self) -> asyncio.Event:
        """The event that the next ring sets."""
        return self._next

    def ring(self) -> None:
        """Wake all who wait; after `stop`, nobody waits any more."""
        rung = self._next
        if not self.stop.is_set():
            self._next = asyncio.Event()
        rung.set()

    async def readable(self, descriptor: int, seconds: float) -> bool:
        """Wait until a socket has something to read, or `stop` is set, at most this long; return whether it has."""
        loop, news = asyncio.get_running_loop(), asyncio.Event()
        waits = [asyncio.ensure_future(event.wait()) for event in (news, self.stop)]
        loop.add_reader(descriptor, news.set)
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loop.remove_reader(descriptor)
            for each in waits:
                each.cancel()
        return news.is_set()

    async def close(self) -> None:
        """Wake nobody any more."""
        self._watcher.cancel()


class Bell:
    """Wakes all threads that wait for it, each time it is rung and once `stop` is set."""

    def __init__(self, stop: threading.Event) -> None:
        self.stop = stop
        self._next = threading.Event()
        self._lock = threading.Lock()
        self._stopped, self._stop = socket.socketpair()  # what ends a wait for another socket
        threading.Thread(target=self._ring_at_stop, name="chatmemory-bell", daemon=True).start()

    def _ring_at_stop(self) -> None:
        self.stop.wait()
        self.ring()
        with contextlib.suppress(OSError):  # it is closed
            self._stop.send(b".")

    def next(self) -> threading.Event:
        """The event that the next ring sets."""
        return self._next

    def ring(self) -> None:
        """Wake all who wait; after `stop`, nobody waits any more."""
        with self._lock:
            rung = self._next
            if not self.stop.is_set():
                self._next = threading.Event()
        rung.set()

    def readable(self, descriptor: int, seconds: float) -> bool:
        """Wait until a socket has something to read, or `stop` is set, at most this long; return whether it has."""
        with selectors.DefaultSelector() as selector:
            for each in (descriptor, self._stopped.fileno()):
                selector.register(each, selectors.EVENT_READ)
            return any(key.fd == descriptor for key, _ in selector.select(seconds))

    def close(self) -> None:
        """Wake nobody any more."""
        self._stopped.close()
        self._stop.close()
