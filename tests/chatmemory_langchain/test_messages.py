import enum
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    RemoveMessage,
    SystemMessage,
    ToolMessage,
)
from pydantic import BaseModel

from chatmemory import ChatMemory, InvalidInputError, Message, NewMessage
from chatmemory_langchain import ChatMemoryHistory, from_message, to_message
from chatmemory_langchain.messages import from_context
from tests.chatmemory_langchain.strategies import messages

RAW_CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": '{"a": 1}'}}


@given(messages)
@example(AIMessage("", additional_kwargs={"tool_calls": [RAW_CALL]}))
@example(HumanMessage(["a", {"type": "image", "url": "x"}, "b"]))
@settings(deadline=None)
def test_every_message_comes_back_equal(message: BaseMessage) -> None:
    """A message of any type, with any fields, is the same after both conversions."""
    assert from_message(to_message(message)) == message


@given(st.lists(messages, max_size=6, unique_by=lambda message: message.id or id(message)))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_message_comes_back_equal_from_the_database(memory: ChatMemory, said: list[BaseMessage]) -> None:
    """Messages from Postgres equal the added ones in every field, in the same order."""
    history = ChatMemoryHistory(memory.tenant("acme").sessions.create(user_id="ann"))
    history.add_messages(said)
    assert history.messages == said


@pytest.mark.parametrize(
    ("message", "role"),
    [
        (HumanMessage("x"), "user"),
        (AIMessage("x"), "assistant"),
        (SystemMessage("x"), "system"),
        (ToolMessage("x", tool_call_id="c"), "tool"),
        (FunctionMessage(content="x", name="f"), "tool"),
        (ChatMessage(content="x", role="assistant"), "assistant"),
        (ChatMessage(content="x", role="developer"), "system"),
        (ChatMessage(content="x", role="critic"), "user"),
        (RemoveMessage("x"), "system"),
    ],
)
def test_roles(message: BaseMessage, role: str) -> None:
    """Every type of message has one of our four roles."""
    assert to_message(message).role == role


def test_text_stays_readable_without_langchain() -> None:
    """Bare strings among blocks become text blocks, so that every reader of the session sees them."""
    new = to_message(HumanMessage(["What is this?", {"type": "image", "url": "x"}], name="Ann"))
    assert new.content == [{"type": "text", "text": "What is this?"}, {"type": "image", "url": "x"}]
    assert new.metadata == {"langchain": {"type": "human", "strings": [0], "name": "Ann"}}


def test_a_plain_message_keeps_only_its_type() -> None:
    """Fields with their default values cost nothing."""
    assert to_message(AIMessage("Hi", id="m")) == NewMessage(
        "assistant", "Hi", "m", {"langchain": {"type": "ai", "id": "m"}}
    )


def test_chunks_become_whole_messages() -> None:
    """The sum of a stream's chunks is stored as the message it is of, with its tool calls parsed."""
    call: Any = {"name": "add", "id": "c1", "index": 0, "type": "tool_call_chunk"}
    chunk = AIMessageChunk(content="", id="m", tool_call_chunks=[{**call, "args": '{"a": '}]) + AIMessageChunk(
        content="", tool_call_chunks=[{**call, "name": None, "id": None, "args": "1}"}]
    )
    assert from_message(to_message(chunk)) == AIMessage(
        "", id="m", tool_calls=[{"name": "add", "args": {"a": 1}, "id": "c1"}]
    )


class Mood(enum.StrEnum):
    """A string that is more than a string."""

    GOOD = "good"


class Answer(BaseModel):
    """The schema of a structured answer."""

    mood: Mood
    until: date


def test_what_json_has_in_another_form_is_converted() -> None:
    """Tuples become lists, enums their values, and pydantic models (structured output) dicts."""
    message = AIMessage(
        "",
        additional_kwargs={
            "t": (1, (2,)),
            Mood.GOOD: Mood.GOOD,
            "parsed": Answer(mood=Mood.GOOD, until=date(2030, 1, 2)),
        },
    )
    back = from_message(to_message(message))
    assert back.additional_kwargs == {"t": [1, [2]], "good": "good", "parsed": {"mood": "good", "until": "2030-01-02"}}
    assert [type(value) for value in back.additional_kwargs.values()] == [list, str, dict]


def test_an_artifact_that_is_not_json_is_refused_by_name(memory: ChatMemory) -> None:
    """The error says which field of which message; nothing of the turn is stored."""
    history = ChatMemoryHistory(memory.tenant("acme").sessions.create(user_id="ann"))
    bad = ToolMessage("x", tool_call_id="c", artifact={"plot": [object()]})
    with pytest.raises(InvalidInputError, match=r"message 1.*artifact.*plot.*is a object"):
        history.add_messages([HumanMessage("Hi"), bad])
    assert history.messages == []


def test_a_cycle_is_refused(memory: ChatMemory) -> None:
    """A value that contains itself raises our error, not RecursionError."""
    loop: dict[str, Any] = {}
    loop["self"] = loop
    history = ChatMemoryHistory(memory.tenant("acme").sessions.create(user_id="ann"))
    with pytest.raises(InvalidInputError, match="artifact"):
        history.add_messages([ToolMessage("x", tool_call_id="c", artifact=loop)])


class OwnMessage(HumanMessage):
    """A class of an app's own."""


def test_a_class_of_an_apps_own_is_refused() -> None:
    """A message of a foreign class cannot be restored, so it is rejected; the error names the class."""
    with pytest.raises(InvalidInputError, match="OwnMessage"):
        to_message(OwnMessage(content="x"))


def _stored(role: Any, content: Any, **metadata: Any) -> Message:
    return Message(1, "m-1", role, content, datetime.now(UTC), metadata)


def test_messages_of_other_origin_convert() -> None:
    """A session that was written without LangChain reads as LangChain messages with the stored ids."""
    blocks = [{"type": "text", "text": "Look"}]
    assert from_message(_stored("user", "Hi")) == HumanMessage("Hi", id="m-1")
    assert from_message(_stored("user", blocks, note="kept by the core")) == HumanMessage(blocks, id="m-1")  # type: ignore[arg-type]  # LangChain's list is invariant
    assert from_message(_stored("assistant", "Hi")) == AIMessage("Hi", id="m-1")
    assert from_message(_stored("system", "Hi")) == SystemMessage("Hi", id="m-1")
    assert from_message(NewMessage("ai", "Hi")) == AIMessage("Hi")
    assert from_message(_stored("user", "Hi", langchain="not ours")) == HumanMessage("Hi", id="m-1")


def test_tool_calls_of_other_origin_convert() -> None:
    """Tool calls in blocks, and the id of the call a tool answers, are found."""
    use = {"type": "tool_use", "id": "c1", "name": "add", "input": {"a": 1}}
    asked = from_message(_stored("assistant", [use]))
    assert isinstance(asked, AIMessage)
    assert asked.tool_calls == [{"name": "add", "args": {"a": 1}, "id": "c1", "type": "tool_call"}]
    assert from_message(_stored("tool", "2", tool_call_id="c1")) == ToolMessage("2", id="m-1", tool_call_id="c1")
    result = [{"type": "tool_result", "tool_use_id": "c1", "content": "2"}]
    assert from_message(_stored("tool", result)) == ToolMessage(result, id="m-1", tool_call_id="c1")  # type: ignore[arg-type]  # LangChain's list is invariant
    assert from_message(_stored("tool", "2")) == ToolMessage("2", id="m-1", tool_call_id="")


def test_calls_in_messages_of_their_own_come_as_one(memory: ChatMemory) -> None:
    """Parallel calls in several messages, as the Agents SDK stores them, become one message with all calls."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    session.append("user", "Weather?")
    for id, arguments in (("a", '{"city":"Porto"}'), ("b", "{broken"), ("c", "{}")):
        call = {"type": "function_call", "call_id": id, "name": "weather", "arguments": arguments}
        session.append(
            "assistant", [{"type": "text", "text": "Well"}] if id == "c" else [], metadata={"tool_calls": [call]}
        )
    for id in "abc":
        session.append("tool", "sunny", metadata={"tool_call_id": id})
    _, asking, *results = from_context(session.context(4000))
    assert isinstance(asking, AIMessage)
    assert [each["id"] for each in [*asking.tool_calls, *asking.invalid_tool_calls]] == ["a", "c", "b"]
    assert (asking.invalid_tool_calls[0]["args"], asking.text) == ("{broken", "Well")
    assert [each.type for each in results] == ["tool"] * 3
