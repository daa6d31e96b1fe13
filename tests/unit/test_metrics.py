"""Packing points, and what is made of those that come back."""

import math
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmemory import InvalidInputError, MetricCurve, MetricSeries
from chatmemory.runs.metric_checks import check_metrics
from chatmemory.runs.metric_packing import POINTS_PER_ROW, Logged, Packer, Run
from chatmemory.runs.metric_records import less_is_better, series_from_rows, sparkline

RUN = Run("t", "s", datetime(2026, 1, 1, tzinfo=UTC))
values = st.floats(width=32)
calls = st.lists(st.tuples(st.sampled_from("ab"), st.none() | st.integers(0, 50), values), max_size=1200)


def same(a: float, b: float) -> bool:
    """Return whether two numbers are equal, with NaN equal to itself."""
    return a == b or (math.isnan(a) and math.isnan(b))


@given(calls)
def test_every_point_is_in_one_row_and_its_extremes_beside(logged: list[tuple[str, int | None, float]]) -> None:
    """Rows hold all points, at most 256 each, in the order of their steps; the extremes pass over NaN."""
    packer = Packer()
    for number, (name, step, value) in enumerate(logged):
        call = Logged(RUN, step, ((name, value),), float(number))
        if packer.needs_step(call):
            packer.go_on_at(call, 0)
        packer.add(call)
    rows = [packed for session in packer.unwritten() for packed in session]
    assert packer.count() == len(logged)
    for packed in rows:
        row = packed.row()
        steps, readings, times = packed.steps, packed.readings, packed.times
        assert 0 < row[4] == len(steps) <= POINTS_PER_ROW
        assert steps == sorted(steps)
        assert (row[8], row[9]) == (steps[0], steps[-1])
        numbers = [value for value in readings if not math.isnan(value)]
        for place, extreme in ((10, min), (13, max)):
            assert same(row[place], extreme(numbers) if numbers else math.nan)
            assert any(
                same(row[place], value) and (step, at) == row[place + 1 : place + 3]
                for step, value, at in zip(steps, readings, times, strict=True)
            )
    at = {
        time: (packed.name, value) for packed in rows for time, value in zip(packed.times, packed.readings, strict=True)
    }
    assert len(at) == len(logged)
    for number, (name, _, value) in enumerate(logged):
        assert at[float(number)][0] == name
        assert same(at[float(number)][1], value)
    packer.written(rows)
    assert packer.is_written


def test_steps_go_on_where_none_is_given() -> None:
    """One more than the last of the session, whatever metric it was; a step that is given is kept."""
    packer = Packer()
    given: list[tuple[str, int | None]] = [("a", None), ("b", None), ("a", 9), ("b", None), ("a", 3), ("a", None)]
    packer.go_on_at(Logged(RUN, None, (), 0), 5)
    for name, step in given:
        packer.add(Logged(RUN, step, ((name, 0.0),), 0))
    rows = {packed.name: packed.steps for [*session] in packer.unwritten() for packed in session}
    assert rows == {"a": [5, 9, 3, 11], "b": [6, 10]}


def test_a_row_that_is_written_grows_until_it_is_full() -> None:
    """Few points a flush make no row each; after the end of a session nothing is held ready."""
    packer = Packer()
    seen = set()
    for step in range(POINTS_PER_ROW + 1):
        packer.add(Logged(RUN, step, (("a", 0.0),), 0))
        [rows] = packer.unwritten()
        seen |= {packed.id for packed in rows}
        packer.written(rows)
    assert len(seen) == 2
    packer.forget("t", "s")
    packer.add(Logged(RUN, 0, (("a", 0.0),), 0))
    assert packer.unwritten()[0][0].id not in seen


class Scalar:
    """A number of another library."""

    def __float__(self) -> float:
        return 0.5

    def __index__(self) -> int:
        return 7


def test_numbers_of_any_library_are_taken() -> None:
    """Anything that converts to a float is accepted; steps likewise."""
    assert check_metrics({"a": Scalar(), "b": 1, "c": True}, Scalar()) == (7, (("a", 0.5), ("b", 1.0), ("c", 1.0)))


@pytest.mark.parametrize(
    ("metrics", "step"),
    [
        ({"a": "0.5"}, 0),
        ({"a": None}, 0),
        ({"a": [1]}, 0),
        ({"a": 10**400}, 0),
        ({"": 1.0}, 0),
        ({1: 1.0}, 0),
        ({"x" * 256: 1.0}, 0),
        ([("a", 1.0)], 0),
        ({"a": 1.0}, -1),
        ({"a": 1.0}, 1.5),
        ({"a": 1.0}, True),
        ({"a": 1.0}, 2**63),
    ],
)
def test_what_is_no_number_is_refused(metrics: object, step: object) -> None:
    """Strings, nothing, lists, numbers beyond a float; and steps that are none."""
    with pytest.raises(InvalidInputError):
        check_metrics(metrics, step)  # type: ignore[arg-type]  # that is the point


def test_curves_are_put_in_order() -> None:
    """Rows that overlap, as of two writers or of a run that was resumed, become one curve."""
    series = series_from_rows([("a", 4, [1, 5], [0.1, 0.5], [1.0, 5.0]), ("a", 4, [1, 2], [0.0, 0.2], [0.5, 2.0])])
    assert series["a"].steps == (1, 1, 2, 5)
    assert series["a"].values == (0.0, 0.1, 0.2, 0.5)
    assert [point.step for point in series["a"][1:3]] == [1, 2]
    assert series["a"][0].at.timestamp() == 0.5
    assert "4 points" in repr(series)


def test_what_is_better_is_told_by_the_name() -> None:
    """Losses and errors should be low, anything else high."""
    assert all(map(less_is_better, ["loss", "val_loss", "train/loss", "RMSE", "eval.wer", "step_time", "test-error"]))
    assert not any(map(less_is_better, ["accuracy", "f1", "reward", "val_acc", "bleu", "closser_to"]))


def test_a_sparkline_shows_a_curve() -> None:
    """Low to high, as wide as asked; flat curves, gaps and empty ones too."""
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 8) == "▁▂▃▄▅▆▇█"
    assert len(sparkline(list(range(1000)), 24)) == 24
    assert sparkline([1, math.nan, 1], 8) == "▅ ▅"
    assert sparkline([math.inf], 8) == sparkline([], 8) == ""
    assert sparkline([-1.7e308, 1.7e308, 1.7e308], 2) == "▁█"


CURVES = MetricSeries(
    [
        MetricCurve("loss", (0, 1, 1), (1.0, 0.5, 0.25), (0.0, 0.0, 0.0), 3),
        MetricCurve("accuracy", (1,), (0.9,), (0.0,), 1),
    ]
)


def test_a_series_becomes_a_table_and_a_figure() -> None:
    """A row for each step, a column for each metric; a line for each in the figure."""
    table = CURVES.to_pandas()
    assert table.index.tolist() == [0, 1]
    assert table["loss"].tolist() == [1.0, 0.25]
    assert math.isnan(table["accuracy"][0])
    axes = CURVES.plot()
    assert [line.get_label() for line in axes.get_lines()] == ["loss", "accuracy"]
    assert CURVES.plot(axes) is axes
    assert MetricSeries([]).plot() is not None
    assert len(MetricSeries([]).to_pandas()) == 0


@pytest.mark.parametrize(("package", "call"), [("pandas", "to_pandas"), ("matplotlib", "plot")])
def test_without_the_extra_it_says_what_to_install(package: str, call: str) -> None:
    """The library works without, and the one method that needs it names it."""
    code = (
        f"import sys; sys.modules[{package!r}] = None; from chatmemory import MetricSeries, MissingExtraError\n"
        f"try:\n    MetricSeries([]).{call}()\nexcept MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert package in done.stdout
    assert "chatmemory-postgres[training]" in done.stdout
