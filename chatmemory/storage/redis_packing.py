"""Messages, windows and sessions as JSON text for Redis, and back; broken text raises one of LIES."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from chatmemory.context.window import Window, begins_session
from chatmemory.messages.records import Message, Role
from chatmemory.messages.tool_calls import answered_in
from chatmemory.records import JsonObject, to_json
from chatmemory.sessions.records import SessionInfo

# The errors that reading a value may raise that this library did not write.
LIES = (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)

MAX_COUNTED = 2**63  # the limit of Postgres' bigint
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ROLES = frozenset(get_args(Role))
_MICROSECOND = timedelta(microseconds=1)


def microseconds(at: datetime) -> int:
    """Return a time as microseconds since 1970."""
    return (at - _EPOCH) // _MICROSECOND


def pack(message: Message, most_bytes: int) -> str:
    """Pack a message; a larger one becomes a stub: no content or metadata, only the ids of its tool calls."""
    head = [message.seq, message.id, message.role, microseconds(message.created_at)]
    counted = [message.tokens, message.token_encoding]
    packed = to_json([*head, *counted, message.content, message.metadata or None])
    return packed if len(packed) <= most_bytes else to_json([*head, *counted, None, _calls(message) or None])


def _calls(message: Message) -> list[JsonObject]:
    """Return the ids of the calls that a message makes or answers, as blocks: pairing needs them."""
    answered = answered_in(message.role, message.content, message.metadata)
    calls = [{"type": "tool_call", "id": call.id} for call in message.tool_calls]
    return calls or [{"type": "tool_result", "tool_use_id": id} for id in answered]


def packed_first(window: Window) -> str:
    """Pack the system message a session begins with, whole; "" if there is none."""
    first = window.first or window.messages[0]
    return pack(first, sys.maxsize) if begins_session(first.seq, first.role) else ""


def unpack_window(reply: Sequence[Any], limit: int, since: int = 0) -> tuple[Window, set[int], str]:
    """Return the window in a reply of window.lua, the seqs of its stubs, and the lease.

    Args:
        reply: The reply.
        limit: The number of messages that were asked for at most.
        since: The seq that the oldest of them may have.
    """
    last, tokens, begins, summary, lease, *items = (_text(part) for part in reply)
    rows = json.loads(f"[{','.join(items)}]")
    messages = [_message(row) for row in rows]
    last_seq, token_count = int(last), int(tokens)
    first_seq = last_seq - len(messages) + 1
    if [message.seq for message in messages] != list(range(first_seq, last_seq + 1)):
        raise ValueError("the window has a gap")
    if len(messages) > limit or (not messages and limit and last_seq >= max(since, 1)):
        raise ValueError("the window has more or less than was asked for")
    first = _message(json.loads(begins)) if begins else None
    stubs = {row[0] for row in rows if row[6] is None}
    if first is not None and first_seq <= first.seq:
        first = None
    summary_seq, summary_text = json.loads(summary) if summary else (0, "")
    _check(first is None or first.seq == 1, summary_seq <= last_seq)
    _check(_is_count(last_seq), _is_count(token_count), _is_count(summary_seq), isinstance(summary_text, str))
    window = Window(messages, first, first_seq, last_seq, token_count, "redis", summary_text or None, summary_seq)
    return window, stubs, lease


def pack_summary(window: Window) -> str:
    """Pack the watermark and the summary; "" without a watermark."""
    return to_json([window.summary_seq, window.summary or ""]) if window.summary_seq else ""


def _text(part: Any) -> str:
    if isinstance(part, bytes):
        return part.decode()
    if isinstance(part, str):
        return part
    raise ValueError("the window has a hole")


def _message(row: Sequence[Any]) -> Message:
    seq, id, role, at, tokens, encoding, content, metadata = row
    if content is None:  # a stub
        content, metadata = metadata or "", None
    if not (
        _is_count(seq)
        and type(at) is int
        and (tokens is None or _is_count(tokens))
        and isinstance(id, str)
        and role in _ROLES
        and (encoding is None or isinstance(encoding, str))
        and (isinstance(content, str) or _are_blocks(content))
        and (metadata is None or isinstance(metadata, dict))
    ):
        raise ValueError("a field is of another type")
    return Message(seq, id, role, content, _EPOCH + timedelta(microseconds=at), metadata or {}, tokens, encoding)


def _are_blocks(content: object) -> bool:
    return isinstance(content, list) and all(isinstance(block, dict) for block in content)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < MAX_COUNTED


def _check(*conditions: bool) -> None:
    if not all(conditions):
        raise ValueError("a field is of another type")


def pack_session(info: SessionInfo) -> str:
    """Pack a session."""
    return to_json(info.to_dict())


def unpack_session(text: Any) -> SessionInfo:
    """Unpack a session."""
    info = SessionInfo.from_dict(json.loads(text))
    _check(*map(_is_count, (info.message_count, info.token_count, info.last_seq)))
    return info
