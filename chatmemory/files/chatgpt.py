"""ChatGPT's export: conversations, each a tree of messages of which one branch was shown last."""

from collections import Counter
from datetime import UTC, datetime

from chatmemory.errors import InvalidInputError
from chatmemory.files.chatgpt_tree import Tree, is_message
from chatmemory.files.citations import without_citations
from chatmemory.files.conversations import Conversation
from chatmemory.files.times import filled
from chatmemory.messages.records import Content, NewMessage
from chatmemory.records import JsonObject, shorten
from chatmemory.validation import MAX_TITLE_LENGTH

NO_MESSAGE = NewMessage("user", "")
ROLES = ("system", "user", "assistant", "tool")
# Content that the page does not show as part of the conversation.
LEFT_OUT = (
    "thoughts",
    "reasoning_recap",
    "user_editable_context",
    "model_editable_context",
    "tether_browsing_display",
)


def is_conversation(item: object) -> bool:
    """Return whether an item of the array is one of ChatGPT's conversations, possibly a damaged one."""
    return isinstance(item, dict) and "mapping" in item


def conversation(item: JsonObject) -> Conversation:
    """Read one conversation: the branch that was shown last."""
    id = item.get("conversation_id") or item.get("id")
    if not isinstance(id, str):
        raise InvalidInputError("it has no id, so importing it twice would store it twice")
    if not isinstance(item["mapping"], dict):
        raise InvalidInputError("it has no mapping of messages")
    tree = Tree(item["mapping"])
    messages, left_out = _messages(tree, item)
    return Conversation(
        id=id,
        source="chatgpt",
        title=shorten(str(item["title"]), MAX_TITLE_LENGTH) if item.get("title") else None,
        origin={**_origin(item), **({"left_out": left_out} if left_out else {})},
        created_at=_time(item.get("create_time")) or next(iter(messages), NO_MESSAGE).created_at,
        messages=messages,
        left_out=left_out,
    )


def _messages(tree: Tree, item: JsonObject) -> tuple[list[NewMessage], dict[str, int]]:
    """Return the messages of the branch that say something, and what is left out of it, counted by its name."""
    nodes = [(id, node["message"]) for id, node in tree.branch(item.get("current_node")) if is_message(node)]
    left_out: Counter[str] = Counter()
    default = _time(item.get("create_time")) or _time(item.get("update_time"))
    times = filled([_time(message.get("create_time")) for _, message in nodes], default)
    messages = []
    for (id, message), at in zip(nodes, times, strict=True):
        role, content, reason = _role(message), _content(message), _reason(message)
        if reason:
            left_out[reason] += 1
        elif content:
            messages.append(NewMessage(role, content, id, _facts(message), at))
    left_out["messages of other branches"] = tree.size() - len(nodes)
    left_out["gaps"] = tree.gaps
    return messages, dict(+left_out)


def _reason(message: JsonObject) -> str | None:
    """Return the name under which a message is left out, if it is."""
    content = message.get("content")
    kind = content.get("content_type") if isinstance(content, dict) else None
    if kind in LEFT_OUT:
        return str(kind)
    if not _content(message):
        return None if _is_empty(content) else f"content of type {shorten(str(kind), 40)}"
    role = _role(message)
    return None if role in ROLES else f"messages of role {shorten(role, 40)}"


def _is_empty(content: object) -> bool:
    """Return whether nothing of it can be understood."""
    return not isinstance(content, dict) or not any(
        value for name, value in content.items() if name not in ("content_type", "language") and value != [""]
    )


def _role(message: JsonObject) -> str:
    author = message.get("author")
    return str(author.get("role")) if isinstance(author, dict) else "unknown"


def _origin(item: JsonObject) -> JsonObject:
    began, updated = _time(item.get("create_time")), _time(item.get("update_time"))
    facts = {
        "from": "chatgpt",
        "created_at": began and began.isoformat(),
        "updated_at": updated and updated.isoformat(),
        "model": item.get("default_model_slug"),
    }
    return {name: value for name, value in facts.items() if value}


def _time(seconds: object) -> datetime | None:
    """Return a time given in seconds since 1970; None where it is none."""
    if not isinstance(seconds, int | float) or isinstance(seconds, bool):
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _content(message: JsonObject) -> Content | None:
    """Return the text of a message, or its parts as blocks; None where it says nothing."""
    content = message.get("content")
    if not isinstance(content, dict):
        return None
    shown = without_citations if _role(message) == "assistant" else str
    parts = content.get("parts")
    if not isinstance(parts, list):
        parts = [content.get("text")] if isinstance(content.get("text"), str) else []
    if all(isinstance(part, str) for part in parts):
        text = shown("\n".join(parts))
        return text if text.strip() else None
    return [_block(shown(part) if isinstance(part, str) else part) for part in parts if part] or None


def _block(part: object) -> JsonObject:
    if not isinstance(part, dict):
        return {"type": "text", "text": str(part)}
    rest = {name: value for name, value in part.items() if name != "content_type"}
    return {"type": str(part.get("content_type") or part.get("type") or "unknown"), **rest}


def _facts(message: JsonObject) -> JsonObject:
    """Return the unusual properties of a node's message."""
    values = (message.get(key) for key in ("content", "metadata", "author"))
    content, metadata, author = (value if isinstance(value, dict) else {} for value in values)
    facts = {
        "model": metadata.get("model_slug"),
        "name": author.get("name"),
        "recipient": message.get("recipient") if message.get("recipient") != "all" else None,
        "content_type": content.get("content_type") if content.get("content_type") != "text" else None,
        "language": content.get("language"),
    }
    return {name: value for name, value in facts.items() if value}
