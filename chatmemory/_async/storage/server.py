"""The Postgres server: its URL, connections to it, and the pool of them."""

from pathlib import Path
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout

from chatmemory._async.storage.connection import RECONNECT_SECONDS, AsyncTimedConnection, AsyncTimedPool
from chatmemory._concurrency import async_in_thread
from chatmemory.embedded.server import EmbeddedPostgres
from chatmemory.errors import StorageError, StorageUnavailableError
from chatmemory.settings import Settings
from chatmemory.storage import queries
from chatmemory.storage.deadlines import PROBE_SECONDS, Deadline
from chatmemory.storage.postgres_address import Address, address_of, hosts_in, unreadable
from chatmemory.storage.postgres_errors import said_by, translated


class AsyncServer:
    """The configured server, or the embedded one, which runs from the first connection until stop()."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._embedded: EmbeddedPostgres | None = None
        self._started: str | None = None  # the URL of the embedded server, once it has been started

    @property
    def data_dir(self) -> Path | None:
        """The directory of the embedded server, once it runs."""
        return self._embedded.data_dir if self._embedded else None

    async def _url(self) -> str:
        """Return the server's URL; the embedded one is started unless it runs."""
        configured = self._settings.postgres_url
        if configured is not None:
            return configured.get_secret_value()
        self._embedded = self._embedded or EmbeddedPostgres(self._settings.data_dir)
        self._started = await async_in_thread(self._embedded.start)
        return self._started

    async def connect_once(self, deadline: Deadline) -> AsyncTimedConnection:
        """One connection outside the pool.

        Raises:
            EmbeddedServerError: The embedded server cannot be started.
            StorageUnavailableError: The server cannot be reached, or does not answer in time.
        """
        if self._started is not None:
            try:
                return await self._connect(self._started, deadline)
            except psycopg.errors.ConnectionTimeout as error:  # it is there; starting it would wait for it, too
                raise _unreachable(address_of(self._started), said_by(error)) from None
            except psycopg.OperationalError:
                pass  # it has ended
        url = await self._url()
        address = address_of(url)  # before an error that would show what is wrong with it
        if self._started is not None:
            deadline.renew()
        try:
            return await self._connect(url, deadline)
        except psycopg.OperationalError as error:
            raise _unreachable(address, said_by(error)) from None

    async def _connect(self, url: str, deadline: Deadline) -> AsyncTimedConnection:
        try:
            return await AsyncTimedConnection.connect(url, **self._connect_args(url, deadline.left))
        except psycopg.ProgrammingError:
            raise unreadable() from None

    async def lives(self) -> bool:
        """See whether the server answers on a new connection."""
        deadline = Deadline(PROBE_SECONDS)
        try:
            async with await self.connect_once(deadline) as connection:
                connection.begin(deadline.at)
                await connection.execute(queries.admin.PING)
        except (psycopg.Error, StorageError):
            return False
        return True

    def _connect_args(self, url: str, connect_seconds: float) -> dict[str, Any]:
        each = connect_seconds / hosts_in(url)  # a host that does not answer must leave time for the next
        return {
            "autocommit": True,
            "client_encoding": "utf8",
            "prepare_threshold": 5 if self._settings.prepared_statements else None,
            "connect_timeout": max(2, round(each)),
            "seconds": self._settings.postgres_timeout_seconds,
            "connect_seconds": connect_seconds,
        }

    async def open_pool(self, deadline: Deadline) -> AsyncTimedPool:
        """Open a pool with its first connections.

        Raises:
            StorageUnavailableError: They were not there in time.
        """
        url = self._started or await self._url()
        pool = AsyncTimedPool(
            url,
            connection_class=AsyncTimedConnection,
            kwargs=self._connect_args(url, self._settings.postgres_timeout_seconds),
            min_size=min(self._settings.postgres_pool_min_size, self._settings.postgres_pool_max_size),
            max_size=self._settings.postgres_pool_max_size,
            timeout=self._settings.postgres_timeout_seconds,
            reconnect_timeout=RECONNECT_SECONDS,
            name="chatmemory",
            open=False,
        )
        # Waiting keeps the first call from growing the pool: it hands out its connections in turn, and a server
        # process that was just at work answers sooner.
        try:
            await pool.open(wait=True, timeout=deadline.left)
        except PoolTimeout as error:
            raise translated(error, "") from None
        return pool

    async def stop(self) -> None:
        """Give back the embedded server."""
        if self._embedded is not None:
            await async_in_thread(self._embedded.stop)
        self._embedded = self._started = None


def _unreachable(address: Address, reason: str) -> StorageUnavailableError:
    return StorageUnavailableError(
        f"Postgres at {address} cannot be reached: {reason}. "
        "Check that it runs and that the address, user and password are right."
    )
