"""Claude's export: conversations, each a list of messages with blocks of text and attachments."""

from datetime import datetime
from typing import Any

from chatmemory.errors import InvalidInputError
from chatmemory.files.conversations import Conversation
from chatmemory.files.times import filled
from chatmemory.messages.records import Content, NewMessage
from chatmemory.records import JsonObject, shorten
from chatmemory.validation import MAX_TITLE_LENGTH

ROLES = {"human": "user", "user": "user", "assistant": "assistant"}


def is_conversation(item: object) -> bool:
    """Return whether an item of the array is one of Claude's conversations, possibly a damaged one."""
    return isinstance(item, dict) and "chat_messages" in item


def conversation(item: JsonObject) -> Conversation:
    """Read one conversation."""
    id, messages = item.get("uuid"), item["chat_messages"]
    if not isinstance(id, str):
        raise InvalidInputError("it has no uuid, so importing it twice would store it twice")
    if not isinstance(messages, list):
        raise InvalidInputError("it has no list of messages")
    known = [message for message in messages if isinstance(message, dict) and message.get("sender") in ROLES]
    times = filled([_time(message.get("created_at")) for message in known], _time(item.get("created_at")))
    left_out = {"messages of an unknown sender": len(messages) - len(known)} if len(messages) > len(known) else {}
    facts = {"from": "claude", "created_at": item.get("created_at"), "updated_at": item.get("updated_at")}
    return Conversation(
        id=id,
        source="claude",
        title=shorten(str(item["name"]), MAX_TITLE_LENGTH) if item.get("name") else None,
        origin={
            **{name: value for name, value in facts.items() if value},
            **({"left_out": left_out} if left_out else {}),
        },
        created_at=_time(item.get("created_at")) or next(filter(None, times), None),
        messages=[
            NewMessage(ROLES[message["sender"]], content, _id(message), None, at)
            for message, at in zip(known, times, strict=True)
            if (content := _content(message))
        ],
        left_out=left_out,
    )


def _id(message: JsonObject) -> str:
    id = message.get("uuid")
    if not isinstance(id, str):
        raise InvalidInputError("a message has no uuid, so importing it twice would store it twice")
    return id


def _time(value: object) -> datetime | None:
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return at if at is not None and at.utcoffset() is not None else None


def _content(message: JsonObject) -> Content | None:
    """Return the text with what was attached to it; None where there is neither."""
    listed = message.get("content")
    blocks = [block for block in listed if isinstance(block, dict)] if isinstance(listed, list) else []
    texts = [block["text"] for block in blocks if isinstance(block.get("text"), str)]
    text = "\n".join(texts) if texts else message.get("text")
    parts: list[JsonObject] = [{"type": "text", "text": text}] if isinstance(text, str) and text.strip() else []
    attached = [_attachment(each) for key in ("attachments", "files") for each in _dicts(message.get(key))]
    return text if parts and not attached else [*parts, *attached] or None


def _dicts(value: Any) -> list[JsonObject]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _attachment(value: JsonObject) -> JsonObject:
    name, text = str(value.get("file_name") or "a file"), value.get("extracted_content")
    said = f"[attachment: {name}]" + (f"\n{text}" if isinstance(text, str) and text else "")
    return {"type": "text", "text": said}
