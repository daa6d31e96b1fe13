"""The result memory of a finished run: one text with the details, results, best metrics and artifacts."""

from collections.abc import Mapping, Sequence
from typing import Any

from chatmemory import kinds
from chatmemory.memories.places import place
from chatmemory.memories.records import MemorySource, NewMemory
from chatmemory.records import shorten
from chatmemory.runs.metric_records import MetricSummary
from chatmemory.sessions.records import SessionInfo
from chatmemory.validation import new_id

IMPORTANCE = 0.5
MAX_NAMES = 40  # details, results or metrics in a text
MAX_VALUE_CHARACTERS = 200
MAX_TEXT_CHARACTERS = 10_000
ARTIFACTS = "artifacts"  # metadata key of the location of a run's files


def outcome(info: SessionInfo, metrics: Sequence[MetricSummary], number: int, *, shared: bool) -> NewMemory:
    """Return the result memory of a run that has ended.

    Args:
        info: The run.
        metrics: The extremes of each of its metrics.
        number: The session's number, from which the memory's place is computed.
        shared: Whether the memory is shared with the whole tenant.
    """
    text = outcome_text(info, metrics)
    return NewMemory(
        id=new_id(),
        user_id="" if shared else info.user_id,
        kind="result",
        text=text,
        indexed=text,
        near=place(number),
        speaker=None,
        trust="app",
        importance=IMPORTANCE,
        valid_from=info.ended_at or info.updated_at,
        metadata={"kind": info.kind, "run_status": info.run_status},
        sources=(MemorySource(info.id, 0, 0),),
    )


def outcome_text(info: SessionInfo, metrics: Sequence[MetricSummary]) -> str:
    """Return the result as text: kind, title, status, details, results, best metrics, error, artifacts."""
    kind = kinds.find(info.kind)
    first = kind.key_details if kind else ()
    details = {**{name: info.details[name] for name in first if name in info.details}, **info.details}
    results = info.results if isinstance(info.results, dict) else {"": info.results}
    best = {summary.name: f"{summary.best:.6g} at step {summary.best_step}" for summary in metrics}
    parts = [
        f"{info.kind.capitalize()} run {info.title or info.id}: {info.run_status or info.status}",
        _named("", details),
        _named("results: ", results),
        _named("best: ", best),
        f"error: {_last_line(info.error)}" if info.error else "",
        _named("artifacts: ", {"": info.metadata.get(ARTIFACTS)}),
    ]
    return shorten(". ".join(filter(None, parts)) + ".", MAX_TEXT_CHARACTERS)


def _named(head: str, values: Mapping[str, Any]) -> str:
    named = [f"{name} {text}".strip() for name, value in _flat(values).items() if (text := _value(value))]
    return head + ", ".join(named[:MAX_NAMES]) if named else ""


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Flatten dicts one level deep, with dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = {f"{name}.{inner}": each for inner, each in value.items()} if isinstance(value, dict) else {name: value}
        flat.update(inner)
    return flat


def _value(value: Any) -> str:
    if value is None or isinstance(value, (list, dict)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else shorten(" ".join(str(value).split()), MAX_VALUE_CHARACTERS)


def _last_line(text: str) -> str:
    return shorten((text.strip().splitlines() or [""])[-1], MAX_VALUE_CHARACTERS)
