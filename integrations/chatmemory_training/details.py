"""What is known of a run, in the form that chatmemory's kinds of runs declare."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from chatmemory_training import effective_config
from chatmemory_training.options import option
from chatmemory_training.values import clean, plain


def _count(value: Any) -> int:
    count = int(value)
    if count < 0:  # as some libraries call "for ever"
        raise ValueError("less than none")
    return count


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("JSON has no such number")
    return number


def _text(value: Any) -> str:
    return clean(str(value))


_FORMS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("total_epochs", "current_epoch", "batch_size"), _count),
    "learning_rate": _finite,
    **dict.fromkeys(("model_id", "dataset_name", "test_type"), _text),
}


def known_details(details: Mapping[str, Any] | None) -> dict[str, Any]:
    """Details as JSON; what cannot be in the declared form stands under NAME_as_given."""
    known: dict[str, Any] = {}
    for given, value in (details or {}).items():
        name = clean(str(given))
        form = _FORMS.get(name)
        if value is None:
            continue
        try:
            known[name] = plain(value) if form is None else form(value)
        except (TypeError, ValueError, OverflowError):
            known[f"{name}_as_given"] = plain(value)
    return known


def configured_details(config: Any) -> dict[str, Any]:
    """Details of a training run that its config names: its training parameters, env.seed and env.device."""
    training = effective_config.masked(option(config, "training")) or {}
    values = {f"training.{name}": value for name, value in training.items()} if isinstance(training, dict) else {}
    scalars = {name: value for name, value in values.items() if isinstance(value, (str, int, float))}
    declared = ("learning_rate", "batch_size", "total_epochs", "model_id", "dataset_name")
    details = {name: scalars.pop(f"training.{name}") for name in declared if f"training.{name}" in scalars}
    env = {name: option(config, f"env.{name}") for name in ("seed", "device")}
    return {**details, **scalars, **env}
