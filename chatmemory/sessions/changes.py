"""The changes that an update makes to a session, decided once the session is locked."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from chatmemory import kinds
from chatmemory.errors import InvalidInputError, KindError, MoveError, SessionEndedError
from chatmemory.kinds import Kind
from chatmemory.records import Json, JsonObject, shorten, to_json
from chatmemory.sessions.fitting import cut_text, fitted, fitted_value, storable
from chatmemory.sessions.records import SessionInfo
from chatmemory.validation import check_id, check_mapping, check_text, check_title, check_values

MAX_NAMES, MAX_NAME_CHARACTERS = 100, 100  # of changed values in an entry of the timeline
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
    is_last: bool = False  # with an end: at_end() finds other names for details that do not fit the kind

    def checked(self) -> "Changes":
        """Return the checked changes.

        Raises:
            InvalidInputError: A value cannot be stored.
        """
        check_title(self.title)
        for field in ("stage", "error", "reason"):
            if getattr(self, field) is not None:
                check_text(getattr(self, field), field)
        return self._replace(
            metadata=check_values(check_mapping(self.metadata, "metadata"), "metadata"),
            details=check_values(check_mapping(self.details, "details"), "details"),
            results=None if self.results is None else check_values(self.results, "results"),
            stage=cut_text(self.stage) if self.stage else self.stage,
            error=cut_text(self.error) if self.error else self.error,
            reason=cut_text(self.reason) if self.reason else self.reason,
            progress=_check_progress(self.progress),
            by=None if self.by is None else check_id(self.by, "by"),
        )

    def at_the_end(self) -> "Changes":
        """Return the checked last values of a session: what JSON cannot represent is marked, and does not keep it open.

        Raises:
            InvalidInputError: An argument is not of its type.
        """
        values: JsonObject = {name: check_mapping(getattr(self, name), name) for name in ("metadata", "details")}
        values |= {name: getattr(self, name) for name in ("results", "error")}
        if not isinstance(self.error, str):
            del values["error"]
        stored: Any = {name: storable(value) for name, value in values.items()}
        return self._replace(**stored, is_last=True).checked()

    @property
    def is_work(self) -> bool:
        """True if a run reports its work, rather than a person editing title or metadata."""
        reported = (self.results, self.progress, self.stage, self.error)
        return bool(self.details) or any(each is not None for each in reported)


Event = tuple[str, str]  # type, data as JSON


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
    details = fitted(old.details, changes.details or {})
    if changes.details and kind is not None and not changes.is_last:
        kind.check_details(details)
    values = {
        "id": old.id,
        "title": old.title if changes.title is None else changes.title,
        "metadata": to_json(fitted(old.metadata, changes.metadata or {})),
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
    """Return the changes of an end: a run that completes gets progress 100, unless its kind computes progress.

    Details that do not fit the kind are stored as NAME_as_given: they do not keep a run from ending.
    """
    kind = kinds.find(old.kind)
    if kind is not None and last.details:
        last = last._replace(details=_fitting_kind(kind, old.details, last.details))
    if kind is None or old.run_status is None or status != "completed":
        return last
    counted = kind.progress_of({**old.details, **(last.details or {})})
    return last._replace(progress=100.0) if counted is None else last


def _fitting_kind(kind: Kind, old: JsonObject, new: JsonObject) -> JsonObject:
    """Return new details, with other names for those that the kind refuses."""
    if _fits(kind, {**old, **new}):
        return new
    return {name if _fits(kind, {**old, name: value}) else f"{name}_as_given": value for name, value in new.items()}


def _fits(kind: Kind, details: JsonObject) -> bool:
    try:
        kind.check_details(details)
    except InvalidInputError:
        return False
    return True


def results_after(old: Json, new: Json) -> Json:
    """Merge results: two objects key by key; anything else is replaced."""
    if isinstance(new, dict):
        return fitted(old if isinstance(old, dict) else {}, new)
    value: Json = fitted_value(new)
    return value


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
        "metadata": _listed(changes.metadata or ()),
        "details": _listed(set(changes.details or ()) - set(counters)),
        "stage": changes.stage if changes.stage != old.stage else None,
    }
    updated = {name: value for name, value in updated.items() if value}
    if updated:
        events.append(("updated", to_json(updated)))
    if move:
        data = {"old": move[0], "new": move[1], "by": changes.by or old.user_id, "reason": changes.reason}
        events.append(("moved", to_json({name: value for name, value in data.items() if value is not None})))
    return events


def _listed(names: Iterable[str]) -> list[str]:
    """Return names for the timeline: the first of them, shortened."""
    return [shorten(name, MAX_NAME_CHARACTERS) for name in sorted(names)[:MAX_NAMES]]
