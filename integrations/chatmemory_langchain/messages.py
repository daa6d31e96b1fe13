"""Lossless conversion between LangChain messages and chatmemory messages."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    InvalidToolCall,
    RemoveMessage,
    SystemMessage,
    ToolCall,
    ToolMessage,
    message_chunk_to_message,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call
from pydantic import BaseModel

from chatmemory import Context, InvalidInputError, Message, NewMessage

KEY = "langchain"
"""Metadata key for the fields of a LangChain message beyond role and content."""

_CALLS = ("tool_calls", "invalid_tool_calls", "tool_call_id")  # stored where chatmemory looks for calls and results
_STRINGS = "strings"  # the indexes of content blocks that were bare strings
_MAX_DEPTH = 200  # stops a cycle; the core rejects far less nesting

_CLASSES: dict[str, type[BaseMessage]] = {
    "human": HumanMessage,
    "ai": AIMessage,
    "system": SystemMessage,
    "tool": ToolMessage,
    "function": FunctionMessage,
    "chat": ChatMessage,
    "remove": RemoveMessage,
}
_ROLES = {
    "human": "user",
    "ai": "assistant",
    "system": "system",
    "tool": "tool",
    "function": "tool",
    "remove": "system",
}
_CHAT_ROLES = {
    "ai": "assistant",
    "assistant": "assistant",
    "developer": "system",
    "model": "assistant",
    "system": "system",
    "tool": "tool",
}


def to_message(message: BaseMessage) -> NewMessage:
    """Convert a LangChain message to one to append; from_message() returns it equal in every field.

    A chunk becomes a message. In its fields, tuples become lists, pydantic models become dicts, and string or number
    enums become their values; other values that JSON cannot represent are rejected by append().

    Raises:
        InvalidInputError: The message's class is not one of LangChain's own, so it could not be restored.
    """
    whole = message_chunk_to_message(message)
    if _CLASSES.get(whole.type) is not type(whole):
        raise InvalidInputError(
            f"a {type(message).__name__} cannot be stored: it would come back as another class; "
            f"use {', '.join(cls.__name__ for cls in _CLASSES.values())}."
        )
    content = json_equivalent(whole.content)
    blocks = content if isinstance(content, list) else []
    fields = _extra_fields(whole)
    calls = {name: fields.pop(name) for name in _CALLS if name in fields}
    return NewMessage(
        role=stored_role(whole),
        content=[_as_block(block) for block in blocks] if blocks is content else content,
        message_id=None if isinstance(whole, RemoveMessage) else whole.id,  # its id names another message
        metadata={**calls, KEY: {"type": whole.type, **_string_indexes(blocks), **fields}},
    )


def from_message(message: Message | NewMessage) -> BaseMessage:
    """Convert a stored message to a LangChain message, also one that was appended without LangChain."""
    metadata = message.metadata or {}
    stored = metadata.get(KEY)
    if not isinstance(stored, dict) or stored.get("type") not in _CLASSES:
        return _without_langchain(message)
    calls = {name: metadata[name] for name in _CALLS if name in metadata}
    fields = calls | {name: value for name, value in stored.items() if name not in ("type", _STRINGS)}
    content: Any = message.content
    for index in stored.get(_STRINGS, ()) if isinstance(content, list) else ():  # a context may have truncated it
        if index < len(content) and content[index].get("type") == "text":
            content = [*content[:index], content[index]["text"], *content[index + 1 :]]
    return _CLASSES[stored["type"]](content=content, **fields)


def from_context(context: Context, *, from_human: bool = False) -> list[BaseMessage]:
    """Convert a context to LangChain messages: the summary as data, then messages from a turn's start.

    Args:
        context: The result of Session.context().
        from_human: Whether to drop the messages before the first human message (except the first system message)
            even if the context omits nothing.
    """
    stored = context.messages
    first = [message for message in stored[:1] if message.seq == 1 and message.role == "system"]
    rest = stored[len(first) :]
    if from_human or context.omitted:
        users = [index for index, message in enumerate(rest) if message.role == "user"]
        others = [] if from_human else [index for index, message in enumerate(rest) if message.role != "tool"]
        starts = users or others
        rest = rest[starts[0] :] if starts else ()
    summary = [] if context.summary_text is None else [HumanMessage(context.summary_text)]
    return [*map(from_message, first), *summary, *_merge_parallel_calls(map(from_message, rest))]


def _merge_parallel_calls(messages: Iterable[BaseMessage]) -> list[BaseMessage]:
    """Merge consecutive messages of parallel calls into one, the only form that models accept."""
    merged: list[BaseMessage] = []
    for message in messages:
        last = merged[-1] if merged else None
        if (
            isinstance(last, AIMessage)
            and isinstance(message, AIMessage)
            and (last.tool_calls or last.invalid_tool_calls)
        ):
            merged[-1] = _merge_ai_messages(last, message)
        else:
            merged.append(message)
    return merged


def _merge_ai_messages(first: AIMessage, second: AIMessage) -> AIMessage:
    contents = [message.content for message in (first, second) if message.content]
    content: Any = contents[0] if len(contents) == 1 else ""
    if len(contents) > 1:
        texts = [each for each in contents if isinstance(each, str)]
        blocks = [block for each in contents for block in ([each] if isinstance(each, str) else each)]
        content = "\n".join(texts) if len(texts) == len(contents) else list(map(_as_block, blocks))
    names = ("tool_calls", "invalid_tool_calls")
    calls = {name: [*getattr(first, name), *getattr(second, name)] for name in names}
    return first.model_copy(update={"content": content, **calls})


def stored_role(message: BaseMessage) -> str:
    """Return the role that a LangChain message is stored with."""
    if isinstance(message, ChatMessage):
        return _CHAT_ROLES.get(message.role.lower(), "user")
    return _ROLES[message.type]


def _as_block(block: str | dict[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": block} if isinstance(block, str) else block


def _string_indexes(blocks: list[str | dict[str, Any]]) -> dict[str, list[int]]:
    indexes = [index for index, block in enumerate(blocks) if isinstance(block, str)]
    return {_STRINGS: indexes} if indexes else {}


def _extra_fields(message: BaseMessage) -> dict[str, Any]:
    """Return the fields that differ from their defaults and have no place in a chatmemory message."""
    defaults = _defaults(type(message))
    return {
        name: json_equivalent(value)
        for name, value in message
        if name not in ("type", "content") and not (name in defaults and _is_default(value, defaults[name]))
    }


@cache
def _defaults(cls: type[BaseMessage]) -> dict[str, Any]:
    """Return the default of each field of a class; only to compare with."""
    return {name: field.get_default(call_default_factory=True) for name, field in cls.model_fields.items()}


def _is_default(value: object, default: object) -> bool:
    """Return whether a value equals its default; arrays raise on ==, so only values of one type are compared."""
    return value is default or (type(value) is type(default) and value == default)


def json_equivalent(value: Any, depth: int = 0) -> Any:
    """Convert a value to an equal JSON value where there is one; the core rejects the others."""
    if depth > _MAX_DEPTH or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {_builtin_scalar(key): json_equivalent(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_equivalent(item, depth + 1) for item in value]
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else _builtin_scalar(value)


def _builtin_scalar(value: Any) -> Any:
    """Return a string or number as the built-in type, such as the value of an enum."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, float) else value


def _without_langchain(message: Message | NewMessage) -> BaseMessage:
    """Convert a message that was appended without LangChain: its role decides the class, its blocks are unchanged."""
    id = message.id if isinstance(message, Message) else message.message_id
    content: Any = message.content
    if message.role in ("assistant", "ai"):
        calls = [_tool_call(call) for call in _as_stored(message).tool_calls]
        return AIMessage(
            content=content,
            id=id,
            tool_calls=[call for call in calls if call["type"] == "tool_call"],
            invalid_tool_calls=[call for call in calls if call["type"] == "invalid_tool_call"],
        )
    if message.role == "tool":
        return ToolMessage(content=content, id=id, tool_call_id=_as_stored(message).tool_call_id or "")
    return SystemMessage(content=content, id=id) if message.role == "system" else HumanMessage(content=content, id=id)


def _as_stored(message: Message | NewMessage) -> Message:
    """Return a new message in the form of a stored one."""
    if isinstance(message, Message):
        return message
    role: Any = "assistant" if message.role == "ai" else message.role
    return Message(0, "", role, message.content, datetime.now(UTC), dict(message.metadata or {}))


def _tool_call(call: Any) -> ToolCall | InvalidToolCall:
    """Convert a tool call; it is invalid if its arguments are not a JSON object."""
    try:
        args = json.loads(call.arguments)
    except ValueError:
        args = None
    if isinstance(args, dict):
        return tool_call(name=call.name, args=args, id=call.id)
    return invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=None)
