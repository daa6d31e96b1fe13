"""The numbers in what a training logs, and the reason for each value that is none."""

from collections.abc import Mapping
from typing import Any

from chatmemory_training.json_values import as_float, metric_name

MAX_SERIES = 100  # numbers of one list, each of which becomes a metric


def numbers_in(values: Mapping[Any, Any]) -> tuple[dict[str, float], dict[str, str]]:
    """Return the metrics in values, by name, and the reasons for the values that are none.

    True and False are 1 and 0. The numbers of a list are the metrics NAME.0, NAME.1 …, those of a dict NAME/KEY.
    """
    numbers: dict[str, float] = {}
    refused: dict[str, str] = {}
    for given, value in values.items():
        name = metric_name(given)
        if name is None:
            refused[repr(given)] = "it has no name"
            continue
        try:
            for inner, number in _numbers(name, value).items():
                numbers[metric_name(inner) or name] = number
        except _RefusedError as error:
            refused[name] = str(error)
    return numbers, refused


class _RefusedError(Exception):
    """A value is no number; the message says why."""


def _numbers(name: str, value: Any) -> dict[str, float]:
    number = float(value) if isinstance(value, bool) else as_float(value)
    if number is not None:
        return {name: number}
    if isinstance(value, Mapping):
        return {inner: each for key in value for inner, each in _numbers(f"{name}/{key}", value[key]).items()}
    listed = getattr(value, "tolist", None)  # arrays and tensors
    items = listed() if callable(listed) and _size(value) <= MAX_SERIES else value
    if not isinstance(items, (list, tuple)):
        raise _RefusedError(f"it is a {type(value).__name__}, not a number")
    if len(items) > MAX_SERIES:
        raise _RefusedError(f"it is a {type(value).__name__} of {len(items):,} values; up to {MAX_SERIES} are recorded")
    return {inner: each for at, item in enumerate(items) for inner, each in _numbers(f"{name}.{at}", item).items()}


def _size(value: Any) -> int:
    size = getattr(value, "size", 0)  # a method of tensors
    return int(size if not callable(size) else value.numel())
