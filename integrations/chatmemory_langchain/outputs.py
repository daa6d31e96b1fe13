"""The messages that a chain's output adds to its session: the assistant's, whatever the output's form."""

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from itertools import takewhile
from typing import Any

from langchain_core.load.serializable import Serializable
from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    BaseMessageChunk,
    ChatMessage,
    HumanMessage,
    SystemMessage,
    message_chunk_to_message,
)
from langchain_core.output_parsers.base import BaseLLMOutputParser
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableSequence
from langchain_core.runnables.base import RunnableBindingBase
from pydantic_core import to_json

from chatmemory import InvalidInputError
from chatmemory_langchain.messages import stored_role

_CALLS = ("tool_calls", "function_call")  # as some models repeat them in additional_kwargs


class ParserInput(Runnable[Any, Any]):
    """A step in front of a chain's last parsers: passes everything on and keeps it.

    Attributes:
        value: A message or text, joined from its chunks; None: nothing came by.
    """

    def __init__(self) -> None:
        self.value: Any = None

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Pass the input on."""
        self.value = input
        return input

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Pass the input on."""
        return self.invoke(input)

    def transform(self, input: Iterator[Any], config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Pass the chunks on."""
        self.value = None  # of an attempt that was retried
        for chunk in input:
            self.value = append_chunk(self.value, chunk)
            yield chunk

    async def atransform(
        self, input: AsyncIterator[Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Pass the chunks on."""
        self.value = None
        async for chunk in input:
            self.value = append_chunk(self.value, chunk)
            yield chunk


def last_parsers(chain: Runnable[Any, Any]) -> list[Runnable[Any, Any]]:
    """Return the output parsers that a chain ends with."""
    if isinstance(chain, RunnableBindingBase):
        return last_parsers(chain.bound)
    steps = chain.steps if isinstance(chain, RunnableSequence) else []
    return list(takewhile(lambda step: isinstance(step, BaseLLMOutputParser), reversed(steps)))[::-1]


def observed(chain: Runnable[Any, Any], parser_input: ParserInput) -> Runnable[Any, Any]:
    """Return the chain with a step in front of its last parsers, if it has any."""
    if isinstance(chain, RunnableBindingBase):
        return chain.model_copy(update={"bound": observed(chain.bound, parser_input)})
    count = len(last_parsers(chain))
    if not count or not isinstance(chain, RunnableSequence):
        return chain
    steps = chain.steps
    return RunnableSequence(*steps[:-count], parser_input, *steps[-count:], name=chain.name)


def append_chunk(whole: Any, chunk: Any) -> Any:
    """Add a chunk to the chunks so far; if they cannot be added, keep the last one."""
    if whole is None:
        return chunk
    if isinstance(chunk, BaseMessage) and not isinstance(chunk, BaseMessageChunk):
        return [*(whole if isinstance(whole, list) else [whole]), chunk]
    try:
        return whole + chunk
    except TypeError:
        return chunk


def replies_in(output: Any, key: str | None, parsed: Any, received: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the messages that an output adds to its session.

    Messages keep their roles, but none of them is the user's or the app's: what the chain received is not repeated,
    and other human and system messages become the assistant's. Data is stored as the text that the parser received,
    or else as JSON.

    Args:
        output: The chain's output.
        key: Key of the messages in an output dict.
        parsed: What the chain's last parsers received; None: it has none.
        received: The messages that the chain received.

    Raises:
        InvalidInputError: There are no messages under the key, or the output cannot be stored as text.
    """
    if is_parsed(output, key, parsed):
        return [_parsed_message(parsed, output)]
    _, value = picked(output, key)
    spoken = spoken_in(value)
    if spoken is None:
        return [AIMessage(text_of(value))]
    own = [each if isinstance(each, BaseMessage) else AIMessage(text_of(each)) for each in spoken]
    return [_as_reply(message) for message in (own if isinstance(value, BaseMessage) else _new_among(own, received))]


def is_parsed(output: Any, key: str | None, parsed: Any) -> bool:
    """Return whether an output is data that the chain's last parsers made."""
    return parsed is not None and key is None and spoken_in(output) is None


def spoken_in(value: Any) -> Sequence[Any] | None:
    """Return the messages of a value; None: it is data."""
    if isinstance(value, PromptValue):
        return value.to_messages()
    if isinstance(value, (str, BaseMessage)):
        return [value]
    is_list = isinstance(value, (list, tuple))
    return value if is_list and (not value or any(isinstance(each, BaseMessage) for each in value)) else None


def picked(output: Any, key: str | None) -> tuple[str | None, Any]:
    """Return what is said in a dict and its key: the given one, the only one, or "output"; else the dict as data."""
    if not isinstance(output, Mapping):
        return None, output
    found = key or (next(iter(output)) if len(output) == 1 else "output")
    if found in output and (key or spoken_in(output[found]) is not None):
        return found, output[found]
    if key or any(isinstance(value, Serializable) or spoken_in(value) == value for value in output.values()):
        raise InvalidInputError(
            f"the output has no {found!r}, only {', '.join(map(repr, output))}; "
            "pass one of them as output_messages_key."
        )
    return None, output


def _parsed_message(parsed: Any, output: Any) -> BaseMessage:
    """Return what a parser received as a reply; calls that are its way of giving data, as the text of the data."""
    if not isinstance(parsed, BaseMessage):
        return AIMessage(text_of(parsed))
    reply = _as_reply(parsed)
    if not isinstance(reply, AIMessage) or not (reply.tool_calls or reply.invalid_tool_calls):
        return reply
    others = {name: value for name, value in reply.additional_kwargs.items() if name not in _CALLS}
    calls = {"tool_calls": [], "invalid_tool_calls": [], "additional_kwargs": others}
    return reply.model_copy(update={"content": text_of(output), **calls})


def _as_reply(message: BaseMessage) -> BaseMessage:
    """Return a message of an output with a role that an output may have."""
    message = message_chunk_to_message(message)
    spoofed = isinstance(message, (HumanMessage, SystemMessage)) or (
        isinstance(message, ChatMessage) and stored_role(message) not in ("assistant", "tool")
    )
    name = message.name or (message.role if isinstance(message, ChatMessage) else None)
    return AIMessage(message.content, name=name) if spoofed else message


def _new_among(replies: list[BaseMessage], received: Sequence[BaseMessage]) -> list[BaseMessage]:
    """Return the new messages of an output list: agents return the messages they received and their own."""
    count = len(received)
    if len(replies) >= count and all(map(_says_the_same, replies, received)):
        return replies[count:]
    asked = [message for message in received if isinstance(message, (HumanMessage, SystemMessage))]
    return [reply for reply in replies if not any(_says_the_same(reply, message) for message in asked)]


def _says_the_same(one: BaseMessage, other: BaseMessage) -> bool:
    return (one.type, one.content) == (other.type, other.content)


def text_of(value: Any) -> str:
    """Return a value as text: a string as it is, data as JSON.

    Raises:
        InvalidInputError: It has no JSON form, or has messages or documents inside.
    """
    if isinstance(value, str):
        return value
    try:
        if value is None or _has_messages(value):
            raise TypeError
        return to_json(value).decode()
    except (TypeError, ValueError, RecursionError):  # their texts quote the values
        raise InvalidInputError(
            f"the output is a {type(value).__name__}, which has no messages and no JSON form; return a string, "
            "messages or JSON data, or put what makes it outside: with_memory(chain, memory) | parser."
        ) from None


def _has_messages(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(map(_has_messages, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_messages, value))
    return isinstance(value, Serializable)
