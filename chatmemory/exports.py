"""Sessions as files: our own JSON, and Markdown for people."""

import json
from collections.abc import Iterable
from dataclasses import asdict
from datetime import datetime
from typing import Any

from chatmemory.drafts import to_json as dump
from chatmemory.models import JsonObject, Message, SessionInfo

FORMAT = "chatmemory/1"


def to_json(info: SessionInfo, messages: Iterable[Message]) -> str:
    """One session as a JSON document; every field of it and of its messages is there."""
    document = {
        "format": FORMAT,
        "session": _plain(asdict(info)),
        "messages": [_plain(asdict(message)) for message in messages],
    }
    return dump(document)


def to_line(type: str, record: JsonObject) -> str:
    """One record as a line of JSON Lines; its type stands first."""
    return json.dumps({"type": type, **record}, ensure_ascii=False, default=_text)


def _plain(record: JsonObject) -> JsonObject:
    return {name: _text(value) for name, value in record.items()}


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def to_markdown(info: SessionInfo, messages: Iterable[Message]) -> str:
    """One session as a page to read."""
    parts = [f"# {info.title or info.id}", _facts(info)]
    for message in messages:
        parts.append(f"## {message.seq}. {message.role} · {message.created_at:%Y-%m-%d %H:%M} UTC")
        parts.append(message.text or "```json\n" + dump(message.content) + "\n```")
    return "\n\n".join(parts) + "\n"


def _facts(info: SessionInfo) -> str:
    return (
        f"- session: `{info.id}`\n- user: `{info.user_id}`\n- kind: {info.kind}\n- status: {info.status}\n"
        f"- messages: {info.message_count}"
    )
