"""Background reporting of a run: never blocks the run; entries that cannot be delivered now are delivered later."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from chatmemory import ChatMemoryError, StorageError, Tenant
from chatmemory_training.json_values import clean_text, metric_name, to_json_value, valid_step
from chatmemory_training.metric_values import numbers_in
from chatmemory_training.provenance import provenance
from chatmemory_training.run_details import declared_details
from chatmemory_training.run_identity import RunIdentity
from chatmemory_training.spool import Entry, Spool
from chatmemory_training.spool_delivery import deliver_spools
from chatmemory_training.spool_replay import SpoolReplay

LOG = logging.getLogger("chatmemory_training")
BATCH_SIZE = 1000  # entries between two confirmations
FIRST_WAIT, MAX_WAIT = 0.2, 10.0  # seconds between two attempts to reach the database
LOST_AFTER, BEATS = 300, 10  # seconds without a beat after which a run is lost, and the beats in that time
MAX_ERROR_CHARACTERS = 20_000


class Reporter:
    """Records one run as a session, on a background thread.

    Args:
        tenant: The run's tenant; None: nothing is recorded.
        run: Which run it is.
        spool: The file that holds entries until the database has them; None: memory only.
        share: Whether the result is remembered for the whole tenant.
        lost_after: Seconds without a sign of life after which the run counts as lost, 1 or more.
    """

    def __init__(
        self,
        tenant: Tenant | None,
        run: RunIdentity,
        spool: Path | None,
        *,
        share: bool = False,
        lost_after: int = LOST_AFTER,
    ) -> None:
        self._tenant, self._run_identity, self._name, self._share = tenant, run, run.name, share
        self._spool = Spool(spool if tenant is not None else None)
        self._changed = threading.Condition()
        self._entries: deque[Entry] = deque(self._spool.read())
        self._replay = SpoolReplay(tenant, len(self._entries), lost_after) if tenant is not None else None
        self._beat_seconds = lost_after / BEATS
        self._next_beat = time.monotonic() + self._beat_seconds
        self._dropped: set[str] = set()  # names of values that are no numbers: said once
        self._last = 0.0
        self._closing = threading.Event()
        self._applied = 0  # entries that are written and not yet confirmed
        self._ended = False
        self._unswept = self._spool.path
        self._thread: threading.Thread | None = None
        self._is_delivering = False
        self._given_up = threading.Event()  # a later process delivers the spool
        self._on_closed: Callable[[bool], object] | None = None
        self._pid = os.getpid()
        self.problem: str | None = None  # the reason why recording stopped

    @property
    def session_id(self) -> str | None:
        """The session's id; None until the database has the session."""
        session = self._replay.session if self._replay else None
        return session.id if session is not None else None

    @property
    def is_forked(self) -> bool:
        """True in a forked child; only the parent records the run."""
        return os.getpid() != self._pid

    def begin(self, details: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None) -> None:
        """Begin the run, or go on with the one that is resumed; its provenance is of the process that does."""
        whence = {} if self._run_identity.contributes else {"provenance": provenance()}
        known = {"details": declared_details(details), "metadata": to_json_value({**whence, **(metadata or {})})}
        self._add(**self._run_identity.entry(), share_result=self._share, **known)

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics; values that are not numbers are skipped, and named in the log once."""
        numbers, refused = numbers_in(values)
        for name in refused.keys() - self._dropped:
            self._dropped.add(name)
            LOG.warning("%r of run %r is not recorded, now and later: %s", name, self._name, refused[name])
        if numbers and self._run_identity.contributes:
            numbers = {metric_name(f"rank{self._run_identity.rank}/{name}") or name: numbers[name] for name in numbers}
        if numbers:
            self._add(op="log", step=valid_step(step), values=numbers)

    def append(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Append messages, each with an id of its own."""
        self._add(op="append", messages=to_json_value(messages))

    def update(self, **changes: Any) -> None:
        """Update the run with the arguments of Session.update()."""
        self._add(op="update", changes=to_json_value(changes))

    def update_details(self, details: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """Update the run's details and metadata."""
        self._add(op="update", changes={"details": declared_details(details), "metadata": to_json_value(metadata)})

    def end(
        self, status: str, *, results: Any = None, details: Mapping[str, Any] | None = None, error: str | None = None
    ) -> None:
        """End the run: completed, failed or cancelled. Only the first call counts."""
        if self._run_identity.contributes:
            self.update(results={f"rank{self._run_identity.rank}": results} if results else None)
        elif not self._ended:
            self._ended = True
            fields = {
                "results": to_json_value(results),
                "details": declared_details(details),
                "share_result": self._share,
            }
            self._add(
                op="end", how={**fields, "error": error and clean_text(error)[-MAX_ERROR_CHARACTERS:]}, **{"as": status}
            )

    def close(self, seconds: float, on_closed: Callable[[bool], object] = bool) -> bool:
        """Wait until the database has everything, and return whether it has.

        Args:
            seconds: Longest wait, in seconds.
            on_closed: Called with the same answer once delivery has stopped: perhaps later, and on another thread.
        """
        if self.is_forked:
            return False
        with self._changed:
            self._closing.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(max(0.0, seconds))
        waiting = len(self._entries)
        if waiting:
            place = self._spool.path or "memory only, and are lost with this process"
            LOG.warning("%s entries of run %r wait in %s", waiting, self._name, place)
        with self._changed:
            self._on_closed = on_closed
        if waiting and self._spool.path is not None:
            self._given_up.set()
            if self._thread is not None:
                self._thread.join(FIRST_WAIT)
        self._notify_closed()
        return not waiting

    def abandon(self, release: Callable[[], object] | None = None) -> None:
        """End a run that nobody can end any more: its recording was collected, or the process exits."""
        if self._closing.is_set():
            return
        if threading.current_thread() is self._thread:  # collected there, perhaps in the middle of a write
            threading.Thread(target=self.abandon, args=(release,), name="chatmemory-training-end", daemon=True).start()
            return
        try:
            self.end("failed", error="lost: the recording was left without an end")
            self.close(FIRST_WAIT, lambda _: release() if release is not None else None)
        except RuntimeError as error:  # the interpreter exits, and starts no thread any more
            LOG.warning("run %r is left without an end: %s", self._name, error)
            if release is not None:
                release()

    def _notify_closed(self) -> None:
        """Close the spool and call on_closed, unless a thread still delivers."""
        with self._changed:
            if self._is_delivering or self._on_closed is None:
                return
            on_closed, self._on_closed = self._on_closed, None
        if not self._entries:
            self._spool.clear()
            self._spool.close()
        on_closed(not self._entries)

    def _add(self, **entry: Any) -> None:
        if self._tenant is None or self._closing.is_set() or self.is_forked:
            return
        with self._changed:
            self._last = entry["at"] = max(datetime.now(UTC).timestamp(), self._last + 2e-6)
            self._spool.add(entry)
            self._entries.append(entry)
            if self._thread is None:
                self._is_delivering = True
                self._thread = threading.Thread(target=self._run, name="chatmemory-training", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _resume_entry(self) -> Entry:
        """Return the first entry of an emptied spool: it names the session, for a process that finds the spool."""
        info = self._replay.session.info if self._replay and self._replay.session else None
        session = {} if info is None else {"session": info.id, "created_at": info.created_at.isoformat()}
        run = self._run_identity
        repeats = self._replay.repeats_before if self._replay else None
        return {
            "op": "go_on", "user": run.user, "attempt": run.attempt, "is_guest": run.contributes,
            "share_result": self._share, "repeats_before": repeats and repeats.timestamp(), **session,
        }  # fmt: skip

    def _run(self) -> None:
        try:
            self._deliver()
        finally:
            with self._changed:
                self._is_delivering = False
            self._notify_closed()

    def _deliver(self) -> None:
        """Deliver entries until there are none left and this is closed."""
        wait = FIRST_WAIT
        while self._has_work():
            try:
                self._deliver_batch()
                self._beat()
                wait = FIRST_WAIT
                self._sweep()
            except StorageError as error:
                if wait == FIRST_WAIT:
                    LOG.warning("run %r cannot be recorded now and is retried: %s", self._name, error)
                if self._closing.is_set():
                    self._given_up.wait(FIRST_WAIT)
                elif self._closing.wait(wait):  # close() is waiting: retry at once
                    wait = FIRST_WAIT
                wait = min(MAX_WAIT, 2 * wait)
            except Exception as error:  # noqa: BLE001  # a failed recording must not stop the run
                if self._given_up.is_set():  # the memory was closed meanwhile; close() has said what waits
                    return
                self.problem = str(error) if isinstance(error, ChatMemoryError) else type(error).__name__
                LOG.warning("recording of run %r stopped: %s", self._name, self.problem)
                return

    def _has_work(self) -> bool:
        with self._changed:
            while not self._entries and not self._closing.is_set():
                if not self._changed.wait(max(0.0, self._next_beat - time.monotonic())):
                    return True  # a beat is due
            return bool(self._entries) and not self._given_up.is_set()

    def _beat(self) -> None:
        """Say that the process is alive, if that is due."""
        if self._replay is not None and time.monotonic() >= self._next_beat:
            self._next_beat = time.monotonic() + self._beat_seconds
            self._replay.beat()

    def _sweep(self) -> None:
        """Deliver, once, the spools of earlier runs in the same directory."""
        path, self._unswept = self._unswept, None
        if path is not None and self._tenant is not None:
            deliver_spools(path.parent.parent, self._tenant)

    def _deliver_batch(self) -> None:
        assert self._replay is not None
        while self._applied < min(len(self._entries), BATCH_SIZE):
            self._replay.apply(self._entries[self._applied])
            self._applied += 1
        self._replay.confirm()
        with self._changed:
            for _ in range(self._applied):
                self._entries.popleft()
            delivered, self._applied = self._applied, 0
            if delivered and not self._entries:
                self._spool.clear()
                self._spool.add(self._resume_entry())
