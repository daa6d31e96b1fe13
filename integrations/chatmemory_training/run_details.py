"""Details of a run, in the types that chatmemory's kinds declare."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from chatmemory_training import effective_config
from chatmemory_training.config_reading import config_value
from chatmemory_training.json_values import clean_text, to_json_value


def _as_count(value: Any) -> int:
    count = int(value)
    if not 0 <= count < 2**63:  # some libraries use -1 for "unlimited"
        raise ValueError("a count is negative or too large")
    return count


def _as_finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("JSON has no NaN or infinity")
    return number


def _as_object(value: Any) -> dict[str, Any]:
    converted = to_json_value(value)
    if not isinstance(converted, dict):
        raise TypeError("not an object")
    return converted


def _as_text(value: Any) -> str:
    return clean_text(str(value))


_CONVERSIONS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("total_epochs", "current_epoch", "batch_size"), _as_count),
    "learning_rate": _as_finite,
    "test_params": _as_object,
    **dict.fromkeys(("model_id", "dataset_name", "test_type"), _as_text),
}


def declared_details(details: Mapping[str, Any] | None) -> dict[str, Any]:
    """Convert details to JSON; a value that does not fit the declared type is stored as NAME_as_given."""
    converted: dict[str, Any] = {}
    for given, value in (details or {}).items():
        name = clean_text(str(given))
        convert = _CONVERSIONS.get(name)
        if value is None:
            continue
        try:
            converted[name] = to_json_value(value) if convert is None else convert(value)
        except (TypeError, ValueError, OverflowError):
            converted[f"{name}_as_given"] = to_json_value(value)
    return converted


def configured_details(config: Any) -> dict[str, Any]:
    """Return the details in a training run's config: its training parameters, env.seed and env.device."""
    training = effective_config.masked(config_value(config, "training")) or {}
    values = {f"training.{name}": value for name, value in training.items()} if isinstance(training, dict) else {}
    scalars = {name: value for name, value in values.items() if isinstance(value, (str, int, float))}
    declared = ("learning_rate", "batch_size", "total_epochs", "model_id", "dataset_name")
    details = {name: scalars.pop(f"training.{name}") for name in declared if f"training.{name}" in scalars}
    env = {name: config_value(config, f"env.{name}") for name in ("seed", "device")}
    return {**details, **scalars, **env}
