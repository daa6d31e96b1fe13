"""Tool calls and their results, in the forms that hosts and providers use."""

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Any, NamedTuple

_CALL_TYPES = ("tool_call", "tool_use", "function_call", "custom_tool_call")

# The keys of the metadata that are part of a message's identity. Adapters write them at the top level; earlier releases
# wrote calls and answered ids one level down, where they are still read. append.sql has the same rule.
CALLS = ("tool_calls", "invalid_tool_calls")  # lists of calls
ANSWERED = ("tool_call_id", "tool_use_id", "call_id")  # ids of the call that a tool's message answers
HOST_ITEM = "host_item"  # the host's own form of the message, if role and content do not contain all of it


class ToolCall(NamedTuple):
    """One tool call of an assistant.

    Attributes:
        id: The id that its result refers to.
        name: The tool's name.
        arguments: The arguments as JSON text.
    """

    id: str
    name: str
    arguments: str


def is_call(block: Mapping[str, Any]) -> bool:
    """Return whether a block of a message's content is a tool call."""
    return block.get("type") in _CALL_TYPES


def is_result(block: Mapping[str, Any]) -> bool:
    """Return whether a block of a user's message is the result of a tool call."""
    return block.get("type") == "tool_result"


def answers(role: str, block: Mapping[str, Any]) -> bool:
    """Return whether a block of a message with this role names the call it answers."""
    if role == "user":
        return is_result(block)
    return role == "tool" and any(isinstance(block.get(key), str) for key in ANSWERED)


def result_text(block: Mapping[str, Any]) -> str:
    """Return the readable text of a block, or of the tool result in it."""
    content = block["text"] if isinstance(block.get("text"), str) else block.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "\n".join(text for text in texts if isinstance(text, str))


def identity_in(metadata: Mapping[str, Any]) -> tuple[list[Any], list[str], Any]:
    """Return the metadata that is part of a message's identity."""
    levels = list(_levels(metadata))
    calls = [level[key] for level in levels for key in CALLS if isinstance(level.get(key), list) and level[key]]
    answered = [level[key] for level in levels for key in ANSWERED if isinstance(level.get(key), str)]
    return calls, answered, metadata.get(HOST_ITEM)


def tool_calls_in(content: object, metadata: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """Return the calls of an assistant's message, from its metadata (OpenAI, LangChain) or its blocks (Anthropic)."""
    for level in _levels(metadata):
        calls = [level[key] for key in CALLS if key in level and isinstance(level[key], list) and level[key]]
        if calls:
            return tuple(_calls(chain.from_iterable(calls)))
    blocks = content if isinstance(content, list) else []
    return tuple(_calls(filter(is_call, blocks)))


def answered_in(role: str, content: object, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of the calls that a message answers: one in a tool's message, several in a user's (Anthropic)."""
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
    """Yield the metadata itself, and the objects in it."""
    yield metadata
    yield from (value for value in metadata.values() if isinstance(value, dict))


def _calls(calls: Iterable[Any]) -> Iterator[ToolCall]:
    for call in calls:
        if not isinstance(call, dict):
            continue
        function = call.get("function")
        body = function if isinstance(function, dict) else call
        arguments: Any = next((body[key] for key in ("arguments", "args", "input") if key in body), {})
        text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
        yield ToolCall(str(call.get("call_id") or call.get("id") or ""), str(body.get("name") or ""), text)
