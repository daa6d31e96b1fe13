"""A context as messages of OpenAI's chat protocol, which most servers speak."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

from chatmemory.context.records import Context
from chatmemory.messages.pairing import is_result as answers_calls
from chatmemory.messages.pairing import turn_starts
from chatmemory.messages.records import Message, NewMessage
from chatmemory.messages.tool_calls import is_call, is_result, result_text
from chatmemory.records import JsonObject


def to_openai(context: Context) -> list[JsonObject]:
    """The system message, the summary, and the messages; memories stand before the newest of the user's."""
    told = [text for text in (context.system, context.summary_text) if text is not None]
    made: list[JsonObject] = [{"role": "system", "content": text} for text in told]
    users = (message for message in context.messages if message.role == "user" and not answers_calls(message))
    last = max((message.seq for message in users), default=None)
    for begin, end in pairwise([0, *turn_starts(context.messages), len(context.messages)]):
        turn = context.messages[begin:end]
        if turn and turn[0].seq == last:
            made += _notes(context)
        for message in _as_one(turn):
            made += _messages(message)
    return made if last is not None else [*made, *_notes(context)]


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


def _notes(context: Context) -> list[JsonObject]:
    return [{"role": "user", "content": context.memories_text}] if context.memories else []


def from_openai(message: Mapping[str, Any]) -> NewMessage:
    """A message of OpenAI's protocol as it is stored: tool_calls and tool_call_id go into its metadata."""
    metadata = {key: message[key] for key in ("tool_calls", "tool_call_id", "name") if message.get(key) is not None}
    content = message.get("content")
    return NewMessage(message.get("role", ""), "" if content is None else content, metadata=metadata or None)


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
