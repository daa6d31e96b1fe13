"""One tenant's transaction, in which statements that are given together travel together."""

import sys
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, LiteralString

from psycopg import AsyncConnection, AsyncCursor, AsyncServerCursor
from psycopg.errors import PipelineAborted
from psycopg.pq import PipelineStatus, TransactionStatus

from chatmemory._async.storage.connection import AsyncTimedConnection
from chatmemory._async.storage.connection import Row as Row
from chatmemory._interrupts import async_undisturbed
from chatmemory.storage import queries

Params = Sequence[Any] | dict[str, Any]
Statement = tuple[LiteralString, Params]


class AsyncTransaction:
    """A transaction under the role that cannot bypass row-level security, with one tenant's rows in sight.

    Without a tenant, only its settings are pinned.

    It begins with its first statement, in the same round trip. `run()` costs one round trip however many statements
    it is given, and `finish()` commits in that of its statements; where nobody calls it, leaving commits.

    Args:
        connection: The connection, on which a call has begun.
        tenant_id: The tenant.
        prepare: Whether statements are prepared; None: after some repetitions.
        snapshot: Whether it only reads, and all its statements read what was there when it began.
        renew: Whether each wait after the first answer has the whole time.
    """

    def __init__(
        self,
        connection: AsyncTimedConnection,
        tenant_id: str | None,
        *,
        prepare: bool | None = None,
        snapshot: bool = False,
        renew: bool = False,
    ) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._prepare = prepare
        self._how = queries.admin.BEGIN_SNAPSHOT if snapshot else queries.admin.BEGIN
        self._renew = renew
        self._begun = self._finished = self._stores = False

    async def run(self, *statements: Statement) -> list[list[Row]]:
        """Run statements in one round trip; return the rows of each."""
        return await self._send(statements, commit=False)

    async def finish(self, *statements: Statement) -> list[list[Row]]:
        """Run the last statements and commit, in one round trip; return the rows of each."""
        return await self._send(statements, commit=True)

    async def roll_back(self) -> None:
        """Undo all of it."""
        self._finished = True
        await self._connection.execute(queries.admin.ROLLBACK)

    async def execute(self, query: LiteralString, params: Params | None = None) -> AsyncCursor[Row]:
        """Run one statement whose cursor is needed, for its row count."""
        await self._begin()
        self._note(query)
        return await self._connection.execute(query, params, binary=True)

    async def execute_many(self, query: LiteralString, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each of many rows."""
        await self._begin()
        self._note(query)
        await self._connection.cursor().executemany(query, rows)

    async def cursor(self, name: str) -> AsyncServerCursor[Row]:
        """Open a cursor on the server, to read what would not fit into memory."""
        await self._begin()
        return self._connection.cursor(name=name, binary=True)

    def _note(self, query: str) -> None:
        """Remember whether there is something to commit."""
        self._stores = self._stores or queries.effects.may_store(query)

    async def _begin(self) -> None:
        if not self._begun:
            await self._send((), commit=False)

    async def _send(self, statements: Sequence[Statement], *, commit: bool) -> list[list[Row]]:
        """Send statements together, and read their answers.

        An error inside a pipeline is kept until the pipeline has ended: psycopg would log what the statements behind
        it answer, and may raise that in its place.
        """
        cursors: list[AsyncCursor[Row]] = []
        failure: BaseException | None = None
        outside = sys.exception()
        try:
            async with self._connection.pipeline():
                try:
                    await self._send_all(statements, cursors, commit=commit)
                except BaseException as error:  # noqa: BLE001  # raised below
                    failure = error
        except BaseException as error:  # noqa: BLE001  # raised as what it is
            raise failure or first_error(error, outside) from None
        if failure is not None:
            raise failure
        if self._renew:
            self._connection.renew()
        return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]

    async def _send_all(
        self, statements: Sequence[Statement], cursors: list[AsyncCursor[Row]], *, commit: bool
    ) -> None:
        if not self._begun:
            self._begun = True
            await self._connection.execute(self._how)
            enter: Statement = (queries.admin.PIN, ())
            if self._tenant_id is not None:
                enter = (queries.admin.ENTER_TENANT, (self._tenant_id,))
            await self._connection.execute(*enter, prepare=self._prepare)
        for query, params in statements:
            self._note(query)
            # Binary: the text of a value depends on settings such as DateStyle.
            cursors.append(await self._connection.execute(query, params, prepare=self._prepare, binary=True))
        if commit:
            self._finished, self._connection.may_be_stored = True, self._stores
            await self._connection.execute(queries.admin.COMMIT)

    async def leave(self, *, failed: bool) -> None:
        """Commit what was begun, or roll it back; a connection that is lost has nothing left to undo."""
        if not is_reusable(self._connection):
            await async_undisturbed(self._connection.close)
        if self._connection.closed or self._connection.info.transaction_status == TransactionStatus.IDLE:
            return
        if not failed and self._begun and not self._finished:
            self._connection.may_be_stored = self._stores
            await self._connection.execute(queries.admin.COMMIT)
        else:
            await async_undisturbed(self._connection.execute, queries.admin.ROLLBACK)


@asynccontextmanager
async def pinned(connection: AsyncConnection[Row], *, force_rollback: bool = False) -> AsyncIterator[None]:
    """A transaction of the login, on a connection outside the pool, with the settings of schema/pins.py."""
    await connection.execute(queries.admin.BEGIN_PINNED)
    try:
        yield
    except BaseException:
        if connection.info.transaction_status != TransactionStatus.UNKNOWN:  # else the connection is lost
            await async_undisturbed(connection.execute, queries.admin.ROLLBACK)
        raise
    await connection.execute(queries.admin.ROLLBACK if force_rollback else queries.admin.COMMIT)


def first_error(error: BaseException, outside: BaseException | None = None) -> BaseException:
    """Return the error that made a pipeline fail, where psycopg raises another in its place.

    Args:
        error: What psycopg raised: the answer to a statement behind the one that failed; or, after an interrupt, that a
            pipeline cannot end now.
        outside: What was handled before the pipeline began; it is not the cause.
    """
    first, cause = error, error.__context__
    while cause is not None and cause is not outside:
        if isinstance(first, PipelineAborted) or not isinstance(cause, Exception):
            first = cause
        cause = cause.__context__
    return first


def is_reusable(connection: AsyncTimedConnection) -> bool:
    """Return whether the next caller can have a connection: an interrupt may leave one in the middle of a pipeline."""
    return connection._pipeline is None and connection.pgconn.pipeline_status == PipelineStatus.OFF
