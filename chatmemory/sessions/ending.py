"""The effect of an end on a session: its last values, its run status, and the row version they depend on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, TypeAlias

from chatmemory.records import JsonObject
from chatmemory.sessions.changes import Changes, at_end, changed
from chatmemory.sessions.records import SESSION_COLUMNS, SessionInfo, session_from_row

Outcome: TypeAlias = Literal["completed", "failed", "cancelled", "expired"]
CHANGED = "changed"  # end_sessions left a session as it is, because it changed after it was read


class End(NamedTuple):
    """The requested end of one or more sessions.

    Attributes:
        status: The final status.
        last: Values to store with the end; its `reason` and `by` say why and who.
        by_user: Whether the session's user is recorded as ending it if `by` is None.
        shared: Whether the result memory of a run belongs to the whole tenant.
        points: A run's last metrics, as (name, value).
        step: The step of `points`; None: one more than the run's last step.
        keeps_run: Whether a run that is completed or failed already stays so where the session ends otherwise; else
            such an end is refused.
    """

    status: Outcome
    last: Changes = Changes()
    by_user: bool = True
    shared: bool = False
    points: tuple[tuple[str, float], ...] = ()
    step: int | None = None
    keeps_run: bool = False

    def row(self, info: SessionInfo) -> JsonObject:
        """Return the argument of end_sessions for one session of which only the status changes."""
        by = self.last.by or (info.user_id if self.by_user else None)
        row = {"id": info.id, "born_at": info.born_at.isoformat(), "status": self.status}
        return row | {"reason": self.last.reason, "ended_by": by, "keeps_run": self.keeps_run}

    def needs_reading(self, info: SessionInfo) -> bool:
        """Return whether the end depends on more of the session than its status."""
        if info.run_status is not None or info.learns == "result":
            return True
        return self.last.is_work or self.last.metadata is not None or bool(self.points)


class Ending(NamedTuple):
    """A session before its end, as read by queries.sessions.SESSIONS_TO_END.

    Attributes:
        info: The session.
        number: The session's number, from which the places of its memories follow.
        run_endings: For a run, the final run status of each status.
        run_has_ended: Whether the run is in a final run status already.
    """

    info: SessionInfo
    number: int
    run_endings: Mapping[str, str] | None
    run_has_ended: bool

    def ended(self, end: End) -> tuple[SessionInfo, JsonObject]:
        """Return the session after the end, and the argument of end_sessions, which applies only to this row version.

        Raises:
            ChatMemoryError: The last values cannot be stored.
        """
        change = changed(self.info, at_end(self.info, end.last, end.status))
        values = change[0] if change else {}
        info, row = self.info, end.row(self.info)
        row |= {name: values.get(name) for name in ("metadata", "details", "results", "progress", "error", "is_work")}
        row |= {"updated_at": info.updated_at.isoformat(), "last_active_at": info.last_active_at.isoformat()}
        row["has_result"] = info.learns == "result"
        row["is_work"] = row["is_work"] and end.by_user  # the end of a lost run is not its last activity
        return self._after(end.status, values), row

    def _after(self, status: Outcome, values: JsonObject) -> SessionInfo:
        info = self.info
        if values:
            metadata, details = json.loads(values["metadata"]), json.loads(values["details"])
            results = info.results if values["results"] is None else json.loads(values["results"])
            info = replace(info, metadata=metadata, details=details, results=results, error=values["error"])
        run_status = self.run_endings[status] if self.run_endings and not self.run_has_ended else info.run_status
        return replace(info, status=status, run_status=run_status, ended_at=datetime.now(UTC))


def ending_from_row(row: Sequence[Any]) -> Ending:
    """Build an ending from the columns of queries.sessions.SESSIONS_TO_END."""
    columns = len(SESSION_COLUMNS)
    return Ending(session_from_row(row[:columns]), *row[columns:])
