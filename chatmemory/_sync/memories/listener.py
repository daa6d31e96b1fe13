# Generated from chatmemory/_async/memories/listener.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Listening to Postgres for sessions that become due, so that workers need not poll often."""

from contextlib import suppress
from uuid import uuid4

from psycopg import Connection, Notify

from chatmemory import _forks
from chatmemory._concurrency import Background, wait_for
from chatmemory._sync.storage.database import Database
from chatmemory._sync.storage.transaction import Row
from chatmemory._wakeups import Wakeup
from chatmemory.errors import ChatMemoryError
from chatmemory.storage import queries

PROOF_SECONDS = 2.0  # in which the listener's own notification must arrive
CHECK_SECONDS = 30.0  # between checks of a silent connection
LOST_SECONDS = 1.0  # between a lost connection and the next one
DEAF_SECONDS = 60.0  # between a failed proof and the next one
DEAF_POLL_SECONDS = 5.0  # between polls of a worker while no notifications arrive


class Listener:
    """Wakes the workers at each notification, on a connection of its own.

    Behind a transaction pooler no notification arrives. So the listener first sends one itself; until that arrives,
    workers poll.
    """

    def __init__(self, database: Database, wakeup: Wakeup) -> None:
        self._database, self._wakeup = database, wakeup
        self._background = Background()
        self._connection: Connection[Row] | None = None
        self._proof = uuid4().hex
        self._hears = False
        _forks.watch(self)

    def forked(self) -> object:
        """Leave the connection to the parent in a forked child."""
        parents, self._connection = self._connection, None
        return parents

    def poll_seconds(self, seconds: float) -> float:
        """Return how long a worker may wait for a wake-up: `seconds` if notifications arrive, else at most 5 s."""
        return seconds if self._hears else min(seconds, DEAF_POLL_SECONDS)

    def start(self) -> None:
        """Listen in the background."""
        self._background.start(self._listen)

    def close(self) -> None:
        """Stop listening."""
        self._background.close()

    def _listen(self) -> None:
        while not self._wakeup.stop.is_set():
            seconds = LOST_SECONDS  # meanwhile the workers poll more often
            with suppress(ChatMemoryError):
                with self._database.own_connection("the worker") as self._connection:
                    self._hear(self._connection)
                    seconds = DEAF_SECONDS
            self._hears, self._connection = False, None
            wait_for(self._wakeup.stop, seconds)

    def _hear(self, connection: Connection[Row]) -> None:
        """Receive notifications until `stop` is set; return early if the listener's own one does not arrive."""
        connection.add_notify_handler(self._heard)
        connection.execute(queries.learning.LISTEN)
        self._database.call(queries.learning.PROVE, (self._proof,))
        while self._wakeup.readable(connection.fileno(), CHECK_SECONDS if self._hears else PROOF_SECONDS) or (
            self._hears and not self._wakeup.stop.is_set()
        ):
            connection.execute(queries.admin.PING)  # delivers notifications; fails on a dead connection

    def _heard(self, notify: Notify) -> None:
        if notify.channel.endswith("proof"):
            if notify.payload != self._proof:
                return  # another worker's
            self._hears = True  # wake the workers too: earlier notifications were missed
        self._wakeup.wake()
