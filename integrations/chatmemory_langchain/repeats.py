"""A question that is asked again under its message id: its stored answer, in the form the chain gave it."""

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, BaseMessage, ToolCall
from langchain_core.runnables import Runnable, RunnableConfig

from chatmemory import Context, InvalidInputError, Message, NewMessage
from chatmemory_langchain.messages import from_message, to_message
from chatmemory_langchain.outputs import is_parsed, last_parsers, picked, replies_in, spoken_in

KEY = "with_memory"
"""Metadata key of an answer: the id of its question, and the form of the chain's output."""

PARTIAL = "partial"
"""Metadata key, true in an answer that the client broke off."""


class Output(NamedTuple):
    """A chain's output, and what decides its messages.

    Attributes:
        value: The output, or its chunks joined.
        key: Key of the messages in an output dict.
        parsed: What the chain's last parsers received.
        received: The messages that the chain received.
    """

    value: Any
    key: str | None
    parsed: Any
    received: Sequence[BaseMessage]

    def replies(self) -> list[BaseMessage]:
        """Return the messages that it adds to the session."""
        return replies_in(self.value, self.key, self.parsed, self.received)


def answer_messages(output: Output, question: str | None) -> list[NewMessage]:
    """Return an output's messages to store; with an id of the question, they can be found by it."""
    replies = [to_message(message) for message in output.replies()]
    return replies if question is None else [_marked(reply, _form(output, question)) for reply in replies]


def partial_answer(output: Output, question: str | None) -> list[NewMessage]:
    """Return the text of an output that was broken off, marked as partial; empty if there is none."""
    try:
        texts = [message.text for message in output.replies() if isinstance(message, AIMessage)]
    except InvalidInputError:
        return []
    answers = {} if question is None else {KEY: {"answers": question}}
    return [NewMessage("assistant", text, metadata={PARTIAL: True, **answers}) for text in texts[-1:] if text]


def stored_answer(question: str | None, messages: Sequence[Message]) -> list[Message]:
    """Return the stored answer to a question, without partial ones."""
    return [each for each in messages if _answers(each, question) and not each.metadata.get(PARTIAL)]


def without_broken_turn(context: Context, question: str | None) -> Context:
    """Return a context without the question and its partial answers, if nothing was said after them."""
    messages = context.messages
    start = next((index for index, each in enumerate(messages) if question and each.id == question), len(messages))
    broken = start < len(messages) and all(_answers(each, question) for each in messages[start + 1 :])
    return replace(context, messages=messages[:start]) if broken else context


def restored(
    answer: Sequence[Message], received: Sequence[BaseMessage], chain: Runnable[Any, Any], config: RunnableConfig
) -> Any:
    """Return a stored answer in the form in which the chain gave it."""
    mark = answer[-1].metadata[KEY]
    replies = [from_message(message) for message in answer]
    value = _restored_value(mark, replies, received, chain, config)
    return value if mark.get("key") is None else {mark["key"]: value}


def _restored_value(
    mark: dict[str, Any], replies: list[BaseMessage], received: Sequence[BaseMessage], chain: Any, config: Any
) -> Any:
    last: Any = replies[-1]
    if mark["form"] == "messages":
        return [*received, *replies] if mark.get("all") else replies
    if mark["form"] == "parsed":
        value = last.model_copy(update={"tool_calls": mark["calls"]}) if mark.get("calls") else last
        for parser in last_parsers(chain):
            value = parser.invoke(value, config)
        return value
    return {"message": last, "text": last.text}.get(mark["form"]) or json.loads(last.text)


def _answers(message: Message, question: str | None) -> bool:
    mark = message.metadata.get(KEY)
    return question is not None and isinstance(mark, dict) and mark.get("answers") == question


def _marked(reply: NewMessage, mark: dict[str, Any]) -> NewMessage:
    return NewMessage(reply.role, reply.content, reply.message_id, {**(reply.metadata or {}), KEY: mark})


def _form(output: Output, question: str) -> dict[str, Any]:
    """Describe an output, so that restored() can return its like."""
    if is_parsed(output.value, output.key, output.parsed):
        calls = _calls(output.parsed)
        return {"answers": question, "form": "parsed", **({"calls": calls} if calls else {})}
    key, value = picked(output.value, output.key)
    mark = {"answers": question, "form": _form_of(value), **({} if key is None else {"key": key})}
    return {**mark, "all": True} if mark["form"] == "messages" and len(value) > len(output.received) else mark


def _form_of(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, BaseMessage):
        return "message"
    return "data" if spoken_in(value) is None else "messages"


def _calls(message: Any) -> list[ToolCall]:
    return message.tool_calls if isinstance(message, AIMessage) else []
