"""What a run has measured: points on their way to the database, and the curves that come back."""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import pairwise
from operator import index
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import uuid_utils

from chatmemory._public import public
from chatmemory.errors import InvalidInputError, MissingExtraError
from chatmemory.models import SessionInfo, session_from_row
from chatmemory.validation import check_count, check_id

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

PACKED = 256  # points in a row, at most
MOST_OPEN = 10_000  # rows that may still grow
LAST_STEP = 2**63 - 1

# What is better when it is less, as a part of a metric's name.
_LESS_IS_BETTER = (
    *("loss", "error", "err", "mse", "mae", "rmse", "mape", "nll", "perplexity", "ppl", "wer", "cer", "fid"),
    *("regret", "cost", "latency", "duration", "seconds", "time"),
)


class Logged(NamedTuple):
    """One call of log_metrics."""

    tenant_id: str
    session_id: str
    step: int | None
    values: tuple[tuple[str, float], ...]
    at: float


def check_metrics(values: Mapping[str, Any], step: object) -> tuple[int | None, tuple[tuple[str, float], ...]]:
    """Accept what log_metrics is given: numbers of any library, under names.

    Raises:
        InvalidInputError: It names what is no number.
    """
    if type(values) is not dict and not isinstance(values, Mapping):
        raise InvalidInputError(f"metrics must be a mapping of names to numbers, not {type(values).__name__}.")
    points = []
    for name, value in values.items():
        known = check_name(name) if isinstance(name, str) else _refused(name)
        points.append((known, value if type(value) is float else _number(known, value)))
    return _step(step), tuple(points)


def _step(step: Any) -> int | None:
    if step is None or (type(step) is int and 0 <= step <= LAST_STEP):
        return step
    return check_count(step if isinstance(step, bool) or not hasattr(step, "__index__") else index(step), "step")


@lru_cache(maxsize=4096)
def check_name(name: str) -> str:
    """Return the name of a metric, if it can be one."""
    return check_id(name, "the name of a metric")


def _refused(name: object) -> str:
    raise InvalidInputError(f"the name of a metric must be a string, not {type(name).__name__}.")


def _number(name: str, value: Any) -> float:
    try:
        if not isinstance(value, (str, bytes)):
            return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor of several numbers
        pass
    raise InvalidInputError(f"the metric {name!r} is no number, but {type(value).__name__}.")


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

    def forget(self, tenant_id: str, session_id: str) -> None:
        """Let no row of a session that has ended, or is gone, grow any more."""
        self._next.pop((tenant_id, session_id), None)
        for key in [key for key in self._open if key[:2] == (tenant_id, session_id)]:
            del self._open[key]

    @property
    def is_written(self) -> bool:
        """Whether there is nothing to write."""
        return not self._unwritten

    def count(self) -> int:
        """How many points are still to be written."""
        return sum(len(packed.steps) for packed in self._unwritten.values())


Waiting = deque[Logged]


@public
@dataclass(frozen=True, slots=True)
class MetricPoint:
    """One reading of a metric.

    Attributes:
        step: Where in the run.
        value: What was measured; NaN and infinities are kept.
        at: When it was logged.
    """

    step: int
    value: float
    at: datetime


@public
@dataclass(frozen=True, slots=True, repr=False)
class MetricCurve(Sequence[MetricPoint]):
    """One metric over a run, in the order of its steps; points of the same step in the order of their time.

    Attributes:
        name: The metric's.
        steps: Where in the run, one for each point.
        values: What was measured.
        times: When, in seconds since 1970.
        total: How many points were logged; more than there are here where the curve was downsampled.
    """

    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]
    times: tuple[float, ...]
    total: int

    def __len__(self) -> int:
        return len(self.steps)

    @overload
    def __getitem__(self, index: int) -> MetricPoint: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[MetricPoint, ...]: ...
    def __getitem__(self, index: int | slice) -> MetricPoint | tuple[MetricPoint, ...]:
        if isinstance(index, slice):
            return tuple(self[each] for each in range(*index.indices(len(self))))
        return MetricPoint(self.steps[index], self.values[index], datetime.fromtimestamp(self.times[index], UTC))

    def __repr__(self) -> str:
        of = f" of {self.total}" if self.total > len(self) else ""
        return f"<MetricCurve {self.name}: {len(self)}{of} points>"


@public
class MetricSeries(Mapping[str, MetricCurve]):
    """Metrics of one run by name: `series["loss"].values`."""

    def __init__(self, curves: Iterable[MetricCurve]) -> None:
        self._curves = {curve.name: curve for curve in curves}

    def __getitem__(self, name: str) -> MetricCurve:
        return self._curves[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._curves)

    def __len__(self) -> int:
        return len(self._curves)

    def to_pandas(self) -> "pandas.DataFrame":
        """A table with a row for each step and a column for each metric; of several points of a step, the newest.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        pandas = _pandas()
        columns = {
            name: pandas.Series(dict(zip(curve.steps, curve.values, strict=True)), dtype=float)
            for name, curve in self.items()
        }
        table = pandas.DataFrame(columns).sort_index()
        table.index.name = "step"
        return table

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw all curves into one figure.

        Args:
            ax: Where to draw; None: a new figure.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        if ax is None:
            try:
                from matplotlib.figure import Figure
            except ImportError:
                raise _missing("matplotlib") from None
            ax = Figure(figsize=(8, 4.5), layout="constrained").add_subplot()
        for name, curve in self.items():
            ax.plot(curve.steps, curve.values, label=name)
        ax.set_xlabel("step")
        if self:
            ax.legend()
        return ax

    def __repr__(self) -> str:
        return f"<MetricSeries of {', '.join(map(repr, self.values())) or 'nothing'}>"


def series_from_rows(rows: Iterable[Sequence[Any]]) -> MetricSeries:
    """Build curves from packed points: (name, total, steps, readings, times)."""
    found: dict[str, tuple[int, list[int], list[float], list[float]]] = {}
    for name, total, steps, readings, times in rows:
        known = found.setdefault(name, (total, [], [], []))
        for values, more in zip(known[1:], (steps, readings, times), strict=True):
            values += more
    return MetricSeries(_curve(name, *columns) for name, columns in sorted(found.items()))


def _curve(name: str, total: int, steps: list[int], values: list[float], times: list[float]) -> MetricCurve:
    if any(a >= b for a, b in pairwise(steps)):
        order = sorted(range(len(steps)), key=lambda place: (steps[place], times[place]))
        steps, values, times = ([each[place] for place in order] for each in (steps, values, times))  # type: ignore[assignment]  # the same three
    return MetricCurve(name, tuple(steps), tuple(values), tuple(times), total)


@public
@dataclass(frozen=True, slots=True)
class MetricSummary:
    """The extremes of one metric of a run.

    Attributes:
        count: How many points were logged.
        low: The least; NaN only if nothing else was logged.
        low_step: Where it first was.
        high: The greatest.
        high_step: Where it first was.
    """

    name: str
    count: int
    low: float
    low_step: int
    high: float
    high_step: int

    @property
    def best(self) -> float:
        """The least where the name says that less is better (loss, error, rmse …), else the greatest."""
        return self.low if less_is_better(self.name) else self.high

    @property
    def best_step(self) -> int:
        """Where the best first was."""
        return self.low_step if less_is_better(self.name) else self.high_step


def less_is_better(name: str) -> bool:
    """Whether the name of a metric says so."""
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return any(word.endswith(_LESS_IS_BETTER) for word in words)


@public
@dataclass(frozen=True, slots=True)
class ComparedRun:
    """One session of a comparison.

    Attributes:
        info: What is known of it: details, results, run status.
        metrics: The extremes of each of its metrics, by name.
    """

    info: SessionInfo
    metrics: dict[str, MetricSummary]

    @property
    def best(self) -> dict[str, float]:
        """The best value of each metric."""
        return {name: summary.best for name, summary in self.metrics.items()}

    def row(self) -> dict[str, Any]:
        """All of it flat: details.x, results.y, best.z."""
        info = self.info
        given = {} if info.results is None else info.results
        results = given if isinstance(given, dict) else {"": given}
        return {
            "kind": info.kind,
            "status": info.status,
            "run_status": info.run_status,
            "progress": info.progress,
            **{f"details.{name}": value for name, value in info.details.items()},
            **{f"results.{name}".rstrip("."): value for name, value in results.items()},
            **{f"best.{name}": value for name, value in self.best.items()},
        }


@public
@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Sequence[ComparedRun]):
    """Runs side by side, in the order that was asked for."""

    runs: tuple[ComparedRun, ...]

    def __len__(self) -> int:
        return len(self.runs)

    @overload
    def __getitem__(self, index: int) -> ComparedRun: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[ComparedRun, ...]: ...
    def __getitem__(self, index: int | slice) -> ComparedRun | tuple[ComparedRun, ...]:
        return self.runs[index]

    @property
    def columns(self) -> tuple[str, ...]:
        """All that is known of any of the runs, as in ComparedRun.row()."""
        names = dict.fromkeys(name for run in self.runs for name in run.row())
        groups = {"details": 1, "results": 2, "best": 3}
        return tuple(sorted(names, key=lambda name: groups.get(name.partition(".")[0], 0)))

    def to_pandas(self) -> "pandas.DataFrame":
        """A table with a row for each run, under its session's id.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        rows = [run.row() for run in self.runs]
        ids = [run.info.id for run in self.runs]
        return _pandas().DataFrame(rows, index=ids, columns=list(self.columns)).rename_axis("session")

    def __repr__(self) -> str:
        lines = "".join(f"\n  {run.info!r} {run.best}" for run in self.runs)
        return f"<Comparison of {len(self)} runs>{lines}"


def comparison_from_rows(
    ids: Sequence[str], sessions: Iterable[Sequence[Any]], extremes: Iterable[Sequence[Any]]
) -> Comparison:
    """Build a comparison from rows of sessions and (session_id, name, count, low, low_step, high, high_step).

    Raises:
        KeyError: One of the ids is missing.
    """
    infos = {info.id: info for info in map(session_from_row, sessions)}
    metrics: dict[str, dict[str, MetricSummary]] = {id: {} for id in infos}
    for id, *summary in extremes:
        if id in metrics:
            metrics[id][summary[0]] = MetricSummary(*summary)
    return Comparison(tuple(ComparedRun(infos[id], metrics[id]) for id in ids))


BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """A curve as one line of text; where nothing finite is, a gap."""
    values = [value / 4 for value in values]  # so that no difference of two is too large for a float
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, span = min(finite), max(finite) - min(finite)
    count = min(width, len(values))
    shown = []
    for place in range(count):
        part = values[place * len(values) // count : (place + 1) * len(values) // count]
        seen = [value for value in part if math.isfinite(value)]
        level = 0.5 if not span or not seen else (sum(value / len(seen) for value in seen) - low) / span
        shown.append(BARS[round(level * (len(BARS) - 1))] if seen else " ")
    return "".join(shown)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise _missing("pandas") from None
    return pandas


def _missing(package: str) -> MissingExtraError:
    return MissingExtraError(f"This needs {package}, which is not installed; run: pip install 'chatmemory[training]'")
