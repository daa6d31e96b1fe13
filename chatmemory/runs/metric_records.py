"""Records of metrics: points, curves, series, extremes."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Self, overload

from chatmemory._public import public
from chatmemory.errors import missing_extra
from chatmemory.json_form import Record

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

# Endings of the names of metrics for which less is better.
_LESS_IS_BETTER = (
    *("loss", "error", "err", "mse", "mae", "rmse", "mape", "nll", "perplexity", "ppl", "wer", "cer", "fid"),
    *("regret", "cost", "latency", "duration", "seconds", "time"),
)


@public
@dataclass(frozen=True, slots=True)
class MetricPoint(Record):
    """One value of a metric.

    Attributes:
        step: The step, 0 or more.
        value: The value, which may be NaN or infinite.
        at: The time of logging.
    """

    step: int
    value: float
    at: datetime


@public
@dataclass(frozen=True, slots=True, repr=False)
class MetricCurve(Record, Sequence[MetricPoint]):
    """One metric over a run, ordered by step and then by time.

    Attributes:
        name: The metric's name.
        steps: The steps, one for each point.
        values: The values.
        times: The times of logging, in seconds since 1970.
        total: Number of logged points; more than the curve has if it was downsampled.
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
class MetricSeries(Record, Mapping[str, MetricCurve]):
    """Metrics of one run by name: `series["loss"].values`."""

    def __init__(self, curves: Iterable[MetricCurve]) -> None:
        self._curves = {curve.name: curve for curve in curves}

    def __getitem__(self, name: str) -> MetricCurve:
        return self._curves[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._curves)

    def __len__(self) -> int:
        return len(self._curves)

    def to_dict(self) -> dict[str, Any]:
        """Render the curves as a JSON object, each under its name."""
        return {name: curve.to_dict() for name, curve in self.items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read back what to_dict() made.

        Raises:
            InvalidInputError: A curve lacks a field, or a field has another type.
        """
        return cls(map(MetricCurve.from_dict, values.values()))

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a table with a row for each step and a column for each metric; the newest point of a step counts.

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

    def _long(self) -> Iterator[dict[str, Any]]:
        for name, curve in self.items():
            for point in curve:
                yield {"name": name, "step": point.step, "value": point.value, "at": point.at}

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Draw all curves.

        Args:
            ax: The axes to draw into; None: those of a new figure.

        Raises:
            MissingExtraError: matplotlib is not installed.
        """
        if ax is None:
            try:
                from matplotlib.figure import Figure
            except ImportError:
                raise missing_extra("plot()", "matplotlib", "training") from None
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
    columns_by_name: dict[str, tuple[int, list[int], list[float], list[float]]] = {}
    for name, total, steps, readings, times in rows:
        columns = columns_by_name.setdefault(name, (total, [], [], []))
        for values, more in zip(columns[1:], (steps, readings, times), strict=True):
            values += more
    return MetricSeries(_curve(name, *columns) for name, columns in sorted(columns_by_name.items()))


def curve_from_row(row: Sequence[Any]) -> MetricCurve:
    """Build a curve from the points of one packed row: (name, steps, readings, times)."""
    name, steps, readings, times = row
    return MetricCurve(name, tuple(steps), tuple(readings), tuple(times), len(steps))


def _curve(name: str, total: int, steps: list[int], values: list[float], times: list[float]) -> MetricCurve:
    if any(a >= b for a, b in pairwise(steps)):
        order = sorted(range(len(steps)), key=lambda place: (steps[place], times[place]))
        steps, values, times = ([each[place] for place in order] for each in (steps, values, times))  # type: ignore[assignment]  # the three lists, reordered
    return MetricCurve(name, tuple(steps), tuple(values), tuple(times), total)


@public
@dataclass(frozen=True, slots=True)
class MetricSummary(Record):
    """The extremes of one metric of a run.

    Attributes:
        name: The metric's name.
        count: Number of logged points.
        low: The least value; NaN only if no other value was logged.
        low_step: The first step with this value.
        high: The greatest value.
        high_step: The first step with this value.
    """

    name: str
    count: int
    low: float
    low_step: int
    high: float
    high_step: int

    _derived: ClassVar = ("best", "best_step")

    @property
    def best(self) -> float:
        """The least value if the name implies that less is better (loss, error, rmse …), else the greatest."""
        return self.low if less_is_better(self.name) else self.high

    @property
    def best_step(self) -> int:
        """The first step with the best value."""
        return self.low_step if less_is_better(self.name) else self.high_step


def with_points(
    summaries: Iterable[MetricSummary], points: Iterable[tuple[str, float]], step: int
) -> list[MetricSummary]:
    """Summaries as they are once each metric has one point more."""
    found = {summary.name: summary for summary in summaries}
    for name, value in points:
        new = MetricSummary(name, 1, value, step, value, step)
        found[name] = _together(found.get(name, replace(new, count=0)), new)
    return [found[name] for name in sorted(found)]


def _together(old: MetricSummary, new: MetricSummary) -> MetricSummary:
    """Two summaries of one metric as one; NaN counts only where there is nothing else."""
    low = min(old, new, key=lambda each: (each.low != each.low, each.low, each.low_step))
    high = min(old, new, key=lambda each: (each.high != each.high, -each.high, each.high_step))
    return MetricSummary(old.name, old.count + new.count, low.low, low.low_step, high.high, high.high_step)


def less_is_better(name: str) -> bool:
    """Return whether a metric's name implies that less is better."""
    words = "".join(letter if letter.isalnum() else " " for letter in name.lower()).split()
    return any(word.endswith(_LESS_IS_BETTER) for word in words)


BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], width: int = 24) -> str:
    """Return a curve as one line of block characters, with gaps where no value is finite."""
    values = [value / 4 for value in values]  # keeps differences within the range of a float
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, span = min(finite), max(finite) - min(finite)
    count = min(width, len(values))
    bars = []
    for place in range(count):
        part = values[place * len(values) // count : (place + 1) * len(values) // count]
        numbers = [value for value in part if math.isfinite(value)]
        level = 0.5 if not span or not numbers else (sum(value / len(numbers) for value in numbers) - low) / span
        bars.append(BARS[round(level * (len(BARS) - 1))] if numbers else " ")
    return "".join(bars)


def _pandas() -> Any:
    try:
        import pandas
    except ImportError:
        raise missing_extra("to_pandas()", "pandas", "training") from None
    return pandas
