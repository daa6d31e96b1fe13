# Generated from chatmemory/_async/storage/connection.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Connections to Postgres on which every wait ends."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, ClassVar, Self

import psycopg
from psycopg import Connection, capabilities
from psycopg_pool import ConnectionPool

from chatmemory._concurrency import has_news
from chatmemory._interrupts import waiting
from chatmemory.storage.deadlines import GRACE_SECONDS, LateError, NoAnswerError, bounded

Row = tuple[Any, ...]
NEW_SECONDS = 1.0
IDLE_SECONDS = 1.0  # after which a connection may have died without a word
RECONNECT_SECONDS = 0.2  # the pause after a failed attempt to connect; the pool's own is a second, and doubles
CLOSING_SECONDS = 0.2  # for the pool's own work, which a server that does not answer would hold up


class TimedConnection(Connection[Row]):
    """A connection that is given up when Postgres does not answer in time.

    Attributes:
        opened: When it was opened, on the monotonic clock.
        used: When it was last given back to the pool, or opened.
        seconds: The longest wait for one answer.
        until: The moment at which every wait of the call in progress ends; None: each has `seconds` of its own.
        may_be_stored: Whether a statement was sent that may have committed.
    """

    _connected_by: ClassVar[float] = math.inf  # the moment when it must be open

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.opened = self.used = time.monotonic()
        self.seconds = math.inf
        self.until: float | None = None
        self.may_be_stored = False
        self._lives: Callable[[], Any] | None = None

    @property
    def is_new(self) -> bool:
        """True if it was opened so recently that another one would lead to the same server."""
        return time.monotonic() - self.opened < NEW_SECONDS

    @property
    def may_be_dead(self) -> bool:
        """True if it deserves a check: it has been idle, or the server has hung up."""
        return time.monotonic() - self.used > IDLE_SECONDS or has_news(self.fileno())

    @property
    def is_read_only(self) -> bool:
        """True if the server has said that it takes no writes on this connection: asks nothing."""
        status = self.pgconn.parameter_status
        return b"on" in (status(b"in_hot_standby"), status(b"default_transaction_read_only"))

    def renew(self) -> None:
        """Give each further wait `seconds` of its own: Postgres has just answered."""
        self.until = None

    def begin(self, until: float | None = None, lives: Callable[[], Any] | None = None) -> None:
        """Begin a call.

        Args:
            until: The moment at which every wait ends; None: each has `seconds` of its own.
            lives: Finds out whether the server still answers others. While it does, a wait goes on: the statement may
                have much to do. None: a wait always ends.
        """
        self.until, self._lives, self.may_be_stored = until, lives, False

    @classmethod
    def connect(  # type: ignore[override]
        cls, conninfo: str = "", *, seconds: float = math.inf, connect_seconds: float = math.inf, **more: Any
    ) -> Self:
        """Connect.

        Args:
            conninfo: The URL.
            seconds: The longest wait for one answer.
            connect_seconds: The time for connecting, to all hosts of the URL together.
            more: As psycopg's connect().
        """
        # psycopg hands nothing on to _connect_gen; a context variable would be lost where a task goes on in another.
        timed: Any = type(cls.__name__, (cls,), {"_connected_by": time.monotonic() + connect_seconds})
        above: Any = super(TimedConnection, timed)
        connection: Self = above.connect(conninfo, **more)
        connection.__class__ = cls
        connection.seconds = seconds
        return connection

    @classmethod
    def _connect_gen(cls, *arguments: Any, **more: Any) -> Any:
        return _connecting(super()._connect_gen(*arguments, **more), cls._connected_by)

    def wait(self, gen: Any, *arguments: Any, **more: Any) -> Any:
        """Wait for an answer.

        Raises:
            NoAnswerError: It did not come in time; the connection is closed.
        """
        until = self.until if self.until is not None else time.monotonic() + self.seconds
        work = bounded(gen, until)
        while True:
            try:
                with waiting():
                    return super().wait(work, *arguments, **more)
            except LateError as late:
                if self._lives is not None and self._lives():
                    self.until = None
                    work = bounded(gen, time.monotonic() + self.seconds, late.state)
                    continue
            except BaseException:  # where it was interrupted, the end of a pipeline is not left to the collector
                with suppress(psycopg.Error, RuntimeError):
                    gen.close()
                raise
            self._give_up()
            raise NoAnswerError("Postgres did not answer in time")

    def _give_up(self) -> None:
        """Close the connection; have the server stop as well, if it takes the request at once."""
        try:
            if capabilities.has_cancel_safe():  # otherwise cancelling may block
                with suppress(psycopg.Error):
                    self.cancel_safe(timeout=GRACE_SECONDS)
        finally:
            self.pgconn.finish()


def _connecting(work: Any, until: float) -> Any:
    """Connect until that moment."""
    try:
        return (yield from bounded(work, until))
    except LateError:
        raise psycopg.errors.ConnectionTimeout("no answer in time") from None


class TimedPool(ConnectionPool[TimedConnection]):
    """A pool that is closed in bounded time, and that connects for as long as somebody waits."""

    def reconnect_failed(self) -> None:
        """Begin a new attempt to connect after one was given up: otherwise only a further request would begin one."""
        super().reconnect_failed()
        with self._lock:
            if self._waiting and not self._closed:
                self._maybe_grow_pool()

    def close(self, timeout: float = CLOSING_SECONDS) -> None:
        """Close all connections that are not in use.

        Args:
            timeout: The longest wait for connections that are being opened, in seconds.
        """
        super().close(timeout)
