"""Messages and sessions as they stand in Redis: JSON text, and back; anything else raises ValueError."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from chatmemory.context import Window
from chatmemory.drafts import to_json
from chatmemory.models import Message, SessionInfo

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TIMES = ("created_at", "updated_at", "last_active_at", "last_message_at", "ended_at", "archived_at")


def pack(message: Message, most_bytes: int) -> str:
    """One message; one that is larger than this without its content and metadata."""
    head = [message.seq, message.id, message.role, (message.created_at - _EPOCH) // _MICROSECOND]
    counted = [message.tokens, message.token_encoding]
    packed = to_json([*head, *counted, message.content, message.metadata or None])
    return packed if len(packed) <= most_bytes else to_json([*head, *counted, None, None])


def unpack_window(reply: Sequence[Any]) -> tuple[Window, set[int]]:
    """What the window script read, and the seqs of the messages that are there without their content."""
    last, tokens, begins, summary, *items = (_text(part) for part in reply)
    rows = json.loads(f"[{','.join(items)}]")
    messages = [_message(row) for row in rows]
    last_seq = int(last)
    if [message.seq for message in messages] != list(range(last_seq - len(messages) + 1, last_seq + 1)):
        raise ValueError("the window has a gap")
    first = _message(json.loads(begins)) if begins else None
    stubs = {row[0] for row in rows if row[6] is None}
    if first is not None and messages and messages[0].seq <= first.seq:
        first = None
    summary_seq, summary_text = json.loads(summary) if summary else (0, None)
    return Window(messages, first, last_seq, int(tokens), "redis", summary_text, summary_seq), stubs


def pack_summary(window: Window) -> str:
    """What stands for all that is older than the window."""
    return to_json([window.summary_seq, window.summary]) if window.summary else ""


def _text(part: Any) -> str:
    if isinstance(part, bytes):
        return part.decode()
    if isinstance(part, str):
        return part
    raise ValueError("the window has a hole")


def _message(row: Sequence[Any]) -> Message:
    seq, id, role, at, tokens, encoding, content, metadata = row
    text = "" if content is None else content
    return Message(seq, id, role, text, _EPOCH + timedelta(microseconds=at), metadata or {}, tokens, encoding)


def pack_session(info: SessionInfo) -> str:
    """A session's info."""
    values = asdict(info)
    return to_json({**values, **{name: values[name] and values[name].isoformat() for name in _TIMES}})


def unpack_session(text: Any) -> SessionInfo:
    """A session's info again."""
    values: dict[str, Any] = dict(json.loads(text))
    times = {name: values[name] and datetime.fromisoformat(values[name]) for name in _TIMES}
    return SessionInfo(**{**values, **times})
