"""One turn of a chain with memory: what it reads, and how it is stored."""

from itertools import takewhile
from typing import Any, NamedTuple

from langchain_core.messages import BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import Runnable, run_in_executor

from chatmemory import AsyncSession, Context, Message, NewMessage, Session
from chatmemory_langchain.messages import from_message, to_message
from chatmemory_langchain.outputs import ParserInput

MAX_QUERY_CHARACTERS = 2000


class Keys(NamedTuple):
    """Keys of messages in input and output dicts."""

    input: str | None
    output: str | None
    history: str | None


class Limits(NamedTuple):
    """Limits of what is read."""

    tokens: int | None
    messages: int | None
    recall: bool

    def query(self, new: list[BaseMessage]) -> str | None:
        """Return the user's newest words, for which memories are recalled; None: none are."""
        texts = [message.text for message in new if isinstance(message, HumanMessage)] if self.recall else []
        return (texts[-1][-MAX_QUERY_CHARACTERS:].strip() if texts else "") or None


class Turn(NamedTuple):
    """One call in progress."""

    session: Session | AsyncSession
    past: list[BaseMessage]
    new: list[BaseMessage]
    input: Any  # the chain's input
    chain: Runnable[Any, Any]
    parser_input: ParserInput
    question: str | None  # its message id
    answer: list[Message]  # stored when it was asked before


def store(turn: Turn, answer: list[NewMessage]) -> None:
    """Append a turn's new messages and its answer, all or none."""
    assert isinstance(turn.session, Session)
    turn.session.append_many([*map(to_message, turn.new), *answer])


async def astore(turn: Turn, answer: list[NewMessage]) -> None:
    """Append a turn's new messages and its answer, all or none."""
    if isinstance(turn.session, AsyncSession):
        await turn.session.append_many([*map(to_message, turn.new), *answer])
    else:
        await run_in_executor(None, store, turn, answer)


def may_answer_calls(new: list[BaseMessage], context: Context) -> bool:
    """Return whether the new messages may answer tool calls that the context omits for lack of an answer."""
    return bool(context.unpaired) and bool(new) and isinstance(new[0], ToolMessage)


def answered_calls(newest: list[Message], new: list[BaseMessage], context: Context) -> list[BaseMessage]:
    """Return the message whose calls are now all answered, with the results stored so far."""
    unit = list(takewhile(lambda message: message.seq in context.unpaired, reversed(newest)))[::-1]
    start = max((index for index, message in enumerate(unit) if message.tool_calls), default=len(unit))
    asked = {call.id for message in unit[start : start + 1] for call in message.tool_calls}
    results = takewhile(lambda message: isinstance(message, ToolMessage), new)
    now = {message.tool_call_id for message in results if isinstance(message, ToolMessage)}
    open_calls = asked - now - {message.tool_call_id for message in unit[start + 1 :]}
    return [] if open_calls else [from_message(message) for message in unit[start:]]
