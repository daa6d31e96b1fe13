"""One session from its beginning to its end: what is known of it, and what becomes of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, Self

from chatmemory._async.context.reading import AsyncContexts
from chatmemory._async.memories.worker import AsyncWorker
from chatmemory._async.ownership.erasure import AsyncEraser
from chatmemory._async.sessions.copying import async_fork
from chatmemory._async.sessions.ending import AsyncEndings
from chatmemory._async.sessions.hiding import async_hide, async_show
from chatmemory._async.sessions.runs import AsyncRun
from chatmemory._async.shared import AsyncShared
from chatmemory.memories.learning import nothing_learnt
from chatmemory.memories.records import Consolidation, joined
from chatmemory.records import Json, JsonObject
from chatmemory.runs.metric_checks import check_metrics
from chatmemory.sessions.changes import Changes
from chatmemory.sessions.ending import End, Outcome
from chatmemory.sessions.records import Appended, Erasure, Event, SessionInfo, after, event_from_row, session_from_row
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found
from chatmemory.validation import (
    check_count,
    check_id,
)


class AsyncLifecycle(AsyncRun):
    """The part of a session's handle that ends, forks, hides, erases, exports, and learns from it."""

    def __init__(self, info: SessionInfo, parts: AsyncShared, *, is_current: bool = True) -> None:
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
        while await worker.claim(1, self.tenant_id, self.id):  # nothing is claimed of which all is learnt
            done.append(await worker.learn(self.tenant_id, self.id))
            if done[-1].status != "success":
                break
        return joined(self.id, done, nothing_learnt(await self.refresh()))

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
        number, values = check_metrics(metrics or {}, step)
        status: Outcome = "completed" if success else "failed"
        return await self._end(End(status, last.checked(), shared=share_result, points=values, step=number))

    async def expire(self, *, reason: str | None = None) -> SessionInfo:
        """End the session as expired, as the clean-up does with idle ones; expiring it again changes nothing.

        Args:
            reason: Why, for the timeline.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        return await self._end(End("expired", Changes(reason=reason).checked()))

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
        return await self._end(End("cancelled", last.checked(), shared=share_result))

    async def _end(self, end: End) -> SessionInfo:
        return self._know(await AsyncEndings(self.tenant_id, self._parts).end(self._info, end))

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
        async with self._windows.forgetting([self._info]):
            yield

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
