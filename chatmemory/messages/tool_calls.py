"""Tool calls and their results, in the forms in which the hosts write them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_CALL_TYPES = ("tool_call", "tool_use", "function_call", "custom_tool_call")

# The keys of a message's metadata that belong to what the message says. An adapter writes them at the top; one level
# down, where adapters wrote them before, calls and answered ids are found as well. append.sql has the same rule.
CALLS = ("tool_calls", "invalid_tool_calls")  # lists of calls
ANSWERED = ("tool_call_id", "tool_use_id", "call_id")  # ids of the call that a tool's message answers
HOST_ITEM = "host_item"  # what a host calls the message, where role and content do not hold all of it


class ToolCall(NamedTuple):
    """One call an assistant asks for.

    Attributes:
        id: What its result refers to.
        name: The tool.
        arguments: JSON text.
    """

    id: str
    name: str
    arguments: str


def is_call(block: Mapping[str, Any]) -> bool:
    """Whether a block of a message's content is a tool call."""
    return block.get("type") in _CALL_TYPES


def is_result(block: Mapping[str, Any]) -> bool:
    """Whether a block of a user's message is the result of a tool call."""
    return block.get("type") == "tool_result"


def answers(role: str, block: Mapping[str, Any]) -> bool:
    """Whether a block of a message with this role says which call it answers."""
    if role == "user":
        return is_result(block)
    return role == "tool" and any(isinstance(block.get(key), str) for key in ANSWERED)


def result_text(block: Mapping[str, Any]) -> str:
    """The readable text of a block, or of the result of a tool call in it."""
    content = block["text"] if isinstance(block.get("text"), str) else block.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "\n".join(text for text in texts if isinstance(text, str))


def identity_in(metadata: Mapping[str, Any]) -> tuple[list[Any], list[str], Any]:
    """The part of the metadata that decides whether two messages with the same id are the same message."""
    levels = list(_levels(metadata))
    calls = [level[key] for level in levels for key in CALLS if isinstance(level.get(key), list) and level[key]]
    answered = [level[key] for level in levels for key in ANSWERED if isinstance(level.get(key), str)]
    return calls, answered, metadata.get(HOST_ITEM)


def tool_calls_in(content: object, metadata: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The calls of an assistant's message: from its metadata (OpenAI, LangChain), else from its blocks (Anthropic)."""
    for level in _levels(metadata):
        calls = [level.get(key) for key in CALLS]
        if any(isinstance(each, list) and each for each in calls):
            return tuple(_calls(call for each in calls if isinstance(each, list) for call in each))
    blocks = content if isinstance(content, list) else []
    return tuple(_calls(filter(is_call, blocks)))


def answered_in(role: str, content: object, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Which calls a message answers: a tool's message one, a user's as many as it has results (Anthropic)."""
    blocks = content if isinstance(content, list) else []
    if role == "user":
        return tuple(str(block.get("tool_use_id")) for block in blocks if is_result(block))
    if role == "tool":
        for source in (*_levels(metadata), *blocks):
            for key in ANSWERED:
                if isinstance(source.get(key), str):
                    return (str(source[key]),)
    return ()


def _levels(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The metadata itself, and the objects in it."""
    yield metadata
    yield from (value for value in metadata.values() if isinstance(value, dict))


def _calls(calls: Iterable[Any]) -> Iterator[ToolCall]:
    for call in calls:
        if not isinstance(call, dict):
            continue
        function = call.get("function")
        said = function if isinstance(function, dict) else call
        arguments: Any = next((said[key] for key in ("arguments", "args", "input") if key in said), {})
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        yield ToolCall(str(call.get("call_id") or call.get("id") or ""), str(said.get("name") or ""), text)
