"""A run's way into the database: never in the way of the run, and later where it cannot be now."""

import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from getpass import getuser
from pathlib import Path
from typing import Any
from uuid import uuid4

from chatmemory import ChatMemoryError, StorageError, Tenant
from chatmemory_training.delivery import deliver_spools
from chatmemory_training.details import known_details
from chatmemory_training.replay import Replay
from chatmemory_training.spool import Entry, Spool
from chatmemory_training.values import clean, is_name, number, plain, whole

LOG = logging.getLogger("chatmemory_training")
AT_ONCE = 1000  # entries between two confirmations
FIRST_WAIT, LONGEST_WAIT = 0.2, 10.0  # seconds before the database is asked again
LONGEST_ERROR = 20_000  # characters


class Reporter:
    """Records one run as a session, on a thread of its own.

    Args:
        tenant: Whose it is; None: nothing is recorded.
        user_id: Its user; None: who runs this process.
        kind: training or testing.
        name: The run's; its session has this id, and a number after it where that is taken.
        spool: Where entries wait until the database has them; None: in memory alone.
        share: Whether its result is remembered for the whole tenant.
    """

    def __init__(
        self, tenant: Tenant | None, user_id: object, kind: str, name: str, spool: Path | None, share: bool = False
    ) -> None:
        self._tenant, self._kind, self._name, self._share = tenant, kind, name, share
        self._user = str(_user() if user_id is None else user_id)
        self._spool = Spool(spool if tenant is not None else None)
        self._changed = threading.Condition()
        self._entries: deque[Entry] = deque(self._spool.read())
        self._replay = Replay(tenant, len(self._entries)) if tenant is not None else None
        self._last = 0.0
        self._closing = threading.Event()
        self._is_delivered = False  # the next entry is the first of an empty file
        self._applied = 0  # entries that the database was told, and has not confirmed
        self._ended = False
        self._unswept = self._spool.path
        self._thread: threading.Thread | None = None
        self._is_delivering = False
        self._given_up = threading.Event()  # what waits in the file is somebody else's to deliver
        self._then: Callable[[bool], object] | None = None
        self._pid = os.getpid()
        self.problem: str | None = None  # why it is recorded no further

    @property
    def session_id(self) -> str | None:
        """The session's id, once the database has it."""
        session = self._replay.session if self._replay else None
        return session.id if session is not None else None

    @property
    def is_forked(self) -> bool:
        """Whether this is a forked child of the process whose run it is: that one alone tells of it."""
        return os.getpid() != self._pid

    def begin(self, details: Mapping[str, Any] | None = None, metadata: Mapping[str, Any] | None = None) -> None:
        """The run begins, or goes on under the same name."""
        self._add(
            op="begin",
            attempt=str(uuid4()),
            user=self._user,
            kind=self._kind,
            name=self._name,
            details=known_details(details),
            metadata=plain(metadata or {}),
        )

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Numbers that the run has measured; what is no number is left out."""
        found = {clean(str(name)): number(value) for name, value in values.items()}
        numbers = {name: value for name, value in found.items() if value is not None and is_name(name)}
        if numbers:
            self._add(op="log", step=whole(step), values=numbers)

    def append(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Messages of the run, each with an id of its own."""
        self._add(op="append", messages=plain(messages))

    def update(self, **changes: Any) -> None:
        """What is known of the run, as Session.update() takes it."""
        self._add(op="update", changes=plain(changes))

    def update_details(self, details: Mapping[str, Any], metadata: Mapping[str, Any]) -> None:
        """What is known of the run now."""
        self._add(op="update", changes={"details": known_details(details), "metadata": plain(metadata)})

    def end(
        self, status: str, *, results: Any = None, details: Mapping[str, Any] | None = None, error: str | None = None
    ) -> None:
        """The run is over: completed, failed or cancelled. Only the first end counts."""
        if not self._ended:
            self._ended = True
            how = {"results": plain(results), "details": known_details(details), "share_result": self._share}
            self._add(op="end", how={**how, "error": error and clean(error)[-LONGEST_ERROR:]}, **{"as": status})

    def close(self, seconds: float, then: Callable[[bool], object] = bool) -> bool:
        """Wait at most so long until the database has everything; tell whether it has.

        Args:
            seconds: How long.
            then: Is told the same, once nothing is on its way any more: that may be a little later, on another thread.
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
            where = self._spool.path or "no file: they are lost with this process"
            LOG.warning("%s entries of run %r wait in %s", waiting, self._name, where)
        with self._changed:
            self._then = then
        if waiting and self._spool.path is not None:
            self._given_up.set()
            if self._thread is not None:
                self._thread.join(FIRST_WAIT)
        self._finished()
        return not waiting

    def _finished(self) -> None:
        """Close the file and tell so, unless there is a thread that still delivers."""
        with self._changed:
            if self._is_delivering or self._then is None:
                return
            then, self._then = self._then, None
        if not self._entries:
            self._spool.close()
        then(not self._entries)

    def _add(self, **entry: Any) -> None:
        if self._tenant is None or self._closing.is_set() or self.is_forked:
            return
        with self._changed:
            self._last = entry["at"] = max(datetime.now(UTC).timestamp(), self._last + 2e-6)
            if self._is_delivered:
                self._spool.add(self._going_on())
                self._is_delivered = False
            self._spool.add(entry)
            self._entries.append(entry)
            if self._thread is None:
                self._is_delivering = True
                self._thread = threading.Thread(target=self._run, name="chatmemory-training", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _going_on(self) -> Entry:
        """What an empty file begins with, so that a later process finds the session, and no other of its name."""
        info = self._replay.session.info if self._replay and self._replay.session else None
        known = {} if info is None else {"session": info.id, "created_at": info.created_at.isoformat()}
        return {"op": "go_on", "user": self._user, **known}

    def _run(self) -> None:
        try:
            self._deliver()
        finally:
            with self._changed:
                self._is_delivering = False
            self._finished()

    def _deliver(self) -> None:
        """Tell the database, as long as there is something to tell, and until this is closed."""
        wait = FIRST_WAIT
        while self._has_work():
            try:
                self._tell()
                wait = FIRST_WAIT
                self._sweep()
            except StorageError as error:
                if wait == FIRST_WAIT:
                    LOG.warning("run %r cannot be recorded now, and will be later: %s", self._name, error)
                if self._closing.is_set():
                    self._given_up.wait(FIRST_WAIT)
                elif self._closing.wait(wait):  # whoever closes this waits for it
                    wait = FIRST_WAIT
                wait = min(LONGEST_WAIT, 2 * wait)
            except Exception as error:  # noqa: BLE001  # a record must not cost the run
                self.problem = str(error) if isinstance(error, ChatMemoryError) else type(error).__name__
                LOG.warning("run %r is recorded no further: %s", self._name, self.problem)
                return

    def _has_work(self) -> bool:
        with self._changed:
            while not self._entries and not self._closing.is_set():
                self._changed.wait()
            return bool(self._entries) and not self._given_up.is_set()

    def _sweep(self) -> None:
        """Deliver, once, what earlier runs beside this one could not."""
        path, self._unswept = self._unswept, None
        if path is not None and self._tenant is not None:
            deliver_spools(path.parent.parent, self._tenant)

    def _tell(self) -> None:
        assert self._replay is not None
        while self._applied < min(len(self._entries), AT_ONCE):
            self._replay.apply(self._entries[self._applied])
            self._applied += 1
        self._replay.confirm()
        with self._changed:
            for _ in range(self._applied):
                self._entries.popleft()
            self._applied = 0
            if not self._entries:
                self._spool.clear()
                self._is_delivered = True


def _user() -> str:
    try:
        return getuser()
    except (OSError, KeyError, ImportError):  # no entry for this user, as in some containers
        return "nobody"
