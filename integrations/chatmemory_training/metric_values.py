"""The numbers in what a training logs, and the reason for each value that is none."""

from collections.abc import Mapping
from typing import Any

from chatmemory_training.json_values import as_float, metric_name

MAX_SERIES = 100  # numbers of one list or dict, each of which becomes a metric
MAX_DEPTH = 5  # of lists and dicts in one value


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
            found = _numbers(name, value)
            if len(found) > MAX_SERIES:
                raise _too_many(value, len(found))
            numbers.update({metric_name(inner) or name: number for inner, number in found.items()})
        except _RefusedError as error:
            refused[name] = str(error)
    return numbers, refused


class _RefusedError(Exception):
    """A value is no number; the message says why."""


def _too_many(value: Any, count: int) -> _RefusedError:
    return _RefusedError(f"it is a {type(value).__name__} of {count:,} values; up to {MAX_SERIES} are recorded")


def _numbers(name: str, value: Any, depth: int = 0) -> dict[str, float]:
    number = float(value) if isinstance(value, bool) else as_float(value)
    if number is not None:
        return {name: number}
    if depth > MAX_DEPTH:
        raise _RefusedError("it is nested too deeply")
    if isinstance(value, Mapping):
        if len(value) > MAX_SERIES:
            raise _too_many(value, len(value))
        named = [_numbers(f"{name}/{key}", value[key], depth + 1) for key in value]
        return {inner: each for numbers in named for inner, each in numbers.items()}
    to_list = getattr(value, "tolist", None)  # arrays and tensors
    items = to_list() if callable(to_list) and _size(value) <= MAX_SERIES else value
    if not isinstance(items, (list, tuple)):
        raise _RefusedError(f"it is a {type(value).__name__}, not a number")
    if len(items) > MAX_SERIES:
        raise _too_many(value, len(items))
    listed = [_numbers(f"{name}.{at}", item, depth + 1) for at, item in enumerate(items)]
    return {inner: each for numbers in listed for inner, each in numbers.items()}


def _size(value: Any) -> int:
    size = getattr(value, "size", 0)  # a method of tensors
    return int(size if not callable(size) else value.numel())
