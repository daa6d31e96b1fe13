"""Token counts of messages in a prompt."""

import json
import math
from collections.abc import Mapping
from typing import Any, Protocol

from chatmemory.messages.tool_calls import is_call, is_result, result_text, tool_calls_in

PROMPT_TOKENS = 3  # overhead of a prompt (OpenAI cookbook: how to count tokens with tiktoken)
MESSAGE_TOKENS = 4  # overhead of a message, its role included (the same source)
IMAGE_TOKENS = 765  # OpenAI's count for a 1024 x 1024 image in high detail
MEDIA_TOKENS = 1000  # sound, video, documents: there is no public formula

_IMAGES = ("image", "image_url", "input_image")
_MEDIA = ("audio", "input_audio", "video", "file", "input_file", "document")


class Counter(Protocol):
    """A token counter.

    Attributes:
        name: The encoding, or "estimate"; counts are stored with it.
        exact: Whether the model counts the same.
    """

    name: str
    exact: bool

    def count(self, text: str) -> int:
        """Return the number of tokens in the text."""

    def cut(self, text: str, tokens: int) -> str:
        """Return the longest prefix of the text with at most this many tokens."""


class Estimate:
    """An estimate of 4 characters per token, as in langchain-core's count_tokens_approximately."""

    name = "estimate"
    exact = False

    def count(self, text: str) -> int:
        """Return the approximate number of tokens."""
        return math.ceil(len(text) / 4)

    def cut(self, text: str, tokens: int) -> str:
        """Return a prefix of approximately this many tokens."""
        return text[: max(0, tokens) * 4]


ESTIMATE = Estimate()


def message_tokens(counter: Counter, content: str | list[dict[str, Any]], metadata: Mapping[str, Any]) -> int:
    """Return the tokens of a message in a prompt: text, other blocks, tool calls and overhead."""
    if isinstance(content, str):
        cost = counter.count(content)
        if not metadata:
            return MESSAGE_TOKENS + cost
    else:
        cost = sum(_block_tokens(counter, block) for block in content)
        texts = [text for text in map(result_text, content) if text]
        if len(texts) > 1:  # OpenAI receives them joined by line breaks
            cost += max(0, counter.count("\n".join(texts)) - sum(map(counter.count, texts)))
    calls = tool_calls_in(content, metadata)
    return MESSAGE_TOKENS + cost + sum(MESSAGE_TOKENS + counter.count(call.name + call.arguments) for call in calls)


def _block_tokens(counter: Counter, block: Mapping[str, Any]) -> int:
    """Return the tokens of a block in the form of its host, or as the text of a tool's message if that is more."""
    overhead = MESSAGE_TOKENS if is_result(block) else 0  # it becomes a message of its own
    text = "" if isinstance(block.get("text"), str) else result_text(block)
    return overhead + max(_own_tokens(counter, block), counter.count(text) if text else 0)


def _own_tokens(counter: Counter, block: Mapping[str, Any]) -> int:
    kind = block.get("type")
    if isinstance(block.get("text"), str):
        return counter.count(block["text"])
    if kind in _IMAGES:
        return IMAGE_TOKENS
    source = block.get("source")
    is_text = isinstance(source, dict) and source.get("type") in ("text", "content")
    if kind in _MEDIA and not is_text:
        return MEDIA_TOKENS
    return 0 if is_call(block) else counter.count(json.dumps(block, ensure_ascii=False))
