"""Checks of logged metrics."""

from collections.abc import Mapping
from functools import lru_cache
from operator import index
from typing import Any

from chatmemory.errors import InvalidInputError
from chatmemory.runs.metric_packing import LAST_STEP
from chatmemory.runs.metric_records import MetricCurve
from chatmemory.validation import check_count, check_id, check_time


def check_metrics(values: Mapping[str, Any], step: object) -> tuple[int | None, tuple[tuple[str, float], ...]]:
    """Return the step and the points of a log_metrics() call; numbers of any library are accepted.

    Raises:
        InvalidInputError: A name, value or step is invalid; the message names the metric.
    """
    if type(values) is not dict and not isinstance(values, Mapping):
        raise InvalidInputError(f"metrics must be a mapping of names to numbers, not {type(values).__name__}.")
    points = []
    for name, value in values.items():
        metric = check_name(name) if isinstance(name, str) else _reject_name(name)
        points.append((metric, value if type(value) is float else _as_float(metric, value)))
    return _step(step), tuple(points)


def _step(step: Any) -> int | None:
    if step is None or (type(step) is int and 0 <= step <= LAST_STEP):
        return step
    return check_count(step if isinstance(step, bool) or not hasattr(step, "__index__") else index(step), "step")


@lru_cache(maxsize=4096)
def check_name(name: str) -> str:
    """Return the name of a metric if it is valid."""
    return check_id(name, "the name of a metric")


def _reject_name(name: object) -> str:
    raise InvalidInputError(f"the name of a metric must be a string, not {type(name).__name__}.")


def _as_float(name: str, value: Any) -> float:
    try:
        if not isinstance(value, (str, bytes)):
            return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor of several numbers
        pass
    raise InvalidInputError(f"the metric {name!r} must be a number, not {type(value).__name__}.")


def check_curve(curve: MetricCurve) -> MetricCurve:
    """Return a curve that can be logged again, point by point.

    Raises:
        InvalidInputError: A field has another type, the fields differ in length, or a time is none.
    """
    curve = MetricCurve.from_dict(curve.to_dict())
    if not len(curve.steps) == len(curve.values) == len(curve.times):
        raise InvalidInputError("it needs as many steps as values and times.")
    try:
        points = list(curve)
    except (OverflowError, ValueError, OSError):
        raise InvalidInputError("one of its times is no time.") from None
    for point in points:
        check_metrics({curve.name: point.value}, point.step)
        check_time(point.at, "one of its times")
    return curve
