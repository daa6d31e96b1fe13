"""ChatGPT's export: an array of conversations, each a tree of messages of which one branch is active."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO

from chatmemory.errors import InvalidInputError
from chatmemory.files.conversations import Conversation, Refused
from chatmemory.files.json_stream import exact, raw_items
from chatmemory.messages.records import Content, NewMessage
from chatmemory.records import JsonObject, shorten
from chatmemory.validation import MAX_TITLE_LENGTH


class UnknownFormatError(Exception):
    """The first item of the array is no conversation of ChatGPT's."""


def conversations(file: BinaryIO) -> Iterator[Conversation | Refused]:
    """Read ChatGPT's conversations.json, of each conversation the active branch."""
    for index, item in enumerate(raw_items(file, "item")):
        is_conversation = isinstance(item, dict) and isinstance(item.get("mapping"), dict)
        if not is_conversation and index == 0:
            raise UnknownFormatError
        try:
            if not is_conversation:
                raise InvalidInputError("it has no mapping of messages")
            yield _conversation(exact(item))
        except InvalidInputError as error:
            yield Refused(_name(item, index), str(error))


def _name(item: Any, index: int) -> str:
    id = (item.get("conversation_id") or item.get("id")) if isinstance(item, dict) else None
    return str(id or f"number {index + 1}")


def _conversation(item: JsonObject) -> Conversation:
    id = item.get("conversation_id") or item.get("id")
    if not isinstance(id, str):
        raise InvalidInputError("it has no id, so importing it twice would store it twice")
    began = _time(item.get("create_time"))
    return Conversation(
        id=id,
        source="chatgpt",
        title=shorten(str(item["title"]), MAX_TITLE_LENGTH) if item.get("title") else None,
        origin=_origin("chatgpt", item, began),
        messages=list(_branch_messages(item, began)),
    )


def _origin(source: str, item: JsonObject, began: datetime | None) -> JsonObject:
    updated = _time(item.get("update_time"))
    facts = {
        "from": source,
        "created_at": began and began.isoformat(),
        "updated_at": updated and updated.isoformat(),
        "model": item.get("default_model_slug"),
    }
    return {name: value for name, value in facts.items() if value}


def _branch_messages(item: JsonObject, began: datetime | None) -> Iterator[NewMessage]:
    """The messages of the active branch that say something; one without a time has that of the one before."""
    at = began
    for id, node in _active_branch(item):
        message = node.get("message")
        if not isinstance(message, dict):
            continue
        at = _time(message.get("create_time")) or at
        content = _content(message.get("content"))
        if content:
            author = message.get("author")
            role = author.get("role") if isinstance(author, dict) else None
            yield NewMessage(str(role), content, id, _facts(message), at)


def _active_branch(item: JsonObject) -> list[tuple[str, JsonObject]]:
    """From the current node up through its parents, oldest first."""
    mapping = item["mapping"]
    id = item.get("current_node") or _last_leaf(mapping)
    path: dict[str, JsonObject] = {}
    while isinstance(id, str) and isinstance(mapping.get(id), dict):
        if id in path:
            raise InvalidInputError(f"its node {id!r} is its own ancestor")
        path[id] = mapping[id]
        id = mapping[id].get("parent")
    if mapping and not path:
        raise InvalidInputError(f"its current node {item.get('current_node')!r} is not in its mapping")
    return list(path.items())[::-1]


def _last_leaf(mapping: JsonObject) -> str | None:
    leaves = [id for id, node in mapping.items() if isinstance(node, dict) and not node.get("children")]
    return leaves[-1] if leaves else None


def _time(seconds: object) -> datetime | None:
    """A time in seconds since 1970."""
    if seconds is None or isinstance(seconds, bool):
        return None
    if isinstance(seconds, int | float):
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, ValueError, OSError):
            pass
    raise InvalidInputError(f"{str(seconds)[:40]!r} is not a time in seconds since 1970")


def _content(content: object) -> Content | None:
    """The text of a node, or its parts as blocks; None where it says nothing."""
    if not isinstance(content, dict):
        return None
    parts = content.get("parts")
    if not isinstance(parts, list):
        text = content.get("text")
        return text if isinstance(text, str) and text.strip() else None
    if all(isinstance(part, str) for part in parts):
        text = "\n".join(parts)
        return text if text.strip() else None
    return [_block(part) for part in parts if part] or None


def _block(part: object) -> JsonObject:
    if not isinstance(part, dict):
        return {"type": "text", "text": str(part)}
    rest = {name: value for name, value in part.items() if name != "content_type"}
    return {"type": str(part.get("content_type") or part.get("type") or "unknown"), **rest}


def _facts(message: JsonObject) -> JsonObject:
    """Return the unusual properties of a node's message."""
    content, metadata, author = (message.get(key) or {} for key in ("content", "metadata", "author"))
    facts = {
        "model": metadata.get("model_slug") if isinstance(metadata, dict) else None,
        "name": author.get("name") if isinstance(author, dict) else None,
        "recipient": message.get("recipient") if message.get("recipient") != "all" else None,
        "content_type": content["content_type"] if content.get("content_type") not in ("text", None) else None,
        "language": content.get("language"),
    }
    return {name: value for name, value in facts.items() if value}
