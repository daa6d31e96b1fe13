"""Writing of a run's spooled entries to its session: in order, each once."""

import logging
from datetime import UTC, datetime
from itertools import count
from typing import Any

from chatmemory import (
    InvalidInputError,
    MessageConflictError,
    MoveError,
    Session,
    SessionEndedError,
    SessionExistsError,
    SessionNotFoundError,
    Tenant,
)
from chatmemory_training.piecewise import append_piecewise, update_piecewise
from chatmemory_training.spool import Entry

REJECTIONS = (SessionEndedError, MoveError, InvalidInputError, MessageConflictError, SessionNotFoundError)
LOG = logging.getLogger("chatmemory_training")
ATTEMPT = "attempt"  # metadata key: the attempt that recorded to the session last
LATE = "late"  # metadata key: updates that arrived after another process had ended the session


class SpoolReplay:
    """Applies the entries of one run to its session.

    Args:
        tenant: The run's tenant.
        leftover: Number of leading entries that an earlier process left; the database may have some of them already.
    """

    def __init__(self, tenant: Tenant, leftover: int = 0) -> None:
        self.session: Session | None = None
        self._tenant = tenant
        self._leftover = leftover
        self._stored_points: set[tuple[str, datetime]] | None = None
        self._warnings: set[str] = set()
        self._attempt: str | None = None

    def apply(self, entry: Entry) -> None:
        """Write one entry to the database; log and skip an entry that it rejects.

        Raises:
            StorageError: The database cannot be reached; the same entry can be applied again.
            ChatMemoryError: The run cannot be recorded at all.
        """
        is_leftover = self._leftover > 0
        try:
            getattr(self, f"_{entry['op']}")(entry, is_leftover)
        except REJECTIONS as error:
            if entry["op"] == "begin" and not is_leftover:
                raise
            if not is_leftover or entry["op"] in ("begin", "go_on", "log"):  # the database may have the others already
                self._warn(str(error))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if not is_leftover:
                raise
            self._warn(f"a leftover entry of an earlier process cannot be read ({type(error).__name__})")
        self._leftover = max(0, self._leftover - 1)

    def _warn(self, why: str) -> None:
        """Log the reason for a skipped entry, each reason once."""
        if why not in self._warnings:
            self._warnings.add(why)
            LOG.warning("the run's record is incomplete: %s", why)

    def confirm(self) -> None:
        """Wait until the database has the applied entries.

        Raises:
            StorageError: The database cannot be reached; nothing is lost.
        """
        if self.session is not None:
            self.session.flush()

    def _begin(self, entry: Entry, _is_leftover: bool) -> None:
        self._stored_points = self.session = None
        try:
            self._begin_as(entry)
        except InvalidInputError:  # perhaps of one detail: begin without any, and add them one by one
            self._begin_as({**entry, "details": {}, "metadata": {}})
            self._update_piecewise({name: entry[name] for name in ("details", "metadata")})

    def _begin_as(self, entry: Entry) -> None:
        self.session = _find_or_create(self._tenant, entry)
        info = self.session.info
        self._attempt = entry["attempt"]
        if not info.is_active:
            return
        if info.metadata.get(ATTEMPT) != entry["attempt"]:
            self.session.update(metadata={ATTEMPT: entry["attempt"], **entry["metadata"]}, details=entry["details"])
        if self.session.info.run_status == "pending":
            self.session.move("running")

    def _go_on(self, entry: Entry, _is_leftover: bool) -> None:
        self._stored_points = self.session = None
        session = self._tenant.sessions.get(entry["session"], user_id=entry["user"])
        if session.info.created_at.isoformat() != entry["created_at"]:
            raise SessionNotFoundError(f"Session {session.id!r} was erased, and a new session has its id.")
        self.session = session

    def _log(self, entry: Entry, is_leftover: bool) -> None:
        at = datetime.fromtimestamp(entry["at"], UTC)
        values = entry["values"]
        if is_leftover:
            stored = self._points()
            values = {name: value for name, value in values.items() if (name, at) not in stored}
        if self.session is not None and values:
            self.session.log_metrics(values, step=entry["step"], at=at)

    def _points(self) -> set[tuple[str, datetime]]:
        """Return the name and time of each point that the session already has."""
        if self._stored_points is None and self.session is not None:
            series = self.session.metrics()
            self._stored_points = {(name, point.at) for name, curve in series.items() for point in curve}
        return self._stored_points or set()

    def _append(self, entry: Entry, _is_leftover: bool) -> None:
        if self.session is not None:
            try:
                self.session.append_many(entry["messages"])  # stored once: each has an id
            except InvalidInputError:
                self._warn_of(append_piecewise(self.session, entry["messages"]))

    def _update(self, entry: Entry, _is_leftover: bool) -> None:
        if self.session is not None:
            try:
                self.session.update(**entry["changes"])
            except InvalidInputError:
                self._update_piecewise(entry["changes"])
            except SessionEndedError:
                self._store_late(entry["changes"])
                raise

    def _end(self, entry: Entry, _is_leftover: bool) -> None:
        if self.session is None:
            return
        fields: dict[str, Any] = entry["how"]
        try:
            info = self.session.refresh()
            if not info.is_active and info.metadata.get(ATTEMPT) != self._attempt:
                raise SessionEndedError(f"Session {info.id!r} was ended by another run of the same name.")
            try:
                self._end_as(entry["as"], fields)
            except InvalidInputError:  # a run always ends
                self._update_piecewise({name: fields[name] for name in ("results", "details") if name in fields})
                self._end_as(entry["as"], {"share_result": fields["share_result"]})
        except (SessionEndedError, MoveError):
            self._store_late({"ended_as": entry["as"], **fields})
            raise

    def _end_as(self, status: str, fields: dict[str, Any]) -> None:
        assert self.session is not None
        if status == "cancelled":
            self.session.update(**{name: fields[name] for name in ("results", "details") if name in fields})
            self.session.cancel(reason=fields.get("error"), share_result=fields["share_result"])
        else:
            self.session.end(success=status == "completed", **fields)

    def _update_piecewise(self, changes: dict[str, Any]) -> None:
        if self.session is not None and self.session.info.is_active:
            self._warn_of(update_piecewise(self.session, changes))

    def _warn_of(self, refused: dict[str, str]) -> None:
        for path, reason in refused.items():
            self._warn(f"{path} is not stored: {reason}")

    def _store_late(self, update: dict[str, Any]) -> None:
        """Store an update that arrived after the session's end in its metadata, as the session itself is final."""
        assert self.session is not None
        late = self.session.refresh().metadata.get(LATE)
        fields = {
            name: update[name] for name in ("ended_as", "results", "details", "stage", "error") if update.get(name)
        }
        self.session.update(metadata={LATE: merge_deep(late if isinstance(late, dict) else {}, fields)})


def merge_deep(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Merge dicts key by key, nested dicts too; any other value is replaced."""
    inner = {
        name: merge_deep(old[name], each) if isinstance(each, dict) and isinstance(old.get(name), dict) else each
        for name, each in new.items()
    }
    return {**old, **inner}


def _find_or_create(tenant: Tenant, entry: Entry) -> Session:
    """Return the active session of this name, or create one: NAME, or NAME.2 if NAME has ended or is another user's."""
    for number in count(1):
        id = entry["name"] if number == 1 else f"{entry['name']}.{number}"
        try:
            session = tenant.sessions.get(id, user_id=entry["user"])
        except SessionNotFoundError:
            try:
                return tenant.sessions.create(
                    session_id=id,
                    user_id=entry["user"],
                    kind=entry["kind"],
                    title=entry["name"],
                    metadata={ATTEMPT: entry["attempt"], **entry["metadata"]},
                    details=entry["details"],
                    on_limit="exceed",  # no new run may end another one
                )
            except SessionExistsError:
                continue
        is_same_attempt = session.info.metadata.get(ATTEMPT) == entry["attempt"]
        if session.info.kind == entry["kind"] and (session.info.is_active or is_same_attempt):
            return session
    raise AssertionError("count() has no end")
