"""One session from its beginning to its end: what is known of it, and what becomes of it."""

import logging
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Self

from chatmemory._async.context.reading import AsyncContexts
from chatmemory._async.memories.worker import AsyncWorker
from chatmemory._async.ownership.erasure import AsyncEraser
from chatmemory._async.sessions.copying import async_fork
from chatmemory._async.sessions.hiding import async_hide, async_show
from chatmemory._async.sessions.runs import AsyncRun
from chatmemory._async.shared import AsyncParts
from chatmemory._async.storage.transaction import AsyncTransaction
from chatmemory.errors import ConfigurationError, LlmError
from chatmemory.memories.records import Consolidation, joined
from chatmemory.records import Json, JsonObject
from chatmemory.runs.metric_checks import check_metrics
from chatmemory.runs.metric_packing import Logged, Packed, packed_at_end
from chatmemory.runs.results import foreseen, leaves_result, outcome
from chatmemory.sessions.changes import Changes, at_end, changed
from chatmemory.sessions.records import Appended, Erasure, Event, SessionInfo, after, event_from_row, session_from_row
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found
from chatmemory.validation import (
    check_count,
    check_id,
)

LOG = logging.getLogger("chatmemory")


class AsyncLifecycle(AsyncRun):
    """The part of a session's handle that ends, forks, hides, erases, exports, and learns from it."""

    def __init__(self, info: SessionInfo, parts: AsyncParts, *, is_current: bool = True) -> None:
        self.id = info.id
        self.tenant_id = info.tenant_id
        super().__init__(info, parts)
        self._appended: Appended | None = None
        self._contexts = AsyncContexts(info, parts)
        if is_current:  # read from Postgres just now
            self._contexts.saw_row(info)

    @property
    def info(self) -> SessionInfo:
        """What this handle last learnt of the session; refresh() asks again."""
        if self._appended is not None:
            self._info = after(self._appended, self._info)
            self._appended = None
        return self._info

    async def refresh(self) -> SessionInfo:
        """Read the session again.

        Raises:
            SessionNotFoundError: It was deleted or erased.
        """
        params = {"id": self.id, "user_id": None}
        rows = await self._database.fetch(self.tenant_id, queries.sessions.GET_SESSION, params, subject=self.id)
        return self._learn(rows)

    @property
    def summary(self) -> str | None:
        """What was said up to info.summary_seq, in short, as this handle last learnt; refresh() asks again."""
        return self.info.summary

    async def consolidate(self) -> Consolidation:
        """Learn from what was said since the last time, now and in the foreground, whether it is due or not.

        Returns:
            What came of it: skipped if there was nothing new, or a worker is at it; error if a model failed, and
            then the session stays due.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
            StorageUnavailableError: Postgres cannot be reached.
        """
        await self.refresh()
        worker = AsyncWorker(self._parts)
        done: list[Consolidation] = []
        while await worker.claim(1, self.tenant_id, self.id):
            done.append(await worker.learn(self.tenant_id, self.id))
            if done[-1].status != "success":
                break
        await self.refresh()
        return joined(self.id, done)

    async def end(
        self,
        *,
        success: bool = True,
        results: Json = None,
        details: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        error: str | None = None,
        metrics: Mapping[str, Any] | None = None,
        step: int | None = None,
        share_result: bool = False,
    ) -> SessionInfo:
        """End the session as completed, or failed; ending it again changes nothing.

        A run goes to the final run status that its kind has for this, unless it is in one already. Where its kind
        says so, its result becomes a memory, which recall(kinds=["result"]) finds.

        Args:
            success: Whether it did what it was for.
            results: What came of it, as JSON; objects are merged with the results there are.
            details: The last of them, merged as in update().
            metadata: The last of it, merged likewise.
            error: What went wrong.
            metrics: The last numbers, as log_metrics() takes them; stored with the end, or not at all.
            step: Where in the run these are; None: one more than the last.
            share_result: Whether the result of a run is remembered for the whole tenant, and not for its user alone.

        Raises:
            MoveError: The run has ended otherwise.
            SessionNotFoundError: The session was deleted or erased.
        """
        last = Changes(results=results, details=details, metadata=metadata, error=error)  # type: ignore[arg-type]  # checked() makes dicts
        points = await self._last_points(metrics or {}, step)
        return await self._end("completed" if success else "failed", last.checked(), share_result, points)

    async def _last_points(self, metrics: Mapping[str, Any], step: int | None) -> list[Packed]:
        number, values = check_metrics(metrics, step)
        if values and number is None:
            await self._parts.metrics.flush()
            [(number,)] = await self._database.fetch(self.tenant_id, queries.runs.NEXT_STEP, (self.id,))
        return packed_at_end(Logged(self.tenant_id, self.id, number, values, time.time()), number or 0)

    async def expire(self, *, reason: str | None = None) -> SessionInfo:
        """End the session as expired, as the clean-up does with idle ones; expiring it again changes nothing.

        Args:
            reason: Why, for the timeline.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        return await self._end("expired", Changes(reason=reason).checked(), False)

    async def cancel(self, *, reason: str | None = None, by: object = None, share_result: bool = False) -> SessionInfo:
        """End the session as cancelled; cancelling it again changes nothing.

        Args:
            reason: Why, for the timeline and the status history.
            by: Who cancels it; None: the session's user.
            share_result: As for end().

        Raises:
            MoveError: The run has ended otherwise.
            SessionNotFoundError: The session was deleted or erased.
        """
        last = Changes(reason=reason, by=by)  # type: ignore[arg-type]  # checked() makes a string of it
        return await self._end("cancelled", last.checked(), share_result)

    async def _end(self, status: str, last: Changes, share: bool, points: Sequence[Packed] = ()) -> SessionInfo:
        await self._parts.metrics.flush()
        by = last.by or self._info.user_id
        params = (self.tenant_id, self.id, status, None, last.reason, self._settings.min_messages_for_summary, by)
        remembers = status != "expired" and leaves_result(self._info) is not None
        vectors = await self._foreseen_result(status, last) if remembers else ()
        async with self._forgotten():
            async for attempt in self._database.retrying():
                with attempt:
                    async with self._database.transaction(self.tenant_id, self.id) as connection:
                        if remembers:  # in the order of erase()
                            whose = "" if share else self._info.user_id
                            await connection.execute(queries.memories.LOCK_MEMORIES, (self.tenant_id, whose))
                        rows = await (await connection.execute(queries.sessions.LOCK_SESSION, self._key)).fetchall()
                        old = self._learn(rows)
                        change = changed(old, at_end(old, last, status)) if old.is_active else None
                        if change is not None:
                            await connection.execute(queries.sessions.UPDATE_SESSION, change[0])
                        if points and old.is_active:
                            await connection.execute_many(queries.runs.KEEP_METRICS, [row.row() for row in points])
                        rows = await (await connection.execute(queries.sessions.END_SESSION, params)).fetchall()
                        if remembers and old.is_active and rows:
                            await self._remember_result(connection, session_from_row(rows[0]), share, vectors)
        await self._parts.metrics.forget(self.tenant_id, self.id)
        return self._learn(rows)

    async def _foreseen_result(self, status: str, last: Changes) -> tuple[Sequence[float], ...]:
        """What the result of a run will mean, asked before anything is locked; nothing where no embedder answers."""
        if not self._parts.providers.has_embedder or not (await self.refresh()).is_active:
            return ()
        change = changed(self._info, at_end(self._info, last, status))
        extremes = await self._database.fetch(self.tenant_id, queries.runs.EXTREMES, ([self.id],))
        text = outcome(foreseen(self._info, change and change[0], status), extremes, 0, shared=False).text
        try:
            return tuple(await self._parts.store.embedded([text]))
        except (LlmError, ConfigurationError) as error:
            LOG.warning("the result of session %r will be found by its words alone: %s", self.id, error)
            return ()

    async def _remember_result(
        self, connection: AsyncTransaction, info: SessionInfo, share: bool, vectors: tuple[Sequence[float], ...]
    ) -> None:
        extremes = await (await connection.execute(queries.runs.EXTREMES, ([self.id],))).fetchall()
        [(number,)] = await (await connection.execute(queries.sessions.SESSION_NUMBER, (self.id,))).fetchall()
        new = outcome(info, extremes, number, shared=share)._replace(vectors=vectors)
        await self._parts.store.add(connection, self.tenant_id, new.user_id, [new])

    async def fork(self, *, at_seq: int | None = None, user_id: object = None) -> Self:
        """Begin a new session with this one's messages.

        Args:
            at_seq: Up to and with this seq; None: all of them.
            user_id: Whose the new one is; None: the same user's.

        Returns:
            The new session; its info.parent_id is this one's id.

        Raises:
            InvalidInputError: at_seq lies beyond the newest message.
            SessionLimitError: As for sessions.create().
            SessionNotFoundError: The session was deleted or erased.
        """
        user = None if user_id is None else check_id(user_id, "user_id")
        parent, forked = await async_fork(self._parts, self._info, at_seq, user)
        self._know(parent)
        return type(self)(forked, self._parts)

    async def delete(self) -> None:
        """Hide the session everywhere; restore() brings it back, erase() removes it for good.

        Raises:
            SessionNotFoundError: It is deleted already, or erased.
        """
        await async_hide(self._parts, self._info)

    async def restore(self) -> SessionInfo:
        """Show a deleted session again.

        Raises:
            SessionLimitError: It is active, and there is no room for it: as for sessions.create().
            SessionNotFoundError: It is not deleted, or it was erased.
        """
        return self._know(await async_show(self._parts, self.tenant_id, self.id))

    async def erase(self) -> Erasure:
        """Remove the session and all that belongs to it, for good; deleted ones too.

        Forks of it are sessions of their own, and stay.

        Returns:
            How much is gone.

        Raises:
            SessionNotFoundError: There is nothing left to erase.
        """
        return await AsyncEraser(self.tenant_id, self._parts).session(self._info)

    async def events(self, limit: int = 1000) -> list[Event]:
        """The timeline, oldest first: created, resumed, renamed, ended and the like.

        Args:
            limit: The newest this many, 1 or more.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        params = {"id": self.id, "born": self._info.created_at, "limit": check_count(limit, "limit", least=1)}
        rows = await self._database.fetch(self.tenant_id, queries.sessions.EVENTS, params, subject=self.id)
        if not rows:  # every session has at least been created
            raise not_found(self.id)
        return [event_from_row(row) for row in rows]

    @asynccontextmanager
    async def _forgotten(self) -> AsyncIterator[None]:
        """Nothing of the session is left in Redis, neither when its end begins nor after it, whatever happens."""
        await self._windows.forget(self._info)
        try:
            yield
        finally:
            await self._windows.forget(self._info)

    @property
    def _birth(self) -> tuple[str, datetime]:
        """What names this session, and none that has its id later."""
        return self.id, self._info.created_at

    @property
    def _key(self) -> JsonObject:
        return {"id": self.id, "user_id": None}

    def _learn(self, rows: list[tuple[Any, ...]]) -> SessionInfo:
        info = session_from_row(rows[0]) if rows else None
        if info is None or info.created_at != self._info.created_at:  # another session has the id of an erased one
            raise not_found(self.id)
        return self._know(info)

    def _know(self, info: SessionInfo) -> SessionInfo:
        """Keep what was just read of the session."""
        self._appended, self._info = None, info
        self._contexts.saw_row(info)
        return info

    def _repr_html_(self) -> str:
        return self.info._repr_html_()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.info!r}>"
