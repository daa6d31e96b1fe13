"""What a message costs in a prompt, by whatever counts its text."""

import json
import math
from collections.abc import Mapping
from typing import Any, Protocol

from chatmemory.messages.tool_calls import is_call, tool_calls_in

PROMPT_TOKENS = 3  # that OpenAI adds to every prompt, and
MESSAGE_TOKENS = 4  # to every message, its role among them (OpenAI cookbook: how to count tokens with tiktoken)
IMAGE_TOKENS = 765  # a picture of 1024 x 1024 in high detail, as OpenAI counts it
MEDIA_TOKENS = 1000  # sound, video, documents: no public formula

_IMAGES = ("image", "image_url", "input_image")
_MEDIA = ("audio", "input_audio", "video", "file", "input_file", "document")


class Counter(Protocol):
    """A way to count tokens.

    Attributes:
        name: The encoding, or the estimate; counts are kept with it.
        exact: Whether the model counts the same.
    """

    name: str
    exact: bool

    def count(self, text: str) -> int:
        """How many tokens the text has."""

    def cut(self, text: str, tokens: int) -> str:
        """The longest beginning of the text that has at most this many tokens."""


class Estimate:
    """4 characters a token, as langchain-core's count_tokens_approximately."""

    name = "estimate"
    exact = False

    def count(self, text: str) -> int:
        """How many tokens the text has, roughly."""
        return math.ceil(len(text) / 4)

    def cut(self, text: str, tokens: int) -> str:
        """The beginning of the text with this many tokens, roughly."""
        return text[: max(0, tokens) * 4]


ESTIMATE = Estimate()


def message_tokens(counter: Counter, content: str | list[dict[str, Any]], metadata: Mapping[str, Any]) -> int:
    """What a message adds to a prompt: its text, its parts, its tool calls, and what surrounds them."""
    if isinstance(content, str):
        cost = counter.count(content)
        if not metadata:
            return MESSAGE_TOKENS + cost
    else:
        cost = sum(_block_tokens(counter, block) for block in content)
        texts = [block["text"] for block in content if isinstance(block.get("text"), str)]
        if len(texts) > 1:  # OpenAI gets them as one, with line breaks
            cost += max(0, counter.count("\n".join(texts)) - sum(map(counter.count, texts)))
    calls = tool_calls_in(content, metadata)
    return MESSAGE_TOKENS + cost + sum(MESSAGE_TOKENS + counter.count(call.name + call.arguments) for call in calls)


def _block_tokens(counter: Counter, block: Mapping[str, Any]) -> int:
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
