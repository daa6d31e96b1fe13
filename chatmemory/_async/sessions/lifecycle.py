"""The methods of a session from its first lesson to its erasure."""

from collections.abc import Mapping
from typing import Any

from chatmemory._async.memories.worker import AsyncWorker
from chatmemory._async.ownership.erasure import AsyncEraser
from chatmemory._async.sessions.ending import AsyncEndings
from chatmemory._async.sessions.hiding import async_hide, async_show
from chatmemory._async.sessions.reopening import async_reopen
from chatmemory._async.sessions.state import AsyncSessionState
from chatmemory.memories.learning import nothing_learnt
from chatmemory.memories.records import Consolidation, goes_on, joined
from chatmemory.records import Json
from chatmemory.runs.metric_checks import check_metrics
from chatmemory.sessions.changes import Changes
from chatmemory.sessions.ending import End, Outcome
from chatmemory.sessions.records import Erasure, Event, SessionInfo, event_from_row
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found
from chatmemory.validation import (
    check_count,
)


class AsyncLifecycleMethods:
    """The methods of a session's handle that learn from it, end, fork, hide and erase it."""

    _state: AsyncSessionState

    async def consolidate(self) -> Consolidation:
        """Learn from what was said since the last time, now and in the foreground, whether it is due or not.

        Messages appended after the call began are left to the next one.

        Returns:
            What came of it: skipped if there was nothing new, or a worker is at it; error if a model failed, and
            then the session stays due.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
            StorageUnavailableError: Postgres cannot be reached.
        """
        last_seq = (await self._state.refresh()).last_seq
        worker = AsyncWorker(self._state.parts)
        done: list[Consolidation] = []
        while await worker.claim(1, self._state.tenant_id, self._state.id):  # nothing is claimed of which all is learnt
            done.append(await worker.learn(self._state.tenant_id, self._state.id))
            if done[-1].status != "success" or not goes_on(done, last_seq):
                break
        return joined(self._state.id, done, nothing_learnt(await self._state.refresh()))

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
        keep_run_status: bool = False,
    ) -> SessionInfo:
        """End the session as completed, or failed; ending it again changes nothing.

        A run goes to the final run status that its kind has for this, unless it is in one already. Where its kind
        says so, its result becomes a memory, which recall(kinds=["result"]) finds.

        What results, details, metadata and error hold keeps no session from ending: what is too large is cut as by
        update(), what JSON cannot represent becomes a string that says what it was, and a detail that does not fit
        the kind is stored as NAME_as_given.

        Args:
            success: Whether it did what it was for.
            results: What came of it, as JSON; objects are merged with the results there are.
            details: The last of them, merged as in update().
            metadata: The last of it, merged likewise.
            error: What went wrong.
            metrics: The last numbers, as log_metrics() takes them; stored with the end, or not at all.
            step: Where in the run these are; None: one more than the last.
            share_result: Whether the result of a run is remembered for the whole tenant, and not for its user alone.
            keep_run_status: Whether a run that is completed or failed already stays so while the session ends
                otherwise; else such an end is refused.

        Raises:
            InvalidInputError: An argument has the wrong type: details that are no mapping, or no number as a metric.
            MoveError: The run has ended otherwise.
            SessionNotFoundError: The session was deleted or erased.
        """
        last = Changes(results=results, details=details, metadata=metadata, error=error)  # type: ignore[arg-type]  # checked() makes dicts
        number, values = check_metrics(metrics or {}, step)
        status: Outcome = "completed" if success else "failed"
        last = last.at_the_end()
        return await self._end(End(status, last, True, share_result, values, number, bool(keep_run_status)))

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
        return self._state.take(
            await AsyncEndings(self._state.tenant_id, self._state.parts).end(self._state.origin, end)
        )

    async def reopen(self) -> SessionInfo:
        """Continue a conversation that has ended, with its messages, its summary and its memories.

        It counts as active again: with session_limit_policy "end_oldest" the user's session that was idle longest may
        be ended for it. What was learnt is not learnt again. An active session stays as it is, and counts as used now.

        Raises:
            SessionEndedError: It is a run: what a run did stays as it was.
            SessionLimitError: There is no room for it: as for sessions.create().
            SessionNotFoundError: The session was deleted or erased.
        """
        return self._state.take(await async_reopen(self._state.parts, self._state.origin))

    async def delete(self) -> None:
        """Hide the session everywhere; restore() brings it back, erase() removes it for good.

        Raises:
            SessionNotFoundError: It is deleted already, or erased.
        """
        await async_hide(self._state.parts, self._state.origin)

    async def restore(self) -> SessionInfo:
        """Show a deleted session again.

        Raises:
            SessionLimitError: It is active, and there is no room for it: as for sessions.create().
            SessionNotFoundError: It is not deleted, or it was erased.
        """
        origin = self._state.origin
        return self._state.take(await async_show(self._state.parts, origin.tenant_id, origin.id, origin.born_at))

    async def erase(self) -> Erasure:
        """Remove the session and all that belongs to it, for good; deleted ones too.

        Forks of it are sessions of their own, and stay.

        Returns:
            How much is gone.

        Raises:
            SessionNotFoundError: There is nothing left to erase.
        """
        return await AsyncEraser(self._state.tenant_id, self._state.parts).session(self._state.origin)

    async def events(self, limit: int = 1000) -> list[Event]:
        """The timeline, oldest first: created, resumed, renamed, ended and the like.

        Args:
            limit: The newest this many, 1 or more.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        params = {
            "id": self._state.id,
            "born": self._state.origin.born_at,
            "limit": check_count(limit, "limit", least=1),
        }
        rows = await self._state.parts.database.fetch(
            self._state.tenant_id, queries.sessions.EVENTS, params, subject=self._state.id
        )
        if not rows:  # every session has at least been created
            raise not_found(self._state.id)
        return [event_from_row(row) for row in rows]
