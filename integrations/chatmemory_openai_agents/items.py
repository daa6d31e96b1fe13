"""Lossless conversion between the SDK's items and chatmemory messages."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from agents import TResponseInputItem

from chatmemory import InvalidInputError, Message, NewMessage

KEY = "openai_agents"
"""Metadata key for the parts of an item beyond role and content."""

_ITEM = "host_item"  # chatmemory compares it where a message's id is given again

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


class Removal(NamedTuple):
    """A message that marks earlier messages as removed by the SDK.

    Attributes:
        seq: The removed message; None: all earlier messages.
    """

    seq: int | None


def from_item(item: TResponseInputItem) -> NewMessage:
    """Convert an item to a message to append; to_item() returns it equal in every field.

    Raises:
        InvalidInputError: It is not a dict of JSON values.
    """
    try:
        copy = json.loads(json.dumps(item))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidInputError("an item cannot be stored: it is not JSON.") from error
    if not isinstance(copy, dict):
        raise InvalidInputError(f"an item must be a dict, not a {type(item).__name__}.")
    if copy.get("type") in ("function_call", "custom_tool_call"):
        return NewMessage("assistant", [copy], metadata={KEY: {"is": "block"}})
    role = _item_role(copy)
    moved = "output" if role == "tool" else "content"
    content: Any = copy.get(moved)
    if not _is_content(content):
        return NewMessage(role, _summary_text(copy), metadata={**_call_id(copy), _ITEM: copy})
    without = {**copy, moved: None}  # keeps the order of the keys
    return NewMessage(role, content, metadata={**_call_id(copy), _ITEM: without, KEY: {"is": moved}})


def to_item(message: Message | NewMessage) -> TResponseInputItem | None:
    """Convert a stored message to an item.

    A message that was appended without the SDK becomes its text. None: the message has no text, is a tool message, or
    marks a removal.
    """
    metadata = message.metadata or {}
    own = metadata.get(KEY)
    stored = own if isinstance(own, dict) else {}
    item: Any = metadata.get(_ITEM, stored.get("item"))  # the second: as stored by chatmemory 0.1
    if stored.get("is") == "block":
        item = message.content[0]
    elif isinstance(item, dict) and stored.get("is") in ("content", "output"):
        item = {**item, stored["is"]: message.content}
    if not isinstance(item, dict):
        return None if removal_in(message) else _without_sdk(message)
    return cast(TResponseInputItem, item)


def removal(seq: int | None, by: str) -> NewMessage:
    """Create a message that marks one message, or all earlier ones, as removed; `by` identifies the caller."""
    if seq is None:
        return NewMessage("system", "Earlier messages were removed.", metadata={KEY: {"removed": "all", "by": by}})
    text = f"Message {seq} was removed."
    return NewMessage("system", text, f"removed-{seq}", metadata={KEY: {"removed": seq, "by": by}})


def removal_in(message: Message | NewMessage) -> Removal | None:
    """Return the removal that a message marks; None if it marks none."""
    stored = (message.metadata or {}).get(KEY)
    removed = stored.get("removed") if isinstance(stored, dict) else None
    if removed is None:
        return None
    return Removal(None if removed == "all" else int(removed))


def removed_by(message: Message) -> str | None:
    """Return the caller that stored a removal first."""
    stored = message.metadata.get(KEY)
    return str(stored["by"]) if isinstance(stored, dict) and "by" in stored else None


def _item_role(item: Mapping[str, Any]) -> str:
    if item.get("type", "message") == "message":
        return _ROLES.get(str(item.get("role")), "user")
    return "tool" if str(item.get("type")).endswith("_output") else "assistant"


def _is_content(value: object) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(type(block) is dict for block in value))


def _call_id(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the call that an item answers, under the key that chatmemory reads."""
    return {"tool_call_id": item["call_id"]} if _item_role(item) == "tool" and "call_id" in item else {}


def _summary_text(item: Mapping[str, Any]) -> str:
    """Return the text of an item's summary, as in reasoning items."""
    parts = item.get("summary")
    texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, Sequence) else []
    return "\n".join(text for text in texts if isinstance(text, str))


def _without_sdk(message: Message | NewMessage) -> TResponseInputItem | None:
    content = message.content
    blocks = [] if isinstance(content, str) else [block.get("text") for block in content]
    text = content if isinstance(content, str) else "\n".join(text for text in blocks if isinstance(text, str))
    role = {"ai": "assistant", "human": "user"}.get(message.role, message.role)
    return cast(TResponseInputItem, {"role": role, "content": text}) if text and role != "tool" else None
