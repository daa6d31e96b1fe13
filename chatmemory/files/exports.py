"""Sessions as files: our own JSON, and Markdown for people."""

import json
from collections.abc import Iterable

from chatmemory.json_form import FORMAT, Record
from chatmemory.messages.records import Message
from chatmemory.records import JsonObject
from chatmemory.records import to_json as dump
from chatmemory.runs.metric_records import MetricCurve, MetricSummary
from chatmemory.sessions.records import SessionInfo, StatusChange


def to_json(
    info: SessionInfo,
    messages: Iterable[Message],
    history: Iterable[StatusChange] = (),
    metrics: Iterable[MetricCurve] = (),
) -> str:
    """Render one session as a JSON document, and of a run its status history and its metrics, too."""
    run = {"status_history": _rendered(history), "metrics": _rendered(metrics)}
    document = {
        "format": FORMAT,
        "session": info.to_dict(),
        "messages": _rendered(messages),
        **{name: records for name, records in run.items() if records},
    }
    return dump(document)


def _rendered(records: Iterable[Record]) -> list[JsonObject]:
    return [record.to_dict() for record in records]


def to_line(kind: str, record: JsonObject) -> str:
    """Render one record as a line of JSON Lines; `record` names its kind, and stands first."""
    return json.dumps({"record": kind, **record}, ensure_ascii=False)


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
    """Return the facts that only a run has."""
    if info.run_status is None:
        return {}
    facts = {
        "run status": info.run_status,
        "progress": "" if info.progress is None else f"{info.progress:.4g} %",
        "stage": info.stage,
        "details": f"`{dump(info.details)}`" if info.details else "",
        "results": "" if info.results is None else f"`{dump(info.results)}`",
        "error": info.error and f"`{' '.join(info.error.split())}`",
    }
    return {name: value for name, value in facts.items() if value}


def _measured(metrics: Iterable[MetricSummary]) -> list[str]:
    rows = [
        f"| {each.name} | {each.count} | {each.low:.6g} at {each.low_step} | {each.high:.6g} at {each.high_step} |"
        for each in metrics
    ]
    head = "| metric | points | least at step | greatest at step |\n| --- | --- | --- | --- |"
    return ["\n".join([head, *rows])] if rows else []
