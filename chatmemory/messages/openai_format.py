"""A context as messages of OpenAI's chat protocol, which most servers speak."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from chatmemory.messages.pairing import is_result as answers_calls
from chatmemory.messages.pairing import turn_starts
from chatmemory.messages.records import Message
from chatmemory.messages.tool_calls import is_call, is_result, result_text
from chatmemory.records import JsonObject


def to_openai(
    messages: Sequence[Message], system: Sequence[str] = (), memories_text: str | None = None
) -> list[JsonObject]:
    """Render a context for OpenAI's chat protocol.

    Args:
        messages: The messages, oldest first.
        system: The texts that stand first, each a system message.
        memories_text: The recalled memories; they stand before the newest message of the user.
    """
    notes: list[JsonObject] = [] if memories_text is None else [{"role": "user", "content": memories_text}]
    made: list[JsonObject] = [{"role": "system", "content": text} for text in system]
    users = (message for message in messages if message.role == "user" and not answers_calls(message))
    last = max((message.seq for message in users), default=None)
    for begin, end in pairwise([0, *turn_starts(messages), len(messages)]):
        turn = messages[begin:end]
        if turn and turn[0].seq == last:
            made += notes
        for message in _as_one(turn):
            made += _messages(message)
    return made if last is not None else [*made, *notes]


def _as_one(turn: Sequence[Message]) -> Iterator[Message]:
    """A turn's messages; calls that were made at once, each in a message of its own, as OpenAI has them: in one."""
    asking = [message for message in turn if message.role == "assistant"]
    if len(asking) > 1:
        calls = [
            {"type": "tool_call", "id": call.id, "name": call.name, "args": call.arguments}
            for message in asking
            for call in message.tool_calls
        ]
        said = "\n".join(filter(None, (message.text for message in asking)))
        yield replace(asking[0], content=said, metadata={"tool_calls": calls})
        turn = turn[len(asking) :]
    yield from turn


def _messages(message: Message) -> Iterator[JsonObject]:
    """A message, behind the results of tools that Anthropic keeps in a user's message and OpenAI in their own."""
    if message.role != "user" or isinstance(message.content, str):
        yield _message(message)
        return
    results = [block for block in message.content if is_result(block)]
    for block in results:
        yield {"role": "tool", "tool_call_id": str(block.get("tool_use_id")), "content": result_text(block)}
    rest = [block for block in message.content if not is_result(block)]
    if rest or not results:
        yield _message(replace(message, content=rest))


def _message(message: Message) -> JsonObject:
    made: JsonObject = {"role": message.role, "content": _content(message)}
    if message.tool_calls:
        made["content"] = made["content"] or None
        made["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        made["tool_call_id"] = message.tool_call_id or ""
    return made


def _content(message: Message) -> str | list[JsonObject]:
    if isinstance(message.content, str):
        return message.content
    if message.role == "tool":
        return "\n".join(filter(None, map(result_text, message.content)))
    parts = [_part(block) for block in message.content if not is_call(block)]
    only_text = message.role != "user" or all(part["type"] == "text" for part in parts)
    return message.text if only_text else parts  # only a user's message may hold pictures


def _part(block: Mapping[str, Any]) -> JsonObject:
    """One block: text and OpenAI's own as they are, pictures of LangChain and Anthropic as OpenAI's."""
    if isinstance(block.get("text"), str):
        return {"type": "text", "text": block["text"]}
    source = block.get("source")
    picture = source if isinstance(source, dict) else block
    if block.get("type") == "image":
        mime = picture.get("mime_type") or picture.get("media_type") or "image/png"
        data = picture.get("base64") or picture.get("data")
        return {"type": "image_url", "image_url": {"url": picture.get("url") or f"data:{mime};base64,{data}"}}
    return {**block, "type": str(block.get("type", "unknown"))}
