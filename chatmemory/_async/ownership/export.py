"""Export of a session, a user or a tenant as JSON Lines: one mechanism over the tables in the registry."""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from functools import partial
from tempfile import SpooledTemporaryFile
from typing import Any, NamedTuple

from chatmemory._async.shared import AsyncShared
from chatmemory._async.storage.transaction import Row
from chatmemory.files.lines import first_line, row_line
from chatmemory.sessions.records import SessionInfo
from chatmemory.storage import queries
from chatmemory.storage.ownership import EXPORTS
from chatmemory.storage.queries.ownership import FEW, Read

MAX_IN_MEMORY = 1_000_000  # bytes of one snapshot; a larger one goes to a temporary file

Params = dict[str, Any]


class Lines(NamedTuple):
    """A statement, and the function that makes lines of its rows."""

    read: Read
    line: Callable[[Row], str]


class AsyncExporter:
    """Reads each session, and the rest, in one snapshot each; no connection is held while the caller works."""

    def __init__(self, tenant_id: str, parts: AsyncShared) -> None:
        self._tenant_id = tenant_id
        self._database, self._metrics = parts.database, parts.metrics

    async def session(self, info: SessionInfo) -> AsyncIterator[str]:
        """Yield the lines of one session, with the memories and the spend that come from it."""
        await self._metrics.flush()
        yield first_line(self._tenant_id, user_id=info.user_id, session_id=info.id)
        params = {"session": info.id, "of": info.born_at, "owners": [info.user_id]}
        async for line in self._lines(
            {**queries.ownership.READ_SESSION, **queries.ownership.READ_REST["session"]}, params
        ):
            yield line

    async def user(self, user_id: str) -> AsyncIterator[str]:
        """Yield the lines of all sessions of a user, and the user's other data."""
        yield first_line(self._tenant_id, user_id=user_id)
        async for line in self._all("users", {"users": [user_id], "owners": [user_id]}):
            yield line

    async def tenant(self) -> AsyncIterator[str]:
        """Yield the lines of all sessions of the tenant, and its other data."""
        yield first_line(self._tenant_id)
        async for line in self._all("tenant", {}):
            yield line

    async def _all(self, scope: str, params: Params) -> AsyncIterator[str]:
        await self._metrics.flush()
        sessions = [Lines(queries.ownership.READ_SESSIONS[scope], _session_key)]
        async for key in self._snapshot(sessions, params):
            id, of, user_id = json.loads(key)
            async for line in self._lines(
                queries.ownership.READ_SESSION, {"session": id, "of": of, "owners": [user_id]}
            ):
                yield line
        async for line in self._lines(queries.ownership.READ_REST[scope], params):
            yield line

    def _lines(self, reads: Mapping[str, Read], params: Params) -> AsyncIterator[str]:
        lines = [Lines(read, partial(row_line, EXPORTS[table])) for table, read in reads.items()]
        return self._snapshot(lines, params)

    async def _snapshot(self, lines: list[Lines], params: Params) -> AsyncIterator[str]:
        """Read all rows in one snapshot: a few in one round trip, many through a temporary file."""
        few = [(each.read.few, params) for each in lines]
        found = await self._database.run(self._tenant_id, *few, snapshot=True)
        if all(len(rows) <= FEW for rows in found):
            for each, rows in zip(lines, found, strict=True):
                for row in rows:
                    yield each.line(row)
            return
        found.clear()
        async for line in self._spooled(lines, params):
            yield line

    async def _spooled(self, lines: list[Lines], params: Params) -> AsyncIterator[str]:
        with SpooledTemporaryFile(MAX_IN_MEMORY, "w+", encoding="utf-8", errors="surrogatepass", newline="\n") as spool:
            async with self._database.transaction(self._tenant_id, snapshot=True, patient=True) as transaction:
                for each in lines:
                    async with await transaction.cursor("export") as cursor:
                        await cursor.execute(each.read.all, params)
                        while rows := await cursor.fetchmany(FEW):
                            spool.writelines(f"{each.line(row)}\n" for row in rows)
            spool.seek(0)
            for line in spool:
                yield line.removesuffix("\n")


def _session_key(row: Row) -> str:
    id, born_at, user_id = row
    return json.dumps([id, born_at.isoformat(), user_id])
