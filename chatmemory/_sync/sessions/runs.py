# Generated from chatmemory/_async/sessions/runs.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The methods of a session that is a run: its status, its progress, its metrics."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from chatmemory._sync.sessions.state import SessionState
from chatmemory.errors import MoveError, SessionEndedError
from chatmemory.records import Json
from chatmemory.runs.metric_checks import check_metrics
from chatmemory.runs.metric_packing import run_of
from chatmemory.runs.metric_records import MetricSeries, series_from_rows
from chatmemory.sessions.changes import PAUSED, RUNNING, Changes, changed
from chatmemory.sessions.records import SessionInfo, StatusChange, status_change_from_row
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found
from chatmemory.validation import check_count, check_id, check_list, check_time


class RunMethods:
    """The methods of a session's handle that change its data and record a run."""

    _state: SessionState

    def update(
        self,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        results: Json = None,
        progress: float | None = None,
        stage: str | None = None,
        error: str | None = None,
        run_status: str | None = None,
        reason: str | None = None,
        by: object = None,
    ) -> SessionInfo:
        """Change the session's data, all or nothing; an argument that is None changes nothing.

        Metadata, details and results hold up to 1,000,000 bytes of JSON each. Of what would exceed that, the largest
        new values are cut or left out, each with a mark in its place: `… [cut: 1,200,000 bytes]`. A longer stage,
        error or reason is cut likewise.

        Args:
            title: A new title.
            metadata: Merged key by key.
            details: Merged key by key, in the form that the kind declares.
            results: What has come of a run until now; objects are merged key by key.
            progress: How far a run is, from 0 to 100. Where the details count it (training: current_epoch of
                total_epochs) it follows from them.
            stage: What a run is at.
            error: What went wrong in a run.
            run_status: As move(), together with the rest.
            reason: Why it moved.
            by: Who moved it; None: the session's user.

        Raises:
            InvalidInputError: A value cannot be stored; nothing was written.
            MoveError: The kind does not allow the move; nothing was written.
            SessionEndedError: It has ended: title and metadata may change, what its run did may not.
            SessionNotFoundError: The session was deleted or erased.
        """
        return self._change(
            Changes(
                title=title,
                metadata=metadata,  # type: ignore[arg-type]  # checked() makes a dict of it
                details=details,  # type: ignore[arg-type]  # likewise
                results=results,
                progress=progress,
                stage=stage,
                error=error,
                run_status=run_status,
                reason=reason,
                by=by,  # type: ignore[arg-type]  # likewise a string
            )
        )

    def move(self, run_status: str, *, reason: str | None = None, by: object = None) -> SessionInfo:
        """Take the run to another status; one it is in already changes nothing.

        The session itself goes on, also in a final run status, until end() or cancel().

        Args:
            run_status: Where to, as its kind allows.
            reason: Why, for the status history.
            by: Who moves it; None: the session's user.

        Raises:
            MoveError: The kind does not allow it from where the run is now; the message says what it allows.
            SessionNotFoundError: The session was deleted or erased.
        """
        return self._change(Changes(run_status=run_status, reason=reason, by=by))  # type: ignore[arg-type]  # checked() makes a string of it

    def pause(self, *, reason: str | None = None) -> SessionInfo:
        """Take the run from running to paused.

        Raises:
            MoveError: As move().
        """
        return self._change(Changes(run_status=PAUSED, reason=reason))

    def unpause(self, *, reason: str | None = None) -> SessionInfo:
        """Take the run from paused to running.

        Raises:
            MoveError: As move(); also where it is neither.
        """
        return self._change(Changes(run_status=RUNNING, only_from=PAUSED, reason=reason))

    def beat(self, lost_after_seconds: int = 300) -> SessionInfo:
        """Say that the run's process is alive; as an activity, this also keeps the run from expiring.

        From now on, whoever reads the run ends it as failed for the reason `lost` if nothing is heard of it for longer
        than this. The time is the database's.

        Args:
            lost_after_seconds: The time after which the run counts as lost, 1 or more. Beat several times as often.

        Raises:
            MoveError: It is no run.
            SessionEndedError: It has ended, perhaps as lost; reopen_run() continues it.
            SessionNotFoundError: The session was deleted or erased.
        """
        seconds = check_count(lost_after_seconds, "lost_after_seconds", least=1)
        params = {"id": self._state.id, "born": self._state.origin.born_at, "seconds": seconds}
        rows = self._state.parts.database.fetch(
            self._state.tenant_id, queries.runs.BEAT, params, subject=self._state.id
        )
        if rows:
            return self._state.take_row(rows)
        info = self._state.refresh()
        if info.is_active:
            raise MoveError(f"Session {info.id!r} is no run: its kind is {info.kind}. Only runs beat.")
        raise SessionEndedError(f"Session {info.id!r} is {info.status}; reopen_run() continues it.")

    def reopen_run(self, *, reason: str | None = None, by: object = None) -> SessionInfo:
        """Continue a run that has ended, as when its training goes on from a checkpoint; an active one stays as it is.

        It gets back the run status from before its end, and its details, results and metrics stay. The error goes into
        the timeline. Its result is forgotten, and remembered anew at its next end. No other session ends for it.

        Args:
            reason: Why, for the timeline and the status history.
            by: Who reopens it; None: the session's user.

        Raises:
            MoveError: It is no run.
            SessionNotFoundError: The session was deleted or erased.
        """
        info = self._state.origin
        if info.run_status is None:
            raise MoveError(f"Session {info.id!r} is no run: its kind is {info.kind}. reopen() reopens conversations.")
        changes = Changes(reason=reason, by=by).checked()  # type: ignore[arg-type]  # it makes a string of `by`
        params = (info.tenant_id, info.id, info.born_at, changes.reason, changes.by or info.user_id)
        rows = self._state.parts.database.call(queries.sessions.REOPEN_RUN, params, subject=info.id)
        self._state.parts.windows.forget_user(info.tenant_id, info.user_id)
        return self._state.take_row(rows)

    def status_history(self) -> list[StatusChange]:
        """Every move of the run, oldest first, also after its end.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        params = {"id": self._state.id, "born": self._state.origin.born_at}
        rows = self._state.parts.database.fetch(
            self._state.tenant_id, queries.runs.STATUS_HISTORY, params, subject=self._state.id
        )
        if not rows:
            raise not_found(self._state.id)
        return [status_change_from_row(row) for row in rows if row[0] is not None]

    def log_metrics(self, values: Mapping[str, Any], *, step: int | None = None, at: datetime | None = None) -> None:
        """Log measurements of a run; never waits: it is written beside the caller's work, half a second later at most.

        flush(), end(), metrics() and the memory's close() write what is still on its way. What Postgres does not take
        now is kept and written later, in order and once.

        Args:
            values: Numbers by name, of any library; NaN and infinities are kept.
            step: Where in the run, 0 or more. None: one more than the last of this session.
            at: When it was measured, with a time zone; None: now.

        Raises:
            InvalidInputError: It is no number, or has no name.
            SessionEndedError: This handle knows that the session has ended.
        """
        if not self._state.info.is_active:
            raise SessionEndedError(
                f"Session {self._state.id!r} is {self._state.info.status} and accepts no more metrics."
            )
        step, points = check_metrics(values, step)
        time = check_time(at, "at")
        if points:
            self._state.parts.metrics.log(run_of(self._state.origin), step, points, time.timestamp() if time else None)

    def flush(self) -> None:
        """Write all metrics that were logged until now, and wait until Postgres has them.

        Raises:
            StorageUnavailableError: Postgres cannot be reached; they are kept, and written later.
        """
        self._state.parts.metrics.flush()

    def drop_metrics(
        self, from_step: int, *, names: Iterable[str] | None = None, before: datetime | None = None
    ) -> int:
        """Remove points of a run that is repeated from a step on, as from a checkpoint; return their number.

        Args:
            from_step: The first step to remove, 0 or more.
            names: Only of these metrics; None: of all.
            before: Only points measured before this time, with a time zone; None: all.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        step, time, wanted = check_count(from_step, "from_step"), check_time(before, "before"), _checked(names)
        self._state.parts.metrics.flush()
        self._state.parts.metrics.forget(self._state.tenant_id, self._state.id)
        params = (*run_of(self._state.origin), step, time, wanted)
        [(count,)] = self._state.parts.database.call(queries.runs.DROP_METRICS, params, subject=self._state.id)
        return int(count)

    def metrics(self, names: Iterable[str] | None = None, *, max_points: int | None = None) -> MetricSeries:
        """The logged points, in the order of their steps.

        Args:
            names: Only these metrics; None: all.
            max_points: At most this many of each metric, 2 or more: of each stretch of the run the least and the
                greatest, so that no peak is lost. None: all points.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        wanted = _checked(names)
        buckets = None if max_points is None else check_count(max_points, "max_points", least=2) // 2
        self._state.parts.metrics.flush()
        params = (*run_of(self._state.origin), wanted, buckets)
        return series_from_rows(
            self._state.parts.database.call(queries.runs.READ_METRICS, params, subject=self._state.id)
        )

    def _change(self, changes: Changes) -> SessionInfo:
        changes = changes.checked()
        with self._state.parts.database.transaction(self._state.tenant_id, self._state.id) as transaction:
            [rows] = transaction.run((queries.sessions.LOCK_SESSION, {"id": self._state.id, "user_id": None}))
            old = self._state.take_row(rows)
            change = changed(old, changes)
            if change is None:
                return old
            values, events = change
            adding = [(queries.sessions.ADD_EVENT, (self._state.tenant_id, self._state.id, *event)) for event in events]
            rows, *_ = transaction.finish((queries.sessions.UPDATE_SESSION, values), *adding)
        self._state.parts.windows.forget_user(self._state.tenant_id, self._state.origin.user_id)
        return self._state.take_row(rows)


def _checked(names: Iterable[str] | None) -> list[str] | None:
    """Return the names of metrics if they are valid."""
    return None if names is None else [check_id(name, "the name of a metric") for name in check_list(names, "names")]
