"""A comparison of runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, overload

from chatmemory._public import public
from chatmemory.json_form import Record
from chatmemory.sessions.records import SessionInfo, session_from_row

if TYPE_CHECKING:
    import pandas
from chatmemory.runs.metric_records import MetricSummary, _pandas


@public
@dataclass(frozen=True, slots=True)
class ComparedRun(Record):
    """One run of a comparison.

    Attributes:
        info: The run's session, with details, results and run status.
        metrics: The extremes of its metrics, by name.
    """

    info: SessionInfo
    metrics: dict[str, MetricSummary]

    @property
    def best(self) -> dict[str, float]:
        """The best value of each metric."""
        return {name: summary.best for name, summary in self.metrics.items()}

    def row(self) -> dict[str, Any]:
        """Return the run as a flat row: details.x, results.y, best.z."""
        info = self.info
        raw = {} if info.results is None else info.results
        results = raw if isinstance(raw, dict) else {"": raw}
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
class Comparison(Record, Sequence[ComparedRun]):
    """Runs side by side, in the requested order."""

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
        """The names in the rows of all runs, as in ComparedRun.row()."""
        names = dict.fromkeys(name for run in self.runs for name in run.row())
        groups = {"details": 1, "results": 2, "best": 3}
        return tuple(sorted(names, key=lambda name: groups.get(name.partition(".")[0], 0)))

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a table with a row for each run, indexed by the session's id.

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
