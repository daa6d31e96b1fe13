# Generated from chatmemory/_async/memories/listener.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Hearing from Postgres that a session has become due, so that workers need not ask it all the time."""

from contextlib import suppress
from uuid import uuid4

from psycopg import Connection, Notify

from chatmemory import _forks
from chatmemory._bells import Bell
from chatmemory._concurrency import Background, wait_for
from chatmemory._sync.storage.database import Database
from chatmemory._sync.storage.transaction import Row
from chatmemory.errors import ChatMemoryError
from chatmemory.storage import queries

PROOF_SECONDS = 2.0  # how long a notification of our own may take
CHECK_SECONDS = 30.0  # how often a silent connection is checked
LOST_SECONDS = 1.0  # from one connection that was lost to the next
DEAF_SECONDS = 60.0  # from one proof that failed to the next
DEAF_POLL_SECONDS = 5.0  # how often workers ask while nothing is heard


class Listener:
    """Rings a bell at each notification, on a connection of its own.

    Behind a transaction pooler a notification reaches nobody: it is believed only after one of our own was heard.
    """

    def __init__(self, database: Database, bell: Bell) -> None:
        self._database, self._bell = database, bell
        self._background = Background()
        self._connection: Connection[Row] | None = None
        self._proof = uuid4().hex
        self._hears = False
        _forks.watch(self)

    def forked(self) -> object:
        """In a forked child: the connection is the parent's."""
        parents, self._connection = self._connection, None
        return parents

    def poll_seconds(self, seconds: float) -> float:
        """How long a worker may wait for the bell, where it may wait so long if notifications are heard."""
        return seconds if self._hears else min(seconds, DEAF_POLL_SECONDS)

    def start(self) -> None:
        """Listen beside the caller's work."""
        self._background.start(self._listen)

    def close(self) -> None:
        """Stop listening."""
        self._background.close()

    def _listen(self) -> None:
        while not self._bell.stop.is_set():
            seconds = LOST_SECONDS  # meanwhile the workers ask more often
            with suppress(ChatMemoryError):
                with self._database.own_connection("the worker") as self._connection:
                    self._hear(self._connection)
                    seconds = DEAF_SECONDS
            self._hears, self._connection = False, None
            wait_for(self._bell.stop, seconds)

    def _hear(self, connection: Connection[Row]) -> None:
        """Hear until `stop`, or until nothing was heard of a notification of our own."""
        connection.add_notify_handler(self._heard)
        connection.execute(queries.learning.LISTEN)
        self._database.call(queries.learning.PROVE, (self._proof,))
        while self._bell.readable(connection.fileno(), CHECK_SECONDS if self._hears else PROOF_SECONDS) or (
            self._hears and not self._bell.stop.is_set()
        ):
            connection.execute(queries.admin.PING)  # hands over what has come, and fails where nothing can come

    def _heard(self, notify: Notify) -> None:
        if notify.channel.endswith("proof"):
            if notify.payload != self._proof:
                return  # another worker's
            self._hears = True  # what became due before it was not heard, so it rings, too
        self._bell.ring()
