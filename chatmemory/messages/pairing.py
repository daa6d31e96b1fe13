"""Tool calls and their results belong together: a provider refuses one without the other."""

from collections.abc import Sequence
from itertools import pairwise

from chatmemory.messages.records import Message
from chatmemory.messages.tool_calls import answered_in


def is_result(message: Message) -> bool:
    """Whether a message answers tool calls: a tool's, or a user's that holds results as Anthropic writes them."""
    if message.role == "tool":
        return True
    bare = message.role != "user" or isinstance(message.content, str)
    return not bare and bool(answered_in(message.role, message.content, message.metadata))


def turn_starts(messages: Sequence[Message]) -> list[int]:
    """The indexes at which a turn begins: not between calls and their results.

    Calls that were made at once may stand in several messages of the assistant, with nothing said between them, as
    the OpenAI Agents SDK has them: up to the last of their results they are one turn.
    """
    found: list[int] = []
    calling = False  # and no result has come yet
    for index, message in enumerate(messages):
        role = message.role
        if role != "assistant" and (role == "tool" or (type(message.content) is not str and is_result(message))):
            calling = False
        elif not (calling and role == "assistant" and (message.tool_calls or not message.text)):
            found.append(index)
            calling = role == "assistant" and bool(message.tool_calls)
    return found


def unpaired(messages: Sequence[Message]) -> set[int]:
    """The seqs of calls that are not fully answered, and of results nobody asked for.

    Results stand right behind the messages that ask for them; one behind anything else answers nothing. Of calls that
    were made at once all are left out while a result may still come, so that what comes next goes on from there.
    """
    found: set[int] = set()
    starts = turn_starts(messages)
    found.update(message.seq for message in messages[: starts[0] if starts else None])  # nobody's results
    for begin, end in pairwise([*starts, len(messages)]):
        if end - begin > 1 or (messages[begin].role == "assistant" and messages[begin].tool_calls):
            found |= _unpaired_in(messages[begin:end], last=end == len(messages))
    return found


def _unpaired_in(turn: Sequence[Message], *, last: bool) -> set[int]:
    waiting: dict[str, int] = {}  # calls without a result, with the seq of who makes them
    answers: list[set[int]] = []  # the seqs of results, each with those of whom it answers
    found: set[int] = set()
    for message in turn:
        if not is_result(message):
            asked = {call.id for call in message.tool_calls}
            found.update(waiting[id] for id in asked & waiting.keys())  # asked again: the newer one is answered
            waiting.update(dict.fromkeys(asked, message.seq))
            continue
        answered = set(answered_in(message.role, message.content, message.metadata))
        if answered and waiting.keys() >= answered:
            answers.append({message.seq, *(waiting.pop(id) for id in answered)})
        else:
            found.add(message.seq)
    if last and waiting:
        return {message.seq for message in turn}
    found.update(waiting.values())
    while torn := [together for together in answers if together & found and not together <= found]:
        found.update(*torn)
    return found
