"""Writing of a run's spooled entries to its session: in order, each once."""

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from chatmemory import (
    InvalidInputError,
    MessageConflictError,
    MoveError,
    Session,
    SessionEndedError,
    SessionInfo,
    SessionNotFoundError,
    StorageUnavailableError,
    Tenant,
)
from chatmemory_training.piecewise import append_piecewise, update_piecewise
from chatmemory_training.run_lookup import ATTEMPT, attempt_metadata, create_session, own_session, session_to_resume
from chatmemory_training.spool import Entry

REJECTIONS = (SessionEndedError, MoveError, InvalidInputError, MessageConflictError, SessionNotFoundError)
LOG = logging.getLogger("chatmemory_training")
LATE = "late"  # metadata key: updates that arrived after another process had ended or taken over the session
LOST, IDLE = "lost", "idle"  # reasons of ends that a process that is alive takes back


class SpoolReplay:
    """Applies the entries of one run to its session.

    Args:
        tenant: The run's tenant.
        leftover: Number of leading entries that an earlier process left; the database may have some of them already.
        lost_after: Seconds without a beat after which the run counts as lost; None: this process only delivers.
    """

    def __init__(self, tenant: Tenant, leftover: int = 0, lost_after: int | None = None) -> None:
        self.session: Session | None = None
        self._tenant = tenant
        self._leftover, self._lost_after = leftover, lost_after
        self._stored_points: set[tuple[str, datetime]] | None = None
        self._warnings: set[str] = set()
        self._attempt: str | None = None
        self._has_ended = False
        self._is_guest = False  # another process begins and ends the run
        self._ended_as: SessionInfo | None = None  # the run before this guest reopened it
        self._is_shared = False  # the run's result is the whole tenant's
        self._repeated: set[str] = set()  # metrics of which this attempt has logged a point
        self.repeats_before: datetime | None = None  # points of earlier attempts that this one may repeat

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
            if not is_leftover or entry["op"] in ("begin", "join", "go_on", "log"):  # it may have the others already
                self._warn(str(error))
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if not is_leftover:
                raise
            self._warn(f"a leftover entry of an earlier process cannot be read ({type(error).__name__})")
        self._leftover = max(0, self._leftover - 1)

    def beat(self) -> None:
        """Say that the run's process is alive, unless the run has ended.

        Raises:
            StorageError: The database cannot be reached.
        """
        if self.session is None or self._has_ended or self._is_guest or self._lost_after is None:
            return
        try:
            self.session.beat(self._lost_after)
        except SessionEndedError:
            self._revive()  # if not, the next entry says why it is rejected
        except SessionNotFoundError as error:
            self._warn(str(error))

    def _revive(self) -> bool:
        """Reopen the run if only silence has ended it, and this attempt is its last; return whether it goes on."""
        if self.session is None:
            return False
        info = self.session.refresh()
        if info.is_active or info.metadata.get(ATTEMPT) != self._attempt:
            return False
        history = self.session.status_history()
        last = history[-1].reason if history else None
        if self._is_guest:
            if last == LOST:  # the first process goes on with it, or nobody does
                return False
            self._ended_as = info  # the first process was faster; confirm() ends the run again as it was
            self.session.reopen_run(reason="another process of its job adds to it")
            return True
        if last not in (LOST, IDLE):
            return False
        self.session.reopen_run(reason="its process is alive" if self._lost_after else "it is delivered late")
        return True

    def _end_again(self) -> None:
        """End a run again that this process, which is not its first, has reopened."""
        ended, self._ended_as = self._ended_as, None
        if ended is not None and self.session is not None:
            try:
                if ended.status == "cancelled":
                    self.session.cancel(reason=ended.error, share_result=self._is_shared)
                else:
                    success = ended.status == "completed"
                    self.session.end(success=success, error=ended.error, share_result=self._is_shared)
            except StorageUnavailableError:
                self._ended_as = ended
                raise

    def end_as_lost(self) -> None:
        """End the run as failed if its entries lack its end, because its process is gone.

        Raises:
            StorageError: The database cannot be reached.
        """
        if self.session is None or self._has_ended or self._is_guest:
            return
        info = self.session.refresh()
        if info.is_active and info.metadata.get(ATTEMPT) == self._attempt:
            try:
                self.session.update(run_status="failed", reason=LOST, error="lost: its process is gone")
            except MoveError:
                self.session.refresh()  # it moved to a final status by itself
            self.session.end(success=False, keep_run_status=True)

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
            self._end_again()

    def _leave_session(self) -> Session | None:
        """Write what is still buffered of the session before, and return it."""
        self.confirm()
        last, self.session, self._stored_points, self._has_ended = self.session, None, None, False
        self._repeated, self.repeats_before = set(), None
        return last

    def _begin(self, entry: Entry, _is_leftover: bool) -> None:
        last = self._leave_session()
        try:
            self._begin_as(entry, last)
        except InvalidInputError:  # perhaps of one detail: begin without any, and add them one by one
            self._begin_as({**entry, "details": {}, "metadata": {}}, last)
            self._update_piecewise({name: entry[name] for name in ("details", "metadata")})

    def _begin_as(self, entry: Entry, last: Session | None) -> None:
        session, self._attempt = own_session(self._tenant, entry), entry["attempt"]
        resumed = session_to_resume(self._tenant, entry, last) if session is None else None
        if resumed is not None:
            if resumed.info.is_active:
                LOG.warning("run %r goes on in session %r, which was active", entry["name"], resumed.id)
            else:
                resumed.reopen_run(reason="resumed")
            resumed.update(metadata=attempt_metadata(entry), details=entry["details"])
        session = session or resumed or create_session(self._tenant, entry)
        resume = entry.get("resume")
        adds = isinstance(resume, str) and resume != session.id  # to an attempt: it repeats nothing of that
        if (resume or entry.get("is_restart")) and not adds:
            self.repeats_before = datetime.fromtimestamp(entry["at"], UTC)
        self.session = session.with_own_buffer()
        if not self.session.info.is_active and not self._revive():
            return
        if self.session.info.run_status == "pending":
            self.session.move("running")
        self.beat()

    def _join(self, entry: Entry, is_leftover: bool) -> None:
        """Find the run that another process of the job records."""
        self._leave_session()
        self._is_guest, self._attempt, self._is_shared = True, entry["attempt"], entry.get("share_result", False)
        session = own_session(self._tenant, entry)
        if session is None and is_leftover:  # that process, if there was any, is gone too
            raise SessionNotFoundError(f"The first process of run {entry['name']!r} has not recorded it.")
        if session is None:
            raise StorageUnavailableError(f"The first process of run {entry['name']!r} has not begun it yet.")
        self.session = session.with_own_buffer()

    def _go_on(self, entry: Entry, _is_leftover: bool) -> None:
        self._leave_session()
        self._attempt, self._is_guest = entry.get("attempt", self._attempt), entry.get("is_guest", False)
        self._is_shared, before = entry.get("share_result", False), entry.get("repeats_before")
        self.repeats_before = None if before is None else datetime.fromtimestamp(before, UTC)
        session = self._tenant.sessions.get(entry["session"], user_id=entry["user"])
        if session.info.created_at.isoformat() != entry["created_at"]:
            raise SessionNotFoundError(f"Session {session.id!r} was erased, and a new session has its id.")
        self.session = session.with_own_buffer()

    def _log(self, entry: Entry, is_leftover: bool) -> None:
        at = datetime.fromtimestamp(entry["at"], UTC)
        values = entry["values"]
        self._drop_repeated(values.keys(), entry["step"])
        if is_leftover:
            stored = self._points()
            values = {name: value for name, value in values.items() if (name, at) not in stored}
        if self.session is not None and values:
            session, step = self.session, entry["step"]
            self._unless_silent(lambda: session.log_metrics(values, step=step, at=at))

    def _drop_repeated(self, names: Iterable[str], step: int | None) -> None:
        """Remove the points of earlier attempts that a resumed run repeats, of each metric from its first step on."""
        new = set(names) - self._repeated
        if self.repeats_before is None or self.session is None or not new:
            return
        gone = 0 if step is None else self.session.drop_metrics(step, names=sorted(new), before=self.repeats_before)
        self._repeated |= new
        if gone:
            LOG.info(
                "session %r repeats step %s: it loses %s points of an earlier attempt", self.session.id, step, gone
            )

    def _points(self) -> set[tuple[str, datetime]]:
        """Return the name and time of each point that the session already has."""
        if self._stored_points is None and self.session is not None:
            series = self.session.metrics()
            self._stored_points = {(name, point.at) for name, curve in series.items() for point in curve}
        return self._stored_points or set()

    def _append(self, entry: Entry, _is_leftover: bool) -> None:
        if self.session is not None:
            session, messages = self.session, entry["messages"]
            try:
                self._unless_silent(lambda: session.append_many(messages))  # stored once: each has an id
            except InvalidInputError:
                self._warn_of(append_piecewise(session, messages))

    def _update(self, entry: Entry, _is_leftover: bool) -> None:
        if self.session is not None:
            session, changes = self.session, entry["changes"]
            try:
                self._unless_silent(lambda: session.update(**changes))
            except InvalidInputError:
                self._update_piecewise(changes)
            except SessionEndedError:
                self._store_late(changes)
                raise

    def _unless_silent(self, write: Callable[[], object]) -> None:
        """Write; if the session was ended because it was silent, reopen it first."""
        try:
            write()
        except SessionEndedError:
            if not self._revive():
                raise
            write()

    def _end(self, entry: Entry, _is_leftover: bool) -> None:
        if self.session is None:
            return
        fields: dict[str, Any] = entry["how"]
        try:
            info = self.session.refresh()
            if info.metadata.get(ATTEMPT) != self._attempt:
                raise SessionEndedError(f"Session {info.id!r} was taken up by another run of the same name.")
            self._revive()
            try:
                self._end_as(entry["as"], fields)
            except InvalidInputError:  # a run always ends
                self._update_piecewise({name: fields[name] for name in ("results", "details") if name in fields})
                self._end_as(entry["as"], {"share_result": fields["share_result"]})
        except (SessionEndedError, MoveError):
            self._store_late({"ended_as": entry["as"], **fields})
            raise
        finally:
            self._has_ended = True

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
