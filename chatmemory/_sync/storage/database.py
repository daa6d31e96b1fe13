# Generated from chatmemory/_async/storage/database.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Postgres: the pool, one tenant's transactions, and psycopg's errors in our words."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg.errors import ReadOnlySqlTransaction
from psycopg_pool import PoolTimeout
from tenacity import Retrying, retry_if_exception, stop_before_delay, wait_random_exponential

from chatmemory import _forks
from chatmemory._concurrency import Lock, hold
from chatmemory._interrupts import postponed, postponing, undisturbed
from chatmemory._sync.storage.connection import TimedConnection, TimedPool
from chatmemory._sync.storage.migrations import apply, ensure_schema
from chatmemory._sync.storage.server import Server
from chatmemory._sync.storage.transaction import Params, Row, Statement, Transaction, is_reusable
from chatmemory.errors import ChatMemoryError, ConfigurationError, StorageUnavailableError
from chatmemory.settings import Settings
from chatmemory.storage import queries
from chatmemory.storage.deadlines import Deadline
from chatmemory.storage.postgres_errors import (
    DRIVER_ERRORS,
    cause_of,
    is_lost,
    is_read_only,
    is_unpinned,
    may_pass,
    translated,
    uncertain,
    was_refused,
    went_away,
)

CHECK_SHARE = 0.5  # of a call's time, for finding out whether a connection is dead


class Database:
    """Connects at first use and heals by itself; every statement runs as one tenant, or as the worker."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._server = Server(settings)
        self._lock = Lock()
        self._pool: TimedPool | None = None
        self._closed = False
        self._closing = False
        self._answered_at = -math.inf  # when a call last succeeded
        self._pins = False  # whether even one statement has to begin its own transaction, as the defaults are odd here
        self.healed = 0  # how often connections were replaced: another server may answer since
        self._healed_at = -math.inf
        _forks.watch(self)

    def forked(self) -> object:
        """In a forked child: leave the parent's connections and server alone, and connect anew at next use."""
        parents = (self._pool, self._server)
        self._pool, self._server = None, Server(self._settings)
        self._lock = Lock()
        return parents

    def call(
        self,
        query: LiteralString,
        params: Params,
        *,
        subject: str = "",
        again: Callable[[], Statement] | None = None,
        patient: bool = False,
    ) -> list[Row]:
        """Run one statement in a transaction of its own: one round trip, and more if Postgres goes away.

        Args:
            query: A function of the schema, which sets the tenant itself.
            params: Its arguments.
            subject: The session id that errors name.
            again: What to run instead when trying again, since Postgres may have committed before it went away.
                None: the same is safe to repeat.
            patient: Whether it may take longer than postgres_timeout_seconds while Postgres answers others.
        """
        deadline = self.deadline()
        try:
            return self._call(query, params, subject, deadline, patient=patient)
        except StorageUnavailableError as error:
            if not went_away(error):
                raise
            first = error
        query, params = again() if again else (query, params)
        try:
            for attempt in self.retrying(deadline):
                with attempt:
                    rows = self._call(query, params, subject, deadline, patient=patient)
        except StorageUnavailableError as error:
            raise uncertain(error, first) from error.__cause__
        return rows

    @postponing
    def _call(
        self, query: LiteralString, params: Params, subject: str, deadline: Deadline, *, patient: bool = False
    ) -> list[Row]:
        if self._pins:
            with self.transaction(None, subject, patient=patient, deadline=deadline) as transaction:
                [rows] = transaction.finish((query, params))
            return rows
        pool = self._pool or self.connect(deadline)
        connection: TimedConnection | None = None
        try:
            connection = pool.getconn(deadline.left)
            try:
                connection.begin(deadline.at, self._server.lives if patient else None)
                connection.may_be_stored = queries.effects.may_store(query)
                cursor = connection.execute(query, params, prepare=self._prepare, binary=True)
                rows = cursor.fetchall()
            finally:
                undisturbed(pool.putconn, connection)
                connection.used = time.monotonic()
        except DRIVER_ERRORS as error:
            if not is_unpinned(error):
                self._heal_after(error, connection)
                raise self._translated(error, subject, connection) from cause_of(error)
        else:
            self._answered_at = time.monotonic()
            return rows
        self._pins = True
        return self._call(query, params, subject, deadline, patient=patient)

    def _translated(self, error: Exception, subject: str, connection: TimedConnection | None) -> ChatMemoryError:
        return translated(error, subject, may_be_stored=connection is not None and connection.may_be_stored)

    def call_once(self, query: LiteralString, params: Params, *, subject: str = "") -> list[Row]:
        """Run one statement that is not safe to repeat once it may have been committed, on a live connection."""
        deadline = self.deadline()
        try:
            return self._on_live_connection(query, params, subject, deadline)
        except StorageUnavailableError as error:
            if not was_refused(error):
                raise
        return self._on_live_connection(query, params, subject, deadline)

    def _on_live_connection(self, query: LiteralString, params: Params, subject: str, deadline: Deadline) -> list[Row]:
        if not self._pins:
            with self._live_connection(subject, deadline) as connection:
                connection.may_be_stored = queries.effects.may_store(query)
                try:
                    return connection.execute(query, params, binary=True).fetchall()
                except DRIVER_ERRORS as error:
                    if not is_unpinned(error):
                        raise
        self._pins = True
        [rows] = self._run(None, ((query, params),), subject, deadline, snapshot=False)
        return rows

    @property
    def _prepare(self) -> bool | None:
        return True if self._settings.prepared_statements else None

    def deadline(self) -> Deadline:
        """Return the moment when a call that begins now must have ended."""
        seconds = self._settings.postgres_timeout_seconds
        return Deadline(seconds, self._answered_at + seconds if self._closing else math.inf)

    def retrying(self, deadline: Deadline) -> Retrying:
        """Attempts at what is safe to repeat, for as long as Postgres may still come back."""
        return Retrying(
            retry=retry_if_exception(may_pass),
            stop=stop_before_delay(deadline.left),
            wait=wait_random_exponential(multiplier=0.05, max=1),
            reraise=True,
        )

    @contextmanager
    def transaction(
        self,
        tenant_id: str | None,
        subject: str = "",
        *,
        snapshot: bool = False,
        patient: bool = False,
        deadline: Deadline | None = None,
    ) -> Iterator[Transaction]:
        """A transaction that sees one tenant's rows, under the role that cannot bypass that.

        Args:
            tenant_id: The tenant; None: the transaction is the login's, and calls functions that set the tenant.
            subject: The session id that errors name.
            snapshot: Whether it only reads, and all its statements read what was there when it began.
            patient: Whether a statement may take longer than postgres_timeout_seconds while Postgres answers others.
            deadline: The moment at which all of it must have ended; None: each wait after the first answer has the
                whole time.
        """
        at = deadline or self.deadline()
        with self._live_connection(subject, at) as connection:
            connection.begin(at.at, self._server.lives if patient else None)
            transaction = Transaction(
                connection, tenant_id, prepare=self._prepare, snapshot=snapshot, renew=deadline is None
            )
            try:
                yield transaction
            except BaseException:
                transaction.leave(failed=True)
                raise
            transaction.leave(failed=False)

    @contextmanager
    def _live_connection(self, subject: str, deadline: Deadline) -> Iterator[TimedConnection]:
        """A connection that is not known to be dead, so that a restart of Postgres before this call is not felt."""
        with postponed():
            pool = self._pool or self.connect(deadline)
            connection: TimedConnection | None = None
            try:
                connection = self._live(pool, deadline)
                try:
                    yield connection
                finally:
                    self._give_back(pool, connection)
                self._answered_at = time.monotonic()
            except DRIVER_ERRORS as error:
                self._heal_after(error, connection)
                raise self._translated(error, subject, connection) from cause_of(error)

    def _give_back(self, pool: TimedPool, connection: TimedConnection) -> None:
        """Return a connection to the pool, whatever interrupts that: one that is not returned is lost for good."""
        try:
            if not is_reusable(connection):  # the pool looks at the transaction alone
                undisturbed(connection.close)
        finally:
            undisturbed(pool.putconn, connection)
        connection.used = time.monotonic()

    def _live(self, pool: TimedPool, deadline: Deadline) -> TimedConnection:
        for _ in range(pool.max_size):  # connections that were being opened when all were replaced may be old, too
            connection = pool.getconn(deadline.left)
            connection.begin(deadline.sooner(CHECK_SHARE))
            try:
                if connection.may_be_dead:
                    pool.check_connection(connection)
                if not connection.is_read_only or connection.is_new:
                    connection.begin(deadline.at)
                    return connection
                raise ReadOnlySqlTransaction("the server has said so")
            except (psycopg.OperationalError, ReadOnlySqlTransaction) as error:
                connection.pgconn.finish()
                undisturbed(pool.putconn, connection)
                self._heal_after(error, connection)
            except BaseException:  # cancelled, or interrupted
                undisturbed(pool.putconn, connection)
                raise
        connection = pool.getconn(deadline.left)
        connection.begin(deadline.at)
        return connection

    def run(self, tenant_id: str, *statements: Statement, subject: str = "", snapshot: bool = False) -> list[list[Row]]:
        """Run statements as a tenant, in one transaction and one round trip; return the rows of each.

        They are repeated if Postgres goes away, so all of them must be safe to repeat.
        """
        deadline = self.deadline()
        try:
            return self._run(tenant_id, statements, subject, deadline, snapshot=snapshot)
        except StorageUnavailableError as error:
            if not went_away(error):
                raise
            first = error
        try:
            for attempt in self.retrying(deadline):
                with attempt:
                    rows = self._run(tenant_id, statements, subject, deadline, snapshot=snapshot)
        except StorageUnavailableError as error:
            raise uncertain(error, first) from error.__cause__
        return rows

    def run_once(
        self, tenant_id: str | None, *statements: Statement, subject: str = "", snapshot: bool = False
    ) -> list[list[Row]]:
        """Run statements that are not safe to repeat as a tenant, in one transaction and one round trip."""
        deadline = self.deadline()
        try:
            return self._run(tenant_id, statements, subject, deadline, snapshot=snapshot)
        except StorageUnavailableError as error:
            if not was_refused(error):
                raise
        return self._run(tenant_id, statements, subject, deadline, snapshot=snapshot)

    def _run(
        self,
        tenant_id: str | None,
        statements: Sequence[Statement],
        subject: str,
        deadline: Deadline,
        *,
        snapshot: bool,
    ) -> list[list[Row]]:
        with self.transaction(tenant_id, subject, snapshot=snapshot, deadline=deadline) as transaction:
            return transaction.finish(*statements)

    def fetch(self, tenant_id: str, query: LiteralString, params: Params, *, subject: str = "") -> list[Row]:
        """Run one statement as a tenant; repeated if Postgres goes away, so it must be safe to repeat."""
        [rows] = self.run(tenant_id, (query, params), subject=subject)
        return rows

    def ping(self) -> None:
        """See whether Postgres answers, and takes writes."""
        self.run("", (queries.admin.ASK_TO_WRITE, ()))

    def _heal_after(self, error: Exception, connection: TimedConnection | None) -> None:
        """Replace all connections after one was lost: the others lead to the same server."""
        if connection is None or connection.opened < self._healed_at or not is_lost(error):
            return
        if not (is_read_only(error) and connection.is_new):  # then the server is it, and not its old connections
            undisturbed(self.heal)

    def heal(self) -> None:
        """Replace all connections: idle ones now, others when they are given back."""
        self._healed_at = time.monotonic()
        self.healed += 1
        if self._pool is not None:
            self._pool.drain()

    @postponing
    def connect(self, deadline: Deadline | None = None) -> TimedPool:
        """Start the embedded server if there is no other, bring the schema up to date, open the pool."""
        deadline = deadline or self.deadline()
        try:
            with hold(self._lock, deadline.left):
                if self._closed:
                    raise ConfigurationError("This ChatMemory is closed; open a new one.")
                if self._pool is None:
                    with self._schema_connection(deadline) as connection:
                        changed = ensure_schema(connection, migrate=self._settings.auto_migrate)
                    if changed:
                        deadline.renew()
                    self._pool = self._server.open_pool(deadline)
                return self._pool
        except TimeoutError:
            raise translated(PoolTimeout(), "the schema") from None

    def migrate(self) -> list[str]:
        """Bring the schema up to date; return the names of the files that were applied."""
        with self._schema_connection(self.deadline()) as connection:
            return apply(connection)

    @contextmanager
    def _schema_connection(self, deadline: Deadline) -> Iterator[TimedConnection]:
        """A connection for statements that may take as long as they need while Postgres answers others."""
        try:
            with self._server.connect_once(deadline) as connection:
                connection.begin(deadline.at, self._server.lives)
                yield connection
        except DRIVER_ERRORS as error:
            raise translated(error, "the schema") from cause_of(error)

    def connect_once(self) -> TimedConnection:
        """One connection outside the pool."""
        return self._server.connect_once(self.deadline())

    @contextmanager
    def own_connection(self, subject: str) -> Iterator[TimedConnection]:
        """A connection outside the pool, for as long as its caller needs it."""
        try:
            with self.connect_once() as connection:
                yield connection
        except DRIVER_ERRORS as error:
            raise translated(error, subject) from cause_of(error)

    @property
    def data_dir(self) -> Path | None:
        """The directory of the embedded server, once it runs."""
        return self._server.data_dir

    def hurry(self) -> None:
        """Share one timeout among all calls from now on, for as long as none is answered: close() makes several."""
        self._closing, self._answered_at = True, max(self._answered_at, time.monotonic())

    @postponing
    def close(self) -> None:
        """Give back all connections, and the embedded server."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
            try:
                if pool is not None:
                    pool.close()
            finally:  # a pool of another event loop cannot be closed in this one
                self._server.stop()
