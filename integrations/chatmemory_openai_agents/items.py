"""The SDK's items as chatmemory stores them, and back; nothing is lost on the way."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from agents import TResponseInputItem

from chatmemory import InvalidInputError, Message, NewMessage

KEY = "openai_agents"
"""Where in a message's metadata stands what role and content cannot hold."""

_ITEM = "host_item"  # chatmemory compares it where a message's id is given again

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


class Removal(NamedTuple):
    """What a later message says of earlier ones: the SDK has removed them.

    Attributes:
        seq: Which message; None: all before.
    """

    seq: int | None


def from_item(item: TResponseInputItem) -> NewMessage:
    """Turn an item into a message to append; to_item() gives it back, equal in every field.

    Raises:
        InvalidInputError: It is no dict that JSON can hold.
    """
    try:
        kept = json.loads(json.dumps(item))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError("an item cannot be stored: it is not JSON.") from error
    if not isinstance(kept, dict):
        raise InvalidInputError(f"an item must be a dict, not a {type(item).__name__}.")
    if kept.get("type") in ("function_call", "custom_tool_call"):
        return NewMessage("assistant", [kept], metadata={KEY: {"is": "block"}})
    role = _role(kept)
    moved = "output" if role == "tool" else "content"
    content: Any = kept.get(moved)
    if not _is_content(content):
        return NewMessage(role, _readable(kept), metadata={**_answers(kept), _ITEM: kept})
    without = {**kept, moved: None}  # its place among the keys stays
    return NewMessage(role, content, metadata={**_answers(kept), _ITEM: without, KEY: {"is": moved}})


def to_item(message: Message | NewMessage) -> TResponseInputItem | None:
    """Turn a stored message into an item.

    Of a message that was appended without the SDK the text is given; None: it has none, it is a tool's, or it says
    that another was removed.
    """
    metadata = message.metadata or {}
    own = metadata.get(KEY)
    kept = own if isinstance(own, dict) else {}
    item: Any = metadata.get(_ITEM, kept.get("item"))  # the second: as stored by chatmemory 0.1
    if kept.get("is") == "block":
        item = message.content[0]
    elif isinstance(item, dict) and kept.get("is") in ("content", "output"):
        item = {**item, kept["is"]: message.content}
    if not isinstance(item, dict):
        return None if removal_in(message) else _without_sdk(message)
    return cast(TResponseInputItem, item)


def removal(seq: int | None, by: str) -> NewMessage:
    """A message that says that another is removed, or with None all before; `by` tells who removes it."""
    if seq is None:
        return NewMessage("system", "What was said before was cleared.", metadata={KEY: {"removed": "all", "by": by}})
    said = f"Message {seq} was taken back."
    return NewMessage("system", said, f"removed-{seq}", metadata={KEY: {"removed": seq, "by": by}})


def removal_in(message: Message | NewMessage) -> Removal | None:
    """What a message says was removed; None: it is another message."""
    kept = (message.metadata or {}).get(KEY)
    removed = kept.get("removed") if isinstance(kept, dict) else None
    if removed is None:
        return None
    return Removal(None if removed == "all" else int(removed))


def removed_by(message: Message) -> str | None:
    """Who appended a removal, when it was stored first."""
    kept = message.metadata.get(KEY)
    return str(kept["by"]) if isinstance(kept, dict) and "by" in kept else None


def _role(item: Mapping[str, Any]) -> str:
    if item.get("type", "message") == "message":
        return _ROLES.get(str(item.get("role")), "user")
    return "tool" if str(item.get("type")).endswith("_output") else "assistant"


def _is_content(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(type(block) is dict for block in value))


def _answers(item: Mapping[str, Any]) -> dict[str, Any]:
    """Which call it answers, where chatmemory looks for it."""
    return {"tool_call_id": item["call_id"]} if _role(item) == "tool" and "call_id" in item else {}


def _readable(item: Mapping[str, Any]) -> str:
    """The text in an item's summary, as reasoning has it."""
    parts = item.get("summary")
    texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, Sequence) else []
    return "\n".join(text for text in texts if isinstance(text, str))


def _without_sdk(message: Message | NewMessage) -> TResponseInputItem | None:
    content = message.content
    blocks = [] if isinstance(content, str) else [block.get("text") for block in content]
    text = content if isinstance(content, str) else "\n".join(text for text in blocks if isinstance(text, str))
    role = {"ai": "assistant", "human": "user"}.get(message.role, message.role)
    return cast(TResponseInputItem, {"role": role, "content": text}) if text and role != "tool" else None
