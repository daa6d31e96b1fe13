"""LangChain messages as chatmemory stores them, and back; nothing is lost on the way."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
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
"""Where in a message's metadata stands what role and content cannot hold."""

_CALLS = ("tool_calls", "invalid_tool_calls", "tool_call_id")  # stand where chatmemory looks for calls and results
_STRINGS = "strings"  # which blocks of the content were bare strings
_MAX_DEPTH = 200  # the core refuses less; this only keeps a cycle from running away

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
    """Turn a LangChain message into one to append; from_message() gives it back, equal in every field.

    A chunk becomes the whole message it is of. Inside its fields tuples become lists, pydantic models dicts, and
    enums of strings or numbers their values; what else JSON cannot hold is refused when it is appended.

    Raises:
        InvalidInputError: It is of a class that LangChain itself does not define, so it could not come back.
    """
    whole = message_chunk_to_message(message)
    if _CLASSES.get(whole.type) is not type(whole):
        raise InvalidInputError(
            f"a {type(message).__name__} cannot be stored: it would come back as another class; "
            f"use {', '.join(cls.__name__ for cls in _CLASSES.values())}."
        )
    content = plain(whole.content)
    blocks = content if isinstance(content, list) else []
    fields = _fields(whole)
    calls = {name: fields.pop(name) for name in _CALLS if name in fields}
    return NewMessage(
        role=_role(whole),
        content=[_block(block) for block in blocks] if blocks is content else content,
        message_id=None if isinstance(whole, RemoveMessage) else whole.id,  # its id is that of another message
        metadata={**calls, KEY: {"type": whole.type, **_strings(blocks), **fields}},
    )


def from_message(message: Message | NewMessage) -> BaseMessage:
    """Turn a stored message into a LangChain message, also one that was appended without LangChain."""
    metadata = message.metadata or {}
    kept = metadata.get(KEY)
    if not isinstance(kept, dict) or kept.get("type") not in _CLASSES:
        return _without_langchain(message)
    calls = {name: metadata[name] for name in _CALLS if name in metadata}
    fields = calls | {name: value for name, value in kept.items() if name not in ("type", _STRINGS)}
    content: Any = message.content
    for index in kept.get(_STRINGS, ()) if isinstance(content, list) else ():  # a context may have cut it
        if index < len(content) and content[index].get("type") == "text":
            content = [*content[:index], content[index]["text"], *content[index + 1 :]]
    return _CLASSES[kept["type"]](content=content, **fields)


def from_context(context: Context, *, from_human: bool = False) -> list[BaseMessage]:
    """What a prompt gets as LangChain messages: the summary as a system message, and the messages from a turn on.

    Args:
        context: What Session.context() gave.
        from_human: Whether to leave out what stands before the first human message even in a whole session, but
            for its system message.
    """
    stored = context.messages
    begins = [message for message in stored[:1] if message.seq == 1 and message.role == "system"]
    rest = stored[len(begins) :]
    if from_human or context.omitted:
        users = [index for index, message in enumerate(rest) if message.role == "user"]
        others = [] if from_human else [index for index, message in enumerate(rest) if message.role != "tool"]
        starts = users or others
        rest = rest[starts[0] :] if starts else ()
    summary = [] if context.summary is None else [SystemMessage(context.summary)]
    return [*map(from_message, begins), *summary, *_calls_joined(map(from_message, rest))]


def _calls_joined(messages: Iterable[BaseMessage]) -> list[BaseMessage]:
    """The messages; calls that were made at once, each in a message of its own, in one: models take no other form."""
    made: list[BaseMessage] = []
    for message in messages:
        last = made[-1] if made else None
        if (
            isinstance(last, AIMessage)
            and isinstance(message, AIMessage)
            and (last.tool_calls or last.invalid_tool_calls)
        ):
            made[-1] = _joined(last, message)
        else:
            made.append(message)
    return made


def _joined(first: AIMessage, second: AIMessage) -> AIMessage:
    contents = [message.content for message in (first, second) if message.content]
    content: Any = contents[0] if len(contents) == 1 else ""
    if len(contents) > 1:
        texts = [each for each in contents if isinstance(each, str)]
        blocks = [block for each in contents for block in ([each] if isinstance(each, str) else each)]
        content = "\n".join(texts) if len(texts) == len(contents) else list(map(_block, blocks))
    names = ("tool_calls", "invalid_tool_calls")
    calls = {name: [*getattr(first, name), *getattr(second, name)] for name in names}
    return first.model_copy(update={"content": content, **calls})


def _role(message: BaseMessage) -> str:
    if isinstance(message, ChatMessage):
        return _CHAT_ROLES.get(message.role.lower(), "user")
    return _ROLES[message.type]


def _block(block: str | dict[str, Any]) -> dict[str, Any]:
    return {"type": "text", "text": block} if isinstance(block, str) else block


def _strings(blocks: list[str | dict[str, Any]]) -> dict[str, list[int]]:
    indexes = [index for index, block in enumerate(blocks) if isinstance(block, str)]
    return {_STRINGS: indexes} if indexes else {}


def _fields(message: BaseMessage) -> dict[str, Any]:
    """The fields that differ from their defaults, except those that stand elsewhere."""
    known = type(message).model_fields
    defaults = {name: field.get_default(call_default_factory=True) for name, field in known.items()}
    return {
        name: plain(value)
        for name, value in message
        if name not in ("type", "content") and not (name in defaults and _same(value, defaults[name]))
    }


def _same(value: object, default: object) -> bool:
    """Whether they are equal; only values of one type are compared, as arrays refuse to be."""
    return value is default or (type(value) is type(default) and value == default)


def plain(value: Any, depth: int = 0) -> Any:
    """The value as JSON has it, where that is the same value; the core refuses what remains."""
    if depth > _MAX_DEPTH or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {_plain_scalar(key): plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, depth + 1) for item in value]
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else _plain_scalar(value)


def _plain_scalar(value: Any) -> Any:
    """A string or number without its subclass, such as an enum's."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__int__(value)
    return float.__float__(value) if isinstance(value, float) else value


def _without_langchain(message: Message | NewMessage) -> BaseMessage:
    """A message that was appended by other means: its role decides the class, its blocks are passed on."""
    id = message.id if isinstance(message, Message) else message.message_id
    content: Any = message.content
    if message.role in ("assistant", "ai"):
        calls = [_tool_call(call) for call in _stored(message).tool_calls]
        return AIMessage(
            content=content,
            id=id,
            tool_calls=[call for call in calls if call["type"] == "tool_call"],
            invalid_tool_calls=[call for call in calls if call["type"] == "invalid_tool_call"],
        )
    if message.role == "tool":
        return ToolMessage(content=content, id=id, tool_call_id=_stored(message).tool_call_id or "")
    return SystemMessage(content=content, id=id) if message.role == "system" else HumanMessage(content=content, id=id)


def _stored(message: Message | NewMessage) -> Message:
    """The message as it is once it is stored."""
    if isinstance(message, Message):
        return message
    role: Any = "assistant" if message.role == "ai" else message.role
    return Message(0, "", role, message.content, datetime.now(UTC), dict(message.metadata or {}))


def _tool_call(call: Any) -> ToolCall | InvalidToolCall:
    """One call; invalid where its arguments are no JSON object."""
    try:
        args = json.loads(call.arguments)
    except ValueError:
        args = None
    if isinstance(args, dict):
        return tool_call(name=call.name, args=args, id=call.id)
    return invalid_tool_call(name=call.name, args=call.arguments, id=call.id, error=None)
