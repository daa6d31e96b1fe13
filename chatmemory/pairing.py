"""Tool calls and their results belong together: a provider refuses one without the other."""

from collections.abc import Sequence

from chatmemory.models import Message
from chatmemory.tools import answered_in


def is_result(message: Message) -> bool:
    """Whether a message answers tool calls: a tool's, or a user's that holds results as Anthropic writes them."""
    if message.role == "tool":
        return True
    bare = message.role != "user" or isinstance(message.content, str)
    return not bare and bool(answered_in(message.role, message.content, message.metadata))


def unpaired(messages: Sequence[Message]) -> set[int]:
    """The seqs of calls that are not fully answered, and of results nobody asked for.

    Results stand right behind the message that asks for them; one behind anything else answers nothing.
    """
    found: set[int] = set()
    unit: list[int] = []
    open_calls: set[str] = set()
    for message in messages:
        if is_result(message):
            answered = answered_in(message.role, message.content, message.metadata)
            if answered and open_calls.issuperset(answered):
                open_calls.difference_update(answered)
                unit.append(message.seq)
            else:
                found.add(message.seq)
            continue
        if open_calls:
            found.update(unit)
        open_calls = {call.id for call in message.tool_calls} if message.role == "assistant" else set()
        unit = [message.seq]
    return found.union(unit) if open_calls else found
