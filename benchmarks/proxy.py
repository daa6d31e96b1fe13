"""A proxy in front of Postgres that counts round trips, and that can add a delay.

A round trip begins when the client sends something after the answers to everything it sent before have reached it.
Several statements sent together are one round trip. The proxy runs in a process of its own, so that it takes no time
from the client's interpreter; `Proxy` starts and controls it.

    python -m benchmarks.proxy HOST PORT   # HOST may be the directory of a Unix socket
"""

import select
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Self, cast

from psycopg.conninfo import conninfo_to_dict, make_conninfo

CHUNK = 1 << 18
# The client's messages that the server answers, with the types of the answers.
ANSWERS = {b"P": b"1", b"B": b"2", b"C": b"3", b"D": b"Tn", b"E": b"CIs", b"F": b"", b"Q": b"", b"S": b"", b"p": b"R"}
STARTUP = b""
ENDS_A_SERIES = (b"Q", b"S", b"F")  # answered by ReadyForQuery


class Frames:
    """A stream of bytes, cut into the protocol's messages."""

    def __init__(self, *, starts_untyped: bool) -> None:
        self._untyped = starts_untyped
        self._buffer = bytearray()

    @property
    def is_inside(self) -> bool:
        """True if the last message has not fully arrived."""
        return bool(self._buffer)

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Return the types of the messages that these bytes complete; a startup message has none."""
        self._buffer += data
        while True:
            head = 0 if self._untyped else 1
            size = head + int.from_bytes(self._buffer[head : head + 4], "big")
            if len(self._buffer) < head + 4 or len(self._buffer) < size:
                return
            type = bytes(self._buffer[:head])
            del self._buffer[:size]
            self._untyped = False
            yield type


class Conversation:
    """One connection, and the client's messages that wait for their answer."""

    def __init__(self) -> None:
        self._from_client = Frames(starts_untyped=True)
        self._from_server = Frames(starts_untyped=False)
        self._waiting: deque[bytes] = deque()
        self._invited = False  # the server waits for COPY data

    def sent(self, data: bytes) -> bool:
        """Note a message from the client; return whether it begins a round trip."""
        begins = (self._invited or not self._waiting) and not self._from_client.is_inside and data[:1] != b"X"
        self._invited = False
        self._waiting.extend(type for type in self._from_client.feed(data) if type in ANSWERS or type == STARTUP)
        return begins

    def answered(self, data: bytes) -> None:
        """Note that a message has reached the client."""
        for type in self._from_server.feed(data):
            self._answer(type)

    def _answer(self, type: bytes) -> None:
        waiting = self._waiting
        if type == b"Z":
            while waiting and waiting.popleft() not in ENDS_A_SERIES:
                pass
        elif type == b"E":  # what follows is skipped up to the end of the series
            while waiting and waiting[0] not in ENDS_A_SERIES:
                waiting.popleft()
        elif type == b"G":
            self._invited = True
        elif waiting and type in (b"R" if waiting[0] == STARTUP else ANSWERS[waiting[0]]):
            waiting.popleft()

    def __len__(self) -> int:
        return len(self._waiting)


class Totals:
    """The counts over all connections."""

    def __init__(self) -> None:
        self.delay = 0.0  # seconds, in each direction
        self._lock = threading.Lock()
        self._round_trips = 0

    def count(self) -> None:
        """Count a round trip."""
        with self._lock:
            self._round_trips += 1

    def take(self) -> int:
        """Return the round trips since the last call."""
        with self._lock:
            count, self._round_trips = self._round_trips, 0
        return count


class Link:
    """A client's connection, and the proxy's own to the server."""

    def __init__(self, client: socket.socket, server: socket.socket, totals: Totals) -> None:
        self._other = {client: server, server: client}
        self._client, self._totals = client, totals
        self._conversation = Conversation()
        self._under_way: deque[tuple[float, socket.socket, bytes]] = deque()

    def run(self) -> None:
        """Forward messages, after the delay, until one side closes."""
        try:
            while self._receive():
                self._deliver()
        except OSError:
            pass
        finally:
            for side in self._other:
                side.close()

    def _receive(self) -> bool:
        wait = max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else None
        for source in select.select(list(self._other), [], [], wait)[0]:
            data = source.recv(CHUNK)
            if not data:
                return False
            if source is self._client and self._conversation.sent(data):
                self._totals.count()
            self._under_way.append((time.monotonic() + self._totals.delay, self._other[source], data))
        return True

    def _deliver(self) -> None:
        while self._under_way and self._under_way[0][0] <= time.monotonic():
            _, target, data = self._under_way.popleft()
            if target is self._client:
                self._conversation.answered(data)
            target.sendall(data)


def serve(host: str, port: str) -> None:
    """Listen on a port and print it; read commands from stdin: a delay in seconds, or "count"."""
    totals = Totals()
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=_accept, args=(listener, host, port, totals), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    for line in sys.stdin:
        if line.strip() == "count":
            print(totals.take(), flush=True)
        else:
            totals.delay = float(line)
            print("done", flush=True)


def _accept(listener: socket.socket, host: str, port: str, totals: Totals) -> None:
    while True:
        client, _ = listener.accept()
        server = _connect(host, port)
        for side in (client, server):
            if side.family != socket.AF_UNIX:
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=Link(client, server, totals).run, daemon=True).start()


def _connect(host: str, port: str) -> socket.socket:
    if not host.startswith("/"):
        return socket.create_connection((host, int(port)))
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"{host}/.s.PGSQL.{port}")
    return server


class Proxy:
    """The proxy's process, seen from the client.

    Args:
        url: The Postgres behind it, reached without TLS.

    Attributes:
        url: The same database, by way of the proxy.
    """

    def __init__(self, url: str) -> None:
        known = conninfo_to_dict(url)
        where = [str(known.get("host") or "127.0.0.1"), str(known.get("port") or 5432)]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.proxy", *where], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.url = make_conninfo(
            url, host="127.0.0.1", port=self._answer().strip(), sslmode="disable", gssencmode="disable"
        )

    def _answer(self) -> str:
        return cast(IO[str], self._process.stdout).readline()

    def _ask(self, line: str) -> str:
        stdin = cast(IO[str], self._process.stdin)
        stdin.write(f"{line}\n")
        stdin.flush()
        return self._answer()

    def take_count(self) -> int:
        """Return the round trips since the last call."""
        return int(self._ask("count"))

    @contextmanager
    def delayed(self, seconds: float) -> Iterator[None]:
        """Set the delay in each direction."""
        self._ask(str(seconds))
        try:
            yield
        finally:
            self._ask("0")

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2])
