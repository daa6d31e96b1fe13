"""Points of metrics packed into rows, up to 256 in each, on their way to Postgres."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import uuid_utils

if TYPE_CHECKING:
    pass

PACKED = 256  # points in a row, at most


MOST_OPEN = 10_000  # rows that may still grow


LAST_STEP = 2**63 - 1


class Logged(NamedTuple):
    """One call of log_metrics."""

    tenant_id: str
    session_id: str
    step: int | None
    values: tuple[tuple[str, float], ...]
    at: float


@dataclass(slots=True)
class Packed:
    """Points of one metric that are stored in one row; written again under the same id, the row is replaced."""

    tenant_id: str
    session_id: str
    name: str
    id: str = field(default_factory=lambda: str(uuid_utils.uuid7()))
    steps: list[int] = field(default_factory=list)
    readings: list[float] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    unsorted: bool = False

    def add(self, step: int, value: float, at: float) -> None:
        """One point more."""
        self.unsorted = self.unsorted or (bool(self.steps) and step < self.steps[-1])
        self.steps.append(step)
        self.readings.append(value)
        self.times.append(at)

    def row(self) -> tuple[Any, ...]:
        """What the database gets: the points, and which of them are the extremes."""
        if self.unsorted:
            points = sorted(zip(self.steps, self.readings, self.times, strict=True), key=lambda point: point[0])
            self.steps, self.readings, self.times = map(list, zip(*points, strict=True))
            self.unsorted = False
        numbers = [value for value in self.readings if value == value] or self.readings  # NaN equals nothing
        low, high = (self.readings.index(extreme(numbers)) for extreme in (min, max))
        return (
            self.tenant_id,
            self.session_id,
            self.name,
            self.id,
            len(self.steps),
            *(_array(values) for values in (self.steps, self.readings, self.times)),
            *(self.steps[0], self.steps[-1]),
            *(self.readings[low], self.steps[low], self.times[low]),
            *(self.readings[high], self.steps[high], self.times[high]),
        )


def _array(values: Iterable[float]) -> str:
    """Numbers as Postgres reads an array: as text, which costs a tenth of what adapting each of them does."""
    return "{" + ",".join(map(repr, values)) + "}"


def packed_at_end(logged: Logged, step: int) -> list[Packed]:
    """The points that come with the end of a run, each in a row of its own."""
    rows = []
    for name, value in logged.values:
        rows.append(Packed(logged.tenant_id, logged.session_id, name))
        rows[-1].add(step, value, logged.at)
    return rows


class Packer:
    """Packs points into rows, and knows which rows are still to be written."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, str], Packed] = {}
        self._next: dict[tuple[str, str], int] = {}
        self._unwritten: dict[str, Packed] = {}

    def needs_step(self, logged: Logged) -> bool:
        """Whether it must be told first where the session's steps go on."""
        return logged.step is None and logged[:2] not in self._next

    def go_on_at(self, logged: Logged, step: int) -> None:
        """Say which step comes next in this session, of what is written; what is not yet is known here."""
        packed = [row for row in self._unwritten.values() if (row.tenant_id, row.session_id) == logged[:2]]
        last = max((max(row.steps) for row in packed), default=-1)
        self._next.setdefault(logged[:2], max(step, min(last + 1, LAST_STEP)))

    def add(self, logged: Logged) -> None:
        """Pack one call; what has no step of its own takes the next."""
        tenant_id, session_id, step, values, at = logged
        session = (tenant_id, session_id)
        if step is None or session in self._next:
            step = self._next[session] if step is None else step
            self._next[session] = max(min(step + 1, LAST_STEP), self._next[session])
        for name, value in values:
            packed = self._row_for((tenant_id, session_id, name))
            packed.add(step, value, at)
            self._unwritten[packed.id] = packed

    def _row_for(self, key: tuple[str, str, str]) -> Packed:
        packed = self._open.get(key)
        if packed is None or len(packed.steps) >= PACKED:
            if len(self._open) >= MOST_OPEN:
                self._open.pop(next(iter(self._open)))
            packed = self._open[key] = Packed(*key)
        return packed

    def unwritten(self) -> list[list[Packed]]:
        """The rows to write, session by session."""
        sessions: dict[tuple[str, str], list[Packed]] = {}
        for packed in self._unwritten.values():
            sessions.setdefault((packed.tenant_id, packed.session_id), []).append(packed)
        return list(sessions.values())

    def written(self, rows: Iterable[Packed]) -> None:
        """These stand in the database, or never will."""
        for packed in rows:
            self._unwritten.pop(packed.id, None)

    def forget(self, tenant_id: str, *session_ids: str) -> None:
        """Let no row of sessions that have ended, or are gone, grow any more."""
        gone = {(tenant_id, session_id) for session_id in session_ids}
        for session in gone & self._next.keys():
            del self._next[session]
        for key in [key for key in self._open if key[:2] in gone]:
            del self._open[key]

    @property
    def is_written(self) -> bool:
        """Whether there is nothing to write."""
        return not self._unwritten

    def count(self) -> int:
        """How many points are still to be written."""
        return sum(len(packed.steps) for packed in self._unwritten.values())


Waiting = deque[Logged]
