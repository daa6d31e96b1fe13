"""Pairing of tool calls with their results: providers reject one without the other."""

from collections.abc import Sequence
from itertools import pairwise

from chatmemory.messages.records import Message
from chatmemory.messages.tool_calls import answered_in


def is_result(message: Message) -> bool:
    """Return whether a message has tool results: a tool message, or a user message in Anthropic's format."""
    if message.role == "tool":
        return True
    may_have_results = message.role == "user" and not isinstance(message.content, str)
    return may_have_results and bool(answered_in(message.role, message.content, message.metadata))


def turn_starts(messages: Sequence[Message]) -> list[int]:
    """Return the indexes at which a turn begins. Calls and their results are in one turn.

    Parallel calls may be in several consecutive assistant messages without text, as in the OpenAI Agents SDK; they
    and their results are one turn.
    """
    starts: list[int] = []
    calling = False  # the last message has calls, and no result has followed yet
    for index, message in enumerate(messages):
        role = message.role
        if role != "assistant" and (role == "tool" or (type(message.content) is not str and is_result(message))):
            calling = False
        elif not (calling and role == "assistant" and (message.tool_calls or not message.text)):
            starts.append(index)
            calling = role == "assistant" and bool(message.tool_calls)
    return starts


def unpaired(messages: Sequence[Message]) -> set[int]:
    """Return the seqs of calls that are not fully answered, and of results without a call.

    Results directly follow the messages with their calls; a result elsewhere answers nothing. Parallel calls are all
    unpaired while one of their results may still follow, so that the next message continues from there.
    """
    found: set[int] = set()
    starts = turn_starts(messages)
    found.update(message.seq for message in messages[: starts[0] if starts else None])  # results without a call
    for begin, end in pairwise([*starts, len(messages)]):
        if end - begin > 1 or (messages[begin].role == "assistant" and messages[begin].tool_calls):
            found |= _unpaired_in(messages[begin:end], last=end == len(messages))
    return found


def _unpaired_in(turn: Sequence[Message], *, last: bool) -> set[int]:
    waiting: dict[str, int] = {}  # ids of calls without a result, with the seqs of their messages
    answers: list[set[int]] = []  # the seqs of results, each with those of the calls it answers
    found: set[int] = set()
    for message in turn:
        if not is_result(message):
            calls = {call.id for call in message.tool_calls}
            found.update(waiting[id] for id in calls & waiting.keys())  # a repeated id: the newer call is answered
            waiting.update(dict.fromkeys(calls, message.seq))
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
