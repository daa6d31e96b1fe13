"""What is known of a run, in the form that chatmemory's kinds of runs declare."""

from collections.abc import Callable, Mapping
from typing import Any

from chatmemory_training.values import plain

_FORMS: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(("total_epochs", "current_epoch", "batch_size"), int),
    "learning_rate": float,
    **dict.fromkeys(("model_id", "dataset_name", "test_type"), str),
}


def known_details(details: Mapping[str, Any] | None) -> dict[str, Any]:
    """Details as JSON; what cannot be in the declared form stands under NAME_as_given."""
    known: dict[str, Any] = {}
    for name, value in (details or {}).items():
        form = _FORMS.get(name)
        if value is None:
            continue
        try:
            known[name] = plain(value) if form is None else form(value)
        except (TypeError, ValueError, OverflowError):
            known[f"{name}_as_given"] = plain(value)
    return known
