"""What a finished run leaves in the long-term memory: one text that answers what was run, on what, and how it went."""

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
MOST_NAMED = 40  # details, results or metrics that a text names
LONGEST_VALUE = 200  # characters
LONGEST = 10_000  # characters
ARTIFACTS = "artifacts"  # under this name in a run's metadata stands where it keeps its files


def outcome(info: SessionInfo, metrics: Sequence[MetricSummary], number: int, *, shared: bool) -> NewMemory:
    """The memory of a run that has ended.

    Args:
        info: The run.
        metrics: The extremes of each of its metrics.
        number: The session's, by which it is found beside what else comes from there.
        shared: Whether it is the whole tenant's.
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
    """What was run, on what, the key numbers, where the artifacts are."""
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
    return shorten(". ".join(filter(None, parts)) + ".", LONGEST)


def _named(head: str, values: Mapping[str, Any]) -> str:
    told = [f"{name} {text}".strip() for name, value in _flat(values).items() if (text := _value(value))]
    return head + ", ".join(told[:MOST_NAMED]) if told else ""


def _flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Names and values, with what stands one level deeper under dotted names."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        inner = {f"{name}.{inner}": each for inner, each in value.items()} if isinstance(value, dict) else {name: value}
        flat.update(inner)
    return flat


def _value(value: Any) -> str:
    if value is None or isinstance(value, (list, dict)):
        return ""
    return f"{value:.6g}" if isinstance(value, float) else shorten(" ".join(str(value).split()), LONGEST_VALUE)


def _last_line(text: str) -> str:
    return shorten((text.strip().splitlines() or [""])[-1], LONGEST_VALUE)
