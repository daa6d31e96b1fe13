# Generated from chatmemory/_async/sessions/lifecycle.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""One session from its beginning to its end: what is known of it, and what becomes of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Self

from chatmemory._sync.context.reading import Contexts
from chatmemory._sync.memories.worker import Worker
from chatmemory._sync.sessions.ending import Endings
from chatmemory._sync.sessions.runs import Run
from chatmemory._sync.shared import Parts
from chatmemory.errors import InvalidInputError
from chatmemory.kinds import declared
from chatmemory.memories.learning import nothing_learnt
from chatmemory.memories.records import Consolidation, joined
from chatmemory.records import Json, JsonObject, to_json
from chatmemory.runs.metric_checks import check_metrics
from chatmemory.sessions.changes import Changes
from chatmemory.sessions.ending import End, Outcome
from chatmemory.sessions.records import Appended, Erasure, Event, SessionInfo, after, event_from_row, session_from_row
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found
from chatmemory.validation import (
    check_count,
    check_id,
    new_id,
)


class Lifecycle(Run):
    """The part of a session's handle that ends, forks, hides, erases, exports, and learns from it."""

    def __init__(self, info: SessionInfo, parts: Parts) -> None:
        self.id = info.id
        self.tenant_id = info.tenant_id
        super().__init__(info, parts)
        self._appended: Appended | None = None
        self._contexts = Contexts(info, parts)

    @property
    def info(self) -> SessionInfo:
        """What this handle last learnt of the session; refresh() asks again."""
        if self._appended is not None:
            self._info = after(self._appended, self._info)
            self._appended = None
        return self._info

    def refresh(self) -> SessionInfo:
        """Read the session again.

        Raises:
            SessionNotFoundError: It was deleted or erased.
        """
        params = {"id": self.id, "user_id": None}
        rows = self._database.fetch(self.tenant_id, queries.sessions.GET_SESSION, params, subject=self.id)
        return self._learn(rows)

    @property
    def summary(self) -> str | None:
        """What was said up to info.summary_seq, in short, as this handle last learnt; refresh() asks again."""
        return self.info.summary

    def consolidate(self) -> Consolidation:
        """Learn from what was said since the last time, now and in the foreground, whether it is due or not.

        Returns:
            What came of it: skipped if there was nothing new, or a worker is at it; error if a model failed, and
            then the session stays due.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
            StorageUnavailableError: Postgres cannot be reached.
        """
        self.refresh()
        worker = Worker(self._parts)
        done: list[Consolidation] = []
        while worker.claim(1, self.tenant_id, self.id):  # nothing is claimed of which all is learnt
            done.append(worker.learn(self.tenant_id, self.id))
            if done[-1].status != "success":
                break
        return joined(self.id, done, nothing_learnt(self.refresh()))

    def end(
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
        return self._end(End(status, last.checked(), shared=share_result, points=values, step=number))

    def expire(self, *, reason: str | None = None) -> SessionInfo:
        """End the session as expired, as the clean-up does with idle ones; expiring it again changes nothing.

        Args:
            reason: Why, for the timeline.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        return self._end(End("expired", Changes(reason=reason).checked()))

    def cancel(self, *, reason: str | None = None, by: object = None, share_result: bool = False) -> SessionInfo:
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
        return self._end(End("cancelled", last.checked(), shared=share_result))

    def _end(self, end: End) -> SessionInfo:
        return self._saw(Endings(self.tenant_id, self._parts).end(self._info, end))

    def fork(self, *, at_seq: int | None = None, user_id: object = None) -> Self:
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
        new = new_id()
        with self._database.transaction(self.tenant_id, self.id) as connection:
            connection.execute(queries.sessions.LOCK_USER, (self.tenant_id, user or self._info.user_id))
            rows = connection.execute(queries.sessions.GET_SESSION, self._key).fetchall()
            info = self._learn(rows)
            up_to = _fork_point(info, at_seq)
            created = connection.execute(queries.sessions.CREATE_SESSION, self._fork_params(info, new, user))
            rows = created.fetchall()
            copy = {"from": self.id, "to": new, "at_seq": up_to}
            connection.execute(queries.messages.COPY_MESSAGES, copy)
            connection.execute(queries.messages.COUNT_COPIED, copy)
            connection.execute(queries.sessions.FORKED, copy)
            row = (connection.execute(queries.sessions.GET_SESSION, {"id": new, "user_id": None})).fetchone()
            told = to_json({"into": new, "at_seq": up_to})
            connection.execute(queries.sessions.ADD_EVENT, (self.tenant_id, self.id, "forked", told))
        assert row is not None
        info = session_from_row(row)
        self._windows.forget_user(info.tenant_id, info.user_id)
        Endings(self.tenant_id, self._parts).leave_results(rows)
        return type(self)(info, self._parts)

    def _fork_params(self, info: SessionInfo, new: str, user: str | None) -> tuple[Any, ...]:
        return (
            self.tenant_id,
            new,
            user or info.user_id,
            info.kind,
            info.title,
            to_json(info.metadata),
            to_json(info.details),
            *self._settings.session_limits,
            declared(info.kind, info.details, self._settings.due_after, otherwise=info.learns),
        )

    def delete(self) -> None:
        """Hide the session everywhere; restore() brings it back, erase() removes it for good.

        Raises:
            SessionNotFoundError: It is deleted already, or erased.
        """
        with self._forgotten(), self._database.transaction(self.tenant_id, self.id) as connection:
            row = connection.execute(queries.sessions.DELETE_SESSION, (self.id,)).fetchone()
            if row is None:
                raise not_found(self.id)
            connection.execute(queries.sessions.ADD_EVENT, (self.tenant_id, self.id, "deleted", None))

    def restore(self) -> SessionInfo:
        """Show a deleted session again.

        Raises:
            SessionLimitError: It is active, and there is no room for it: as for sessions.create().
            SessionNotFoundError: It is not deleted, or it was erased.
        """
        params = (self.tenant_id, self.id, *self._settings.session_limits)
        rows = self._database.call_once(queries.sessions.RESTORE_SESSION, params, subject=self.id)
        info = self._learn([row[:-1] for row in rows])
        Endings(self.tenant_id, self._parts).leave_results(rows)
        self._windows.forget_user(info.tenant_id, info.user_id)
        return info

    def erase(self) -> Erasure:
        """Remove the session and all that belongs to it, for good; deleted ones too.

        Forks of it are sessions of their own, and stay.

        Returns:
            How much is gone.

        Raises:
            SessionNotFoundError: There is nothing left to erase.
        """
        self._parts.metrics.flush()
        with self._forgotten(), self._database.transaction(self.tenant_id, self.id) as connection:
            connection.execute(queries.users.LOCK_TO_FORGET, {"user_id": self._info.user_id, "session_id": self.id})
            connection.execute(queries.memories.LOCK_MEMORIES, (self.tenant_id, self._info.user_id))
            if not connection.execute(queries.sessions.LOCK_TO_ERASE, (self.id,)).fetchall():
                raise not_found(self.id)
            [(metrics,)] = connection.execute(queries.runs.ERASE_METRICS, (self.id,)).fetchall()
            rows = connection.execute(queries.users.MEMORIES_OF_SESSION, (self.id,)).fetchall()
            connection.execute(queries.memories.REMOVE_MEMORIES, (self.tenant_id, [id for (id,) in rows]))
            counts = [connection.execute(query, (self.id,)).rowcount for query in queries.sessions.ERASE_ALL]
        self._parts.metrics.forget(self.tenant_id, self.id)
        spend, messages, events, sessions = counts
        return Erasure(
            sessions=sessions, messages=messages, events=events, memories=len(rows), spend=spend, metrics=metrics
        )

    def events(self, limit: int = 1000) -> list[Event]:
        """The timeline, oldest first: created, resumed, renamed, ended and the like.

        Args:
            limit: The newest this many, 1 or more.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        params = {"id": self.id, "limit": check_count(limit, "limit", least=1)}
        rows = self._database.fetch(self.tenant_id, queries.sessions.EVENTS, params, subject=self.id)
        if not rows:  # every session has at least been created
            raise not_found(self.id)
        return [event_from_row(row) for row in rows]

    @contextmanager
    def _forgotten(self) -> Iterator[None]:
        with self._windows.forgetting([self._info]):
            yield

    @property
    def _key(self) -> JsonObject:
        return {"id": self.id, "user_id": None}

    def _learn(self, rows: list[tuple[Any, ...]]) -> SessionInfo:
        if not rows:
            raise not_found(self.id)
        return self._saw(session_from_row(rows[0]))

    def _saw(self, info: SessionInfo) -> SessionInfo:
        self._appended = None
        self._info = info
        self._contexts.saw(self._info.last_seq)
        return self._info

    def _repr_html_(self) -> str:
        return self.info._repr_html_()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.info!r}>"


def _fork_point(info: SessionInfo, at_seq: int | None) -> int:
    if at_seq is None:
        return info.last_seq
    if check_count(at_seq, "at_seq") > info.last_seq:
        raise InvalidInputError(f"at_seq is {at_seq}, but session {info.id!r} ends at {info.last_seq}.")
    return at_seq
