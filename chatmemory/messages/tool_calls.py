"""Tool calls and their results, in the forms in which the hosts write them."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

_CALLS = ("tool_call", "tool_use", "function_call", "custom_tool_call")
_ANSWERED = ("tool_call_id", "tool_use_id", "call_id")

# What adapters keep of calls and results, in the metadata under their names; schema/functions/append.sql has it too.
_ADAPTERS = {"langchain": ("tool_calls", "tool_call_id"), "openai_agents": ("call_id", "item")}


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
    return block.get("type") in _CALLS


def is_result(block: Mapping[str, Any]) -> bool:
    """Whether a block of a user's message is the result of a tool call."""
    return block.get("type") == "tool_result"


def answers(role: str, block: Mapping[str, Any]) -> bool:
    """Whether a block of a message with this role says which call it answers."""
    if role == "user":
        return is_result(block)
    return role == "tool" and any(isinstance(block.get(key), str) for key in _ANSWERED)


def result_text(block: Mapping[str, Any]) -> str:
    """The readable text of a block, or of the result of a tool call in it."""
    content = block["text"] if isinstance(block.get("text"), str) else block.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "\n".join(text for text in texts if isinstance(text, str))


def said_in(metadata: Mapping[str, Any]) -> list[Any]:
    """What metadata says of calls and results; the same message says the same."""
    said = [metadata.get(key) for key in ("tool_calls", "tool_call_id")]
    kept = ((metadata.get(adapter), keys) for adapter, keys in _ADAPTERS.items())
    return [*said, *(each.get(key) if isinstance(each, dict) else None for each, keys in kept for key in keys)]


def tool_calls_in(content: object, metadata: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """The calls of an assistant's message: from its metadata (OpenAI, LangChain), else from its blocks (Anthropic)."""
    for kept in _namespaces(metadata):
        calls = [kept.get(key) for key in ("tool_calls", "invalid_tool_calls")]
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
        for source in (*_namespaces(metadata), *blocks):
            for key in _ANSWERED:
                if isinstance(source.get(key), str):
                    return (str(source[key]),)
    return ()


def _namespaces(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The metadata itself, and what adapters keep one level down."""
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
