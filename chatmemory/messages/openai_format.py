"""Conversion between contexts and messages of OpenAI's chat protocol."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise

from chatmemory.messages.attachments import is_attachment, openai_part
from chatmemory.messages.pairing import is_result as answers_calls
from chatmemory.messages.pairing import turn_starts
from chatmemory.messages.records import Message
from chatmemory.messages.tool_calls import is_call, is_result, result_text
from chatmemory.records import JsonObject


def to_openai(
    messages: Sequence[Message],
    system: str | None = None,
    summary_text: str | None = None,
    memories_text: str | None = None,
) -> list[JsonObject]:
    """Render a context for OpenAI's chat protocol.

    Args:
        messages: The messages, oldest first.
        system: The text of a leading system message.
        summary_text: The running summary, put after the system messages.
        memories_text: The recalled memories, put before the newest user message.
    """
    notes: list[JsonObject] = [] if memories_text is None else [{"role": "user", "content": memories_text}]
    converted: list[JsonObject] = [] if system is None else [{"role": "system", "content": system}]
    first = 1 if messages and messages[0].role == "system" and messages[0].seq == 1 else 0
    converted += map(_openai_message, messages[:first])
    messages = messages[first:]
    converted += [] if summary_text is None else [{"role": "user", "content": summary_text}]
    users = (message for message in messages if message.role == "user" and not answers_calls(message))
    last = max((message.seq for message in users), default=None)
    for begin, end in pairwise([0, *turn_starts(messages), len(messages)]):
        turn = messages[begin:end]
        if turn and turn[0].seq == last:
            converted += notes
        for message in _merge_parallel_calls(turn):
            converted += _openai_messages(message)
    return converted if last is not None else [*converted, *notes]


def _merge_parallel_calls(turn: Sequence[Message]) -> Iterator[Message]:
    """Yield a turn's messages, with parallel calls merged into one message, as OpenAI requires."""
    callers = [message for message in turn if message.role == "assistant"]
    if len(callers) > 1:
        calls = [
            {"type": "tool_call", "id": call.id, "name": call.name, "args": call.arguments}
            for message in callers
            for call in message.tool_calls
        ]
        text = "\n".join(filter(None, (message.text for message in callers)))
        yield replace(callers[0], content=text, metadata={"tool_calls": calls})
        turn = turn[len(callers) :]
    yield from turn


def _openai_messages(message: Message) -> Iterator[JsonObject]:
    """Yield the tool results of a user message (Anthropic's format) as tool messages, then the rest of the message."""
    if message.role != "user" or isinstance(message.content, str):
        yield _openai_message(message)
        return
    results = [block for block in message.content if is_result(block)]
    for block in results:
        yield {"role": "tool", "tool_call_id": str(block.get("tool_use_id")), "content": result_text(block)}
    rest = [block for block in message.content if not is_result(block)]
    if rest or not results:
        yield _openai_message(replace(message, content=rest))


def _openai_message(message: Message) -> JsonObject:
    converted: JsonObject = {"role": message.role, "content": _content(message)}
    if message.tool_calls:
        converted["content"] = converted["content"] or None
        converted["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.role == "tool":
        converted["tool_call_id"] = message.tool_call_id or ""
    return converted


def _content(message: Message) -> str | list[JsonObject]:
    if isinstance(message.content, str):
        return message.content
    if message.role == "tool":
        return "\n".join(filter(None, map(result_text, message.content)))
    blocks = [block for block in message.content if not is_call(block)]
    if message.role != "user":  # only a user's message may contain more than text
        blocks = [block for block in blocks if isinstance(block.get("text"), str) or is_attachment(block)]
        return "\n".join(map(_as_text, blocks))
    parts = list(map(openai_part, blocks))
    if all(part["type"] == "text" for part in parts):
        return "\n".join(part["text"] for part in parts)
    return parts


def _as_text(block: JsonObject) -> str:
    part = openai_part(block)
    return str(part["text"]) if part["type"] == "text" else f"[attachment: {block['type']}]"
