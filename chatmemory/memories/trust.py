"""The trust of what a message says."""

from chatmemory.memories.records import Trust
from chatmemory.messages.records import Message
from chatmemory.messages.tool_calls import answers

_TRUST: dict[str, Trust] = {"user": "user", "assistant": "assistant", "tool": "tool", "system": "app"}


def message_trust(message: Message) -> Trust:
    """Return how far the text of a message can be trusted.

    A user's message may hold results of tools, as Anthropic's protocol sends them. Words of a tool are a tool's, and a
    message with both is trusted as its least trusted words. A result that is no part of the text changes nothing,
    unless the message has no words but the tool's.
    """
    if isinstance(message.content, str) or message.role == "tool":
        return _TRUST[message.role]
    results = [block for block in message.content if answers(message.role, block)]
    own = [block for block in message.content if not answers(message.role, block)]
    has_words = [any(isinstance(block.get("text"), str) for block in blocks) for blocks in (results, own)]
    return "tool" if results and (has_words[0] or not has_words[1]) else _TRUST[message.role]
