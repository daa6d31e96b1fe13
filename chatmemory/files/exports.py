"""Sessions as files: our own JSON, and Markdown for people."""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from chatmemory.messages.records import Message
from chatmemory.records import JsonObject
from chatmemory.records import to_json as dump
from chatmemory.runs.metric_records import MetricSummary
from chatmemory.sessions.records import SessionInfo, StatusChange

FORMAT = "chatmemory/1"
Row = Sequence[Any]


def to_json(
    info: SessionInfo, messages: Iterable[Message], history: Iterable[StatusChange] = (), metrics: Iterable[Row] = ()
) -> str:
    """One session as a JSON document; every field of it and of its messages is there, and of a run all it did."""
    run = {
        "status_history": [_plain(asdict(change)) for change in history],
        "metrics": [points(row) for row in metrics],
    }
    document = {
        "format": FORMAT,
        "session": _plain(asdict(info)),
        "messages": [_plain(asdict(message)) for message in messages],
        **{name: records for name, records in run.items() if records},
    }
    return dump(document)


def points(row: Row) -> JsonObject:
    """Packed points of one metric: its name, and their steps, values and times (in seconds since 1970)."""
    name, steps, values, times = row
    return {"name": name, "steps": steps, "values": [_number(value) for value in values], "times": times}


def _number(value: float) -> float | str:
    """JSON has no NaN and no infinity."""
    return value if math.isfinite(value) else str(value)


def to_line(type: str, record: JsonObject) -> str:
    """One record as a line of JSON Lines; its type stands first."""
    return json.dumps({"type": type, **record}, ensure_ascii=False, default=_text)


def _plain(record: JsonObject) -> JsonObject:
    return {name: _text(value) for name, value in record.items()}


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def to_markdown(info: SessionInfo, messages: Iterable[Message], metrics: Iterable[MetricSummary] = ()) -> str:
    """One session as a page to read; of a run's metrics the extremes."""
    parts = [f"# {info.title or info.id}", _facts(info), *_measured(metrics)]
    for message in messages:
        parts.append(f"## {message.seq}. {message.role} · {message.created_at:%Y-%m-%d %H:%M} UTC")
        parts.append(message.text or "```json\n" + dump(message.content) + "\n```")
    return "\n\n".join(parts) + "\n"


def _facts(info: SessionInfo) -> str:
    return (
        f"- session: `{info.id}`\n- user: `{info.user_id}`\n- kind: {info.kind}\n- status: {info.status}\n"
        f"- messages: {info.message_count}" + "".join(f"\n- {name}: {value}" for name, value in _of_run(info).items())
    )


def _of_run(info: SessionInfo) -> dict[str, str]:
    """What is known of a run beside what is known of any session."""
    if info.run_status is None:
        return {}
    told = {
        "run status": info.run_status,
        "progress": "" if info.progress is None else f"{info.progress:.4g} %",
        "stage": info.stage,
        "details": f"`{dump(info.details)}`" if info.details else "",
        "results": "" if info.results is None else f"`{dump(info.results)}`",
        "error": info.error and f"`{' '.join(info.error.split())}`",
    }
    return {name: value for name, value in told.items() if value}


def _measured(metrics: Iterable[MetricSummary]) -> list[str]:
    rows = [
        f"| {each.name} | {each.count} | {each.low:.6g} at {each.low_step} | {each.high:.6g} at {each.high_step} |"
        for each in metrics
    ]
    head = "| metric | points | least at step | greatest at step |\n| --- | --- | --- | --- |"
    return ["\n".join([head, *rows])] if rows else []
