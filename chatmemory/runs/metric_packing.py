"""Packing of metric points into rows of up to 256, before they are written to Postgres."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

import uuid_utils

from chatmemory.sessions.records import SessionInfo

POINTS_PER_ROW = 256
MAX_OPEN_ROWS = 10_000  # rows with room for more points
LAST_STEP = 2**63 - 1


class Run(NamedTuple):
    """The session that metrics belong to; a later one with the same id has another birth."""

    tenant_id: str
    session_id: str
    born_at: datetime


def run_of(info: SessionInfo) -> Run:
    """Return the run of a session."""
    return Run(info.tenant_id, info.id, info.born_at)


class Logged(NamedTuple):
    """One call of log_metrics()."""

    run: Run
    step: int | None
    values: tuple[tuple[str, float], ...]
    at: float


@dataclass(slots=True)
class Packed:
    """The points of one metric in one row. Writing the same id again replaces the row."""

    run: Run
    name: str
    id: str = field(default_factory=lambda: str(uuid_utils.uuid7()))
    steps: list[int] = field(default_factory=list)
    readings: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    unsorted: bool = False

    def add(self, step: int, value: float, at: float) -> None:
        """Add a point."""
        self.unsorted = self.unsorted or (bool(self.steps) and step < self.steps[-1])
        self.steps.append(step)
        self.readings.append(value)
        self.times.append(at)

    def row(self) -> tuple[Any, ...]:
        """Return the columns of the row: the points and their extremes."""
        if self.unsorted:
            points = sorted(zip(self.steps, self.readings, self.times, strict=True), key=lambda point: point[0])
            self.steps, self.readings, self.times = map(list, zip(*points, strict=True))
            self.unsorted = False
        numbers = [value for value in self.readings if value == value] or self.readings  # NaN equals nothing
        low, high = (self.readings.index(extreme(numbers)) for extreme in (min, max))
        return (
            self.run.tenant_id,
            self.run.session_id,
            self.name,
            self.id,
            len(self.steps),
            *(_array(values) for values in (self.steps, self.readings, self.times)),
            *(self.steps[0], self.steps[-1]),
            *(self.readings[low], self.steps[low], self.times[low]),
            *(self.readings[high], self.steps[high], self.times[high]),
        )


def _array(values: Iterable[float]) -> str:
    """Return numbers as the text of a Postgres array: ten times faster than adapting each number."""
    return "{" + ",".join(map(repr, values)) + "}"


def packed_at_end(logged: Logged, step: int) -> list[Packed]:
    """Return the points that are logged with the end of a run, each in a row of its own."""
    rows = []
    for name, value in logged.values:
        rows.append(Packed(logged.run, name))
        rows[-1].add(step, value, logged.at)
    return rows


class Packer:
    """Packs points into rows and tracks the rows that are not written yet."""

    def __init__(self) -> None:
        self._open: dict[tuple[Run, str], Packed] = {}
        self._next: dict[Run, int] = {}
        self._unwritten: dict[str, Packed] = {}

    def needs_step(self, logged: Logged) -> bool:
        """Return whether the session's next step is unknown and needed; see go_on_at()."""
        return logged.step is None and logged.run not in self._next

    def go_on_at(self, logged: Logged, step: int) -> None:
        """Set the session's next step after the last step written; unwritten points are counted in this process."""
        packed = [row for row in self._unwritten.values() if row.run == logged.run]
        last = max((max(row.steps) for row in packed), default=-1)
        self._next.setdefault(logged.run, max(step, min(last + 1, LAST_STEP)))

    def add(self, logged: Logged) -> None:
        """Pack one call of log_metrics(); without a step it takes the next one."""
        run, step, values, at = logged
        if step is None or run in self._next:
            step = self._next[run] if step is None else step
            self._next[run] = max(min(step + 1, LAST_STEP), self._next[run])
        for name, value in values:
            packed = self._row_for(run, name)
            packed.add(step, value, at)
            self._unwritten[packed.id] = packed

    def _row_for(self, run: Run, name: str) -> Packed:
        packed = self._open.get((run, name))
        if packed is None or len(packed.steps) >= POINTS_PER_ROW:
            if len(self._open) >= MAX_OPEN_ROWS:
                self._open.pop(next(iter(self._open)))
            packed = self._open[run, name] = Packed(run, name)
        return packed

    def unwritten(self) -> list[list[Packed]]:
        """Return the rows to write, grouped by session."""
        runs: dict[Run, list[Packed]] = {}
        for packed in self._unwritten.values():
            runs.setdefault(packed.run, []).append(packed)
        return list(runs.values())

    def written(self, rows: Iterable[Packed]) -> None:
        """Remove rows that are written, or that never will be."""
        for packed in rows:
            self._unwritten.pop(packed.id, None)

    def forget(self, tenant_id: str, *session_ids: str) -> None:
        """Stop adding to the rows of sessions that have ended or were removed."""
        gone = {(tenant_id, session_id) for session_id in session_ids}
        for run in [run for run in self._next if run[:2] in gone]:
            del self._next[run]
        for key in [key for key in self._open if key[0][:2] in gone]:
            del self._open[key]

    @property
    def is_written(self) -> bool:
        """True if all rows are written."""
        return not self._unwritten

    def count(self) -> int:
        """Return the number of unwritten points."""
        return sum(len(packed.steps) for packed in self._unwritten.values())


Waiting = deque[Logged]
