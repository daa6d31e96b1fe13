"""The changes that an update makes to a session, decided once the session is locked."""

from typing import Any, NamedTuple

from chatmemory import kinds
from chatmemory.errors import InvalidInputError, KindError, MoveError, SessionEndedError
from chatmemory.kinds import Kind
from chatmemory.records import Json, JsonObject, to_json
from chatmemory.sessions.records import SessionInfo
from chatmemory.validation import (
    MAX_METADATA_BYTES,
    check_id,
    check_json,
    check_object,
    check_text,
    check_title,
)

PAUSED, RUNNING = "paused", "running"  # the run statuses of kinds that can pause


class Changes(NamedTuple):
    """The requested changes; None leaves a value as it is."""

    title: str | None = None
    metadata: JsonObject | None = None
    details: JsonObject | None = None
    results: Json = None
    progress: float | None = None
    stage: str | None = None
    error: str | None = None
    run_status: str | None = None
    only_from: str | None = None  # the only run status that the move may start from
    reason: str | None = None
    by: str | None = None

    def checked(self) -> "Changes":
        """Return the checked changes.

        Raises:
            InvalidInputError: A value cannot be stored.
        """
        check_title(self.title)
        for field in ("stage", "error", "reason"):
            _check_words(getattr(self, field), field)
        return self._replace(
            metadata=check_object(self.metadata, "metadata"),
            details=check_object(self.details, "details"),
            results=None if self.results is None else check_json(self.results, "results"),
            progress=_check_progress(self.progress),
            by=None if self.by is None else check_id(self.by, "by"),
        )

    @property
    def is_work(self) -> bool:
        """True if a run reports its work, rather than a person editing title or metadata."""
        reported = (self.results, self.progress, self.stage, self.error)
        return bool(self.details) or any(each is not None for each in reported)


Event = tuple[str, str]  # type, data as JSON


def _check_words(text: str | None, field: str) -> None:
    if text is not None and check_text(text, field) > MAX_METADATA_BYTES:
        raise InvalidInputError(f"{field} is larger than {MAX_METADATA_BYTES} bytes; store a reference.")


def _check_progress(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 100:
        raise InvalidInputError("progress must be a number from 0 to 100.")
    return float(value)


def changed(old: SessionInfo, changes: Changes) -> tuple[JsonObject, list[Event]] | None:
    """Return the new values of a session's columns and the events to record; None: nothing changes.

    Raises:
        MoveError: The kind does not allow the move.
        SessionEndedError: The session has ended, and the change concerns its run.
        InvalidInputError: The details do not fit the kind, or the kind computes progress itself.
    """
    kind = kinds.find(old.kind)
    move = _move(old, kind, changes)
    if not old.is_active and (move or _is_about_a_run(changes, kind)):
        raise SessionEndedError(f"Session {old.id!r} is {old.status}; the record of its run can no longer change.")
    if move is None and not any((changes.title is not None, changes.metadata, changes.is_work)):
        return None
    details = _merged(old.details, changes.details, "details")
    if changes.details and kind is not None:
        kind.check_details(details)
    values = {
        "id": old.id,
        "title": old.title if changes.title is None else changes.title,
        "metadata": to_json(_merged(old.metadata, changes.metadata, "metadata")),
        "details": to_json(details),
        "results": None if changes.results is None else to_json(results_after(old.results, changes.results)),
        "progress": _progress(old, kind, changes, details),
        "stage": old.stage if changes.stage is None else changes.stage,
        "error": old.error if changes.error is None else changes.error,
        "run_status": move[1] if move else old.run_status,
        "is_final": bool(move and kind and move[1] in kind.finals),
        "is_work": old.is_active and (changes.is_work or move is not None),
    }
    return values, _events(old, kind, changes, move)


def at_end(old: SessionInfo, last: Changes, status: str) -> Changes:
    """Return the changes of an end: a run that completes gets progress 100, unless its kind computes progress."""
    kind = kinds.find(old.kind)
    if kind is None or old.run_status is None or status != "completed":
        return last
    counted = kind.progress_of({**old.details, **(last.details or {})})
    return last._replace(progress=100.0) if counted is None else last


def results_after(old: Json, new: Json) -> Json:
    """Merge results: two objects key by key; anything else is replaced."""
    return check_json({**old, **new}, "results") if isinstance(old, dict) and isinstance(new, dict) else new


def _merged(old: JsonObject, new: JsonObject | None, what: str) -> JsonObject:
    merged: JsonObject = check_json({**old, **(new or {})}, what)
    return merged


def _is_about_a_run(changes: Changes, kind: Kind | None) -> bool:
    if changes.details and kind is not None and kind.is_run:
        return True
    return any(each is not None for each in (changes.results, changes.progress, changes.stage, changes.error))


def _move(old: SessionInfo, kind: Kind | None, changes: Changes) -> tuple[str, str] | None:
    """Return the old and the new run status; None: no move."""
    new = changes.run_status
    if new is None:
        return None
    if kind is None:
        raise KindError(
            f"Session {old.id!r} has the kind {old.kind!r}, which is not registered in this process; "
            "call register_kind() first."
        )
    kind.check_move(old.id, old.run_status, new)
    assert old.run_status is not None
    if changes.only_from is not None:
        if changes.only_from not in kind.run_statuses:
            raise MoveError(f"Session {old.id!r} is {old.run_status}; a {kind.name} is never {changes.only_from}.")
        if old.run_status not in (changes.only_from, new):
            raise MoveError(f"Session {old.id!r} is {old.run_status} and not {changes.only_from}.")
    return None if new == old.run_status else (old.run_status, new)


def _progress(old: SessionInfo, kind: Kind | None, changes: Changes, details: JsonObject) -> float | None:
    counted = kind.progress_of(details) if kind is not None else None
    if changes.progress is None:
        return old.progress if counted is None else counted
    if old.run_status is None:
        raise InvalidInputError(f"A session of kind {old.kind!r} has no progress; only runs have.")
    if counted is not None and kind is not None and kind.progress is not None:
        raise InvalidInputError(f"progress follows from {' and '.join(kind.progress)} of the details; update those.")
    return changes.progress


def _events(old: SessionInfo, kind: Kind | None, changes: Changes, move: tuple[str, str] | None) -> list[Event]:
    """Return the events of an update; counters of progress get none, as they change too often."""
    events = []
    if changes.title is not None and changes.title != old.title:
        events.append(("renamed", to_json({"old": old.title, "new": changes.title})))
    counters = (kind.progress or ()) if kind is not None else ()
    updated: dict[str, Any] = {
        "metadata": sorted(changes.metadata or ()),
        "details": sorted(set(changes.details or ()) - set(counters)),
        "stage": changes.stage if changes.stage != old.stage else None,
    }
    updated = {name: value for name, value in updated.items() if value}
    if updated:
        events.append(("updated", to_json(updated)))
    if move:
        data = {"old": move[0], "new": move[1], "by": changes.by or old.user_id, "reason": changes.reason}
        events.append(("moved", to_json({name: value for name, value in data.items() if value is not None})))
    return events
