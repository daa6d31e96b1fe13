"""Telling the database what a run has told: entries in their order, and none twice."""

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
from chatmemory_training.spool import Entry

REFUSED = (SessionEndedError, MoveError, InvalidInputError, MessageConflictError, SessionNotFoundError)
LOG = logging.getLogger("chatmemory_training")
ATTEMPT = "attempt"  # under this name a session's metadata holds which process told of it last
LATE = "late"  # and under this what a run told after others had ended its session


class Replay:
    """Applies the entries of one run to its session.

    Args:
        tenant: Whose run it is.
        left: How many of the first entries an earlier process left: of those the database may have some.
    """

    def __init__(self, tenant: Tenant, left: int = 0) -> None:
        self.session: Session | None = None
        self._tenant = tenant
        self._left = left
        self._known: set[tuple[str, datetime]] | None = None
        self._told: set[str] = set()
        self._attempt: str | None = None

    def apply(self, entry: Entry) -> None:
        """Tell the database of one entry; one that it refuses is logged and left out.

        Raises:
            StorageError: It cannot be told now; the same entry can be applied again.
            ChatMemoryError: The run cannot be recorded at all.
        """
        is_left = self._left > 0
        try:
            getattr(self, f"_{entry['op']}")(entry, is_left)
        except REFUSED as error:
            if entry["op"] == "begin" and not is_left:
                raise
            if not is_left or entry["op"] in ("begin", "go_on", "log"):  # of others the database may have it already
                self._warn(str(error))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if not is_left:
                raise
            self._warn(f"an entry that an earlier process left cannot be read ({type(error).__name__})")
        self._left = max(0, self._left - 1)

    def _warn(self, why: str) -> None:
        """Say once why entries are left out."""
        if why not in self._told:
            self._told.add(why)
            hint = " A user's runs end one another beyond max_sessions_per_user." if "is cancelled" in why else ""
            LOG.warning("the run's record lacks something: %s%s", why, hint)

    def confirm(self) -> None:
        """Wait until the database has what was applied.

        Raises:
            StorageError: It has not; nothing is lost.
        """
        if self.session is not None:
            self.session.flush()

    def _begin(self, entry: Entry, _is_left: bool) -> None:
        self._known = self.session = None
        try:
            self._begin_as(entry)
        except InvalidInputError as error:
            self._warn(str(error))
            self._begin_as({**entry, "details": {}, "metadata": {}})

    def _begin_as(self, entry: Entry) -> None:
        self.session = _find_or_create(self._tenant, entry)
        info = self.session.info
        self._attempt = entry["attempt"]
        if not info.is_active:
            return
        if info.metadata.get(ATTEMPT) != entry["attempt"]:
            self.session.update(metadata={**entry["metadata"], ATTEMPT: entry["attempt"]}, details=entry["details"])
        if self.session.info.run_status == "pending":
            self.session.move("running")

    def _go_on(self, entry: Entry, _is_left: bool) -> None:
        self._known = self.session = None
        session = self._tenant.sessions.get(entry["session"], user_id=entry["user"])
        if session.info.created_at.isoformat() != entry["created_at"]:
            raise SessionNotFoundError(f"Session {session.id!r} was erased, and another has its id.")
        self.session = session

    def _log(self, entry: Entry, is_left: bool) -> None:
        at = datetime.fromtimestamp(entry["at"], UTC)
        values = entry["values"]
        if is_left:
            known = self._points()
            values = {name: value for name, value in values.items() if (name, at) not in known}
        if self.session is not None and values:
            self.session.log_metrics(values, step=entry["step"], at=at)

    def _points(self) -> set[tuple[str, datetime]]:
        """What the session has already, by name and time."""
        if self._known is None and self.session is not None:
            series = self.session.metrics()
            self._known = {(name, point.at) for name, curve in series.items() for point in curve}
        return self._known or set()

    def _append(self, entry: Entry, _is_left: bool) -> None:
        if self.session is not None:
            self.session.append_many(entry["messages"])  # each has an id, so that it is there once

    def _update(self, entry: Entry, _is_left: bool) -> None:
        if self.session is not None:
            try:
                self.session.update(**entry["changes"])
            except SessionEndedError:
                self._keep_late(entry["changes"])
                raise

    def _end(self, entry: Entry, _is_left: bool) -> None:
        if self.session is None:
            return
        how: dict[str, Any] = entry["how"]
        try:
            info = self.session.refresh()
            if not info.is_active and info.metadata.get(ATTEMPT) != self._attempt:
                raise SessionEndedError(f"Session {info.id!r} was ended by another run of its name.")
            if entry["as"] == "cancelled":
                self.session.update(**{name: how[name] for name in ("results", "details") if name in how})
                self.session.cancel(reason=how.get("error"), share_result=how["share_result"])
            else:
                self.session.end(success=entry["as"] == "completed", **how)
        except (SessionEndedError, MoveError):
            self._keep_late({"ended_as": entry["as"], **how})
            raise

    def _keep_late(self, told: dict[str, Any]) -> None:
        """Keep what a run told after others had ended its session: beside it, as that changes no more."""
        assert self.session is not None
        late = self.session.refresh().metadata.get(LATE)
        known = {name: told[name] for name in ("ended_as", "results", "details", "stage", "error") if told.get(name)}
        self.session.update(metadata={LATE: merged(late if isinstance(late, dict) else {}, known)})


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Objects merged key by key, those inside them too; anything else is replaced."""
    inner = {
        name: merged(old[name], each) if isinstance(each, dict) and isinstance(old.get(name), dict) else each
        for name, each in new.items()
    }
    return {**old, **inner}


def _find_or_create(tenant: Tenant, entry: Entry) -> Session:
    """The session of this name that goes on, or a new one: NAME, or NAME.2 where NAME has ended or is not ours."""
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
                    metadata={**entry["metadata"], ATTEMPT: entry["attempt"]},
                    details=entry["details"],
                )
            except SessionExistsError:
                continue
        is_told = session.info.metadata.get(ATTEMPT) == entry["attempt"]
        if session.info.kind == entry["kind"] and (session.info.is_active or is_told):
            return session
    raise AssertionError("count() has no end")
