"""Postgres: the pool, one tenant's transactions, and psycopg's errors in our words."""

import math
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, LiteralString
from weakref import WeakKeyDictionary

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool
from tenacity import AsyncRetrying, retry_if_exception, stop_after_delay, wait_random_exponential

from chatmemory import _forks
from chatmemory._async.storage.migrations import apply, ensure_schema
from chatmemory._async.storage.transaction import AsyncTransaction, Params, Row, Statement, is_reusable
from chatmemory._concurrency import AsyncLock, async_in_thread, async_undisturbed, has_news
from chatmemory.embedded.server import EmbeddedPostgres
from chatmemory.errors import ConfigurationError, StorageUnavailableError
from chatmemory.settings import Settings
from chatmemory.storage import queries
from chatmemory.storage.postgres_address import address_of, unreadable
from chatmemory.storage.postgres_errors import (
    DRIVER_ERRORS,
    cause_of,
    is_unpinned,
    met_migration,
    said_by,
    translated,
    went_away,
)

Pool = AsyncConnectionPool[AsyncConnection[Row]]
IDLE_SECONDS = 1.0  # after which a connection may have died without a word


class AsyncDatabase:
    """Connects at first use and heals by itself; every statement runs as one tenant, or as the worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = AsyncLock()
        self._pool: Pool | None = None
        self._embedded: EmbeddedPostgres | None = None
        self._closed = False
        self._pins = False  # whether even one statement has to begin its own transaction, as the defaults are odd here
        self._used: WeakKeyDictionary[AsyncConnection[Row], float] = WeakKeyDictionary()  # when each was given back
        self.healed = 0  # how often connections were replaced: another server may answer since
        _forks.watch(self)

    def forked(self) -> object:
        """In a forked child: leave the parent's connections and server alone, and connect anew at next use."""
        parents = (self._pool, self._embedded)
        self._pool = self._embedded = None
        self._lock = AsyncLock()
        return parents

    async def call(
        self, query: LiteralString, params: Params, *, subject: str = "", again: Callable[[], Statement] | None = None
    ) -> list[Row]:
        """Run one statement in a transaction of its own: one round trip, and more if Postgres goes away.

        Args:
            query: A function of the schema, which sets the tenant itself.
            params: Its arguments.
            subject: The session id that errors name.
            again: What to run instead when trying again, since Postgres may have committed before it went away.
                None: the same is safe to repeat.
        """
        try:
            return await self._call(query, params, subject)
        except StorageUnavailableError as error:
            if not went_away(error):
                raise
        query, params = again() if again else (query, params)
        async for attempt in self.retrying():
            with attempt:
                await self.heal()
                rows = await self._call(query, params, subject)
        return rows

    async def _call(self, query: LiteralString, params: Params, subject: str) -> list[Row]:
        if self._pins:
            [rows] = await self.run_once(None, (query, params), subject=subject)
            return rows
        pool = self._pool or await self.connect()
        try:
            connection = await pool.getconn()
            try:
                cursor = await connection.execute(query, params, prepare=self._prepare, binary=True)
                return await cursor.fetchall()
            finally:
                await async_undisturbed(pool.putconn, connection)
                self._used[connection] = time.monotonic()
        except DRIVER_ERRORS as error:
            if not is_unpinned(error):
                raise translated(error, subject) from cause_of(error)
        self._pins = True
        return await self._call(query, params, subject)

    async def call_once(self, query: LiteralString, params: Params, *, subject: str = "") -> list[Row]:
        """Run one statement that is not safe to repeat once it may have been committed, on a live connection."""
        try:
            return await self._on_live_connection(query, params, subject)
        except StorageUnavailableError as error:
            if not met_migration(error):
                raise
        return await self._on_live_connection(query, params, subject)

    async def _on_live_connection(self, query: LiteralString, params: Params, subject: str) -> list[Row]:
        if not self._pins:
            async with self._live_connection(subject) as connection:
                try:
                    return await (await connection.execute(query, params, binary=True)).fetchall()
                except DRIVER_ERRORS as error:
                    if not is_unpinned(error):
                        raise
        self._pins = True
        [rows] = await self.run_once(None, (query, params), subject=subject)
        return rows

    @property
    def _prepare(self) -> bool | None:
        return True if self._settings.prepared_statements else None

    def retrying(self) -> AsyncRetrying:
        """Attempts at what is safe to repeat, for as long as Postgres may still come back."""
        return AsyncRetrying(
            retry=retry_if_exception(went_away),
            stop=stop_after_delay(self._settings.postgres_timeout_seconds),
            wait=wait_random_exponential(multiplier=0.05, max=1),
            reraise=True,
        )

    @asynccontextmanager
    async def transaction(
        self, tenant_id: str | None, subject: str = "", *, snapshot: bool = False
    ) -> AsyncIterator[AsyncTransaction]:
        """A transaction that sees one tenant's rows, under the role that cannot bypass that.

        Args:
            tenant_id: The tenant; None: the transaction is the login's, and calls functions that set the tenant.
            subject: The session id that errors name.
            snapshot: Whether it only reads, and all its statements read what was there when it began.
        """
        async with self._live_connection(subject) as connection:
            transaction = AsyncTransaction(connection, tenant_id, prepare=self._prepare, snapshot=snapshot)
            try:
                yield transaction
            except BaseException:
                await transaction.leave(failed=True)
                raise
            await transaction.leave(failed=False)

    @asynccontextmanager
    async def _live_connection(self, subject: str) -> AsyncIterator[AsyncConnection[Row]]:
        """A connection that is not known to be dead, so that a restart of Postgres before this call is not felt."""
        pool = self._pool or await self.connect()
        try:
            connection = await self._live(pool)
            try:
                yield connection
            finally:
                await self._give_back(pool, connection)
        except DRIVER_ERRORS as error:
            raise translated(error, subject) from cause_of(error)

    async def _give_back(self, pool: Pool, connection: AsyncConnection[Row]) -> None:
        """Return a connection to the pool, whatever interrupts that: one that is not returned is lost for good."""
        try:
            if not is_reusable(connection):  # the pool looks at the transaction alone
                await async_undisturbed(connection.close)
        finally:
            await async_undisturbed(pool.putconn, connection)
        self._used[connection] = time.monotonic()

    async def _live(self, pool: Pool) -> AsyncConnection[Row]:
        connection = await pool.getconn()
        try:
            if self._may_be_dead(connection):
                await pool.check_connection(connection)
        except psycopg.OperationalError:
            await async_undisturbed(pool.putconn, connection)
            await self.heal()
            return await pool.getconn()
        except BaseException:  # cancelled, or interrupted
            await async_undisturbed(pool.putconn, connection)
            raise
        return connection

    def _may_be_dead(self, connection: AsyncConnection[Row]) -> bool:
        """Return whether a connection deserves a check: it has been idle, or the server has hung up."""
        idle = time.monotonic() - self._used.get(connection, -math.inf)
        return idle > IDLE_SECONDS or has_news(connection.fileno())

    async def run(
        self, tenant_id: str, *statements: Statement, subject: str = "", snapshot: bool = False
    ) -> list[list[Row]]:
        """Run statements as a tenant, in one transaction and one round trip; return the rows of each.

        They are repeated if Postgres goes away, so all of them must be safe to repeat.
        """
        try:
            return await self.run_once(tenant_id, *statements, subject=subject, snapshot=snapshot)
        except StorageUnavailableError as error:
            if not went_away(error):
                raise
        async for attempt in self.retrying():
            with attempt:
                await self.heal()
                rows = await self.run_once(tenant_id, *statements, subject=subject, snapshot=snapshot)
        return rows

    async def run_once(
        self, tenant_id: str | None, *statements: Statement, subject: str = "", snapshot: bool = False
    ) -> list[list[Row]]:
        """Run statements that are not safe to repeat as a tenant, in one transaction and one round trip."""
        async with self.transaction(tenant_id, subject, snapshot=snapshot) as transaction:
            return await transaction.finish(*statements)

    async def fetch(self, tenant_id: str, query: LiteralString, params: Params, *, subject: str = "") -> list[Row]:
        """Run one statement as a tenant; repeated if Postgres goes away, so it must be safe to repeat."""
        [rows] = await self.run(tenant_id, (query, params), subject=subject)
        return rows

    async def ping(self) -> None:
        """See whether Postgres answers."""
        async with self._live_connection("this call") as connection:
            await connection.execute(queries.admin.PING)

    async def heal(self) -> None:
        """Replace connections that a restarted Postgres has left behind."""
        self.healed += 1
        if self._pool is not None:
            await self._pool.check()

    async def connect(self) -> Pool:
        """Start the embedded server if there is no other, bring the schema up to date, open the pool."""
        async with self._lock:
            if self._closed:
                raise ConfigurationError("This ChatMemory is closed; open a new one.")
            if self._pool is None:
                url = await self._url()
                async with self._schema_connection(url) as connection:
                    await ensure_schema(connection, migrate=self._settings.auto_migrate)
                    self._pool = await self._open_pool(url)
            return self._pool

    async def migrate(self) -> list[str]:
        """Bring the schema up to date; return the names of the files that were applied."""
        async with self._schema_connection(await self._url()) as connection:
            return await apply(connection)

    @asynccontextmanager
    async def _schema_connection(self, url: str) -> AsyncIterator[AsyncConnection[Row]]:
        try:
            async with await self.connect_once(url) as connection:
                yield connection
        except DRIVER_ERRORS as error:
            raise translated(error, "the schema") from cause_of(error)

    async def _url(self) -> str:
        configured = self._settings.postgres_url
        if configured is not None:
            return configured.get_secret_value()
        self._embedded = self._embedded or EmbeddedPostgres(self._settings.data_dir)
        return await async_in_thread(self._embedded.start)

    async def connect_once(self, url: str | None = None) -> AsyncConnection[Row]:
        """One connection outside the pool."""
        url = url or await self._url()
        address = address_of(url)
        try:
            return await AsyncConnection.connect(url, **self._connect_args())
        except psycopg.OperationalError as error:
            raise StorageUnavailableError(
                f"Postgres at {address} cannot be reached: {said_by(error)}. "
                "Check that it runs and that the address, user and password are right."
            ) from None
        except psycopg.ProgrammingError:
            raise unreadable() from None

    @asynccontextmanager
    async def own_connection(self, subject: str) -> AsyncIterator[AsyncConnection[Row]]:
        """A connection outside the pool, for as long as its caller needs it."""
        try:
            async with await self.connect_once() as connection:
                yield connection
        except DRIVER_ERRORS as error:
            raise translated(error, subject) from cause_of(error)

    def _connect_args(self) -> dict[str, Any]:
        return {
            "autocommit": True,
            "client_encoding": "utf8",
            "prepare_threshold": 5 if self._settings.prepared_statements else None,
            "connect_timeout": max(2, round(self._settings.postgres_timeout_seconds)),
        }

    async def _open_pool(self, url: str) -> Pool:
        pool: Pool = AsyncConnectionPool(
            url,
            kwargs=self._connect_args(),
            min_size=min(self._settings.postgres_pool_min_size, self._settings.postgres_pool_max_size),
            max_size=self._settings.postgres_pool_max_size,
            timeout=self._settings.postgres_timeout_seconds,
            reconnect_timeout=min(self._settings.postgres_timeout_seconds, 5),  # its back-off doubles without end
            name="chatmemory",
            open=False,
        )
        # Waiting keeps the first call from growing the pool: it hands out its connections in turn, and a server
        # process that was just at work answers sooner.
        await pool.open(wait=True, timeout=self._settings.postgres_timeout_seconds)
        return pool

    @property
    def data_dir(self) -> Path | None:
        """Where the embedded server lives, once it runs."""
        return self._embedded.data_dir if self._embedded else None

    async def close(self) -> None:
        """Give back all connections, and the embedded server."""
        async with self._lock:
            self._closed = True
            if self._pool is not None:
                await self._pool.close()
            self._pool = None
            if self._embedded is not None:
                await async_in_thread(self._embedded.stop)
            self._embedded = None
