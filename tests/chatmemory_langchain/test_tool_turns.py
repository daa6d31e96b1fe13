"""Tool calls that are answered in the app's next turn, or that were stored without LangChain."""

import json
import traceback
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda

from chatmemory import AsyncChatMemory, ChatMemory, InvalidInputError, NewMessage
from chatmemory_langchain import ChatMemoryHistory, with_memory

ME: RunnableConfig = {"configurable": {"user_id": "ann", "session_id": "s-1"}}
CALLS: Any = [{"name": "weather", "args": {"city": city}, "id": city} for city in ("Oslo", "Rome")]
ANSWERS = [ToolMessage("12 degrees", tool_call_id=city) for city in ("Oslo", "Rome")]


class Model:
    """Asks for two calls first; remembers what it was given."""

    def __init__(self) -> None:
        self.given: list[list[str]] = []

    def __call__(self, messages: list[BaseMessage]) -> AIMessage:
        """Answer as a chat model."""
        self.given.append([message.type for message in messages])
        return AIMessage("", tool_calls=CALLS) if len(self.given) == 1 else AIMessage("warm")


GIVEN = [["human"], ["human", "ai", "tool", "tool"], ["human", "ai", "tool", "tool", "ai", "human"]]


def test_results_may_come_with_the_next_turn(memory: ChatMemory) -> None:
    """The chain gets the message that asked for them before them, then and later."""
    model = Model()
    chat = with_memory(RunnableLambda(model), memory)
    for said in ("weather?", ANSWERS, "thanks"):
        chat.invoke(said, ME)
    assert model.given == GIVEN


async def test_results_may_come_with_the_next_turn_of_the_async_half(async_memory: AsyncChatMemory) -> None:
    """The same."""
    model = Model()
    chat = with_memory(RunnableLambda(model), async_memory)
    for said in ("weather?", ANSWERS, "thanks"):
        await chat.ainvoke(said, ME)
    assert model.given == GIVEN


def test_results_that_leave_a_call_open_do_not_bring_it_back(memory: ChatMemory) -> None:
    """No provider would take it; what was stored stays stored."""
    model = Model()
    chat = with_memory(RunnableLambda(model), memory)
    chat.invoke("weather?", ME)
    chat.invoke(ANSWERS[:1], ME)
    assert model.given[1] == ["human", "tool"]


def test_what_was_stored_in_openais_form_reads_as_langchains(memory: ChatMemory) -> None:
    """The calls with their arguments, and the results with their ids; what is no JSON object is an invalid call."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    calls = [
        {"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}}
        for id, arguments in (("a", json.dumps({"x": 1})), ("b", "{bad"))
    ]
    said: list[dict[str, Any]] = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "a", "content": "r"},
        {"role": "tool", "tool_call_id": "b", "content": "no JSON"},
    ]
    session.append_many(map(NewMessage.from_openai, said))
    _, asked, *answered = ChatMemoryHistory(session).messages
    assert isinstance(asked, AIMessage)
    assert [(call["id"], call["args"]) for call in asked.tool_calls] == [("a", {"x": 1})]
    assert [(call["id"], call["args"]) for call in asked.invalid_tool_calls] == [("b", "{bad")]
    assert [message.tool_call_id for message in answered if isinstance(message, ToolMessage)] == ["a", "b"]


def test_bare_strings_are_cut(memory: ChatMemory) -> None:
    """A content of strings and blocks that is larger than the budget comes back shorter, with its call."""
    history = ChatMemoryHistory(memory.tenant("acme").sessions.create(user_id="ann"), max_tokens=120)
    use = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
    call: Any = {"name": "f", "args": {}, "id": "a"}
    asked = AIMessage(content=["a " * 300, "b", use], tool_calls=[call])
    history.add_messages([HumanMessage(content=["a " * 300, "b"])])
    assert "… [truncated]" in str(history.messages[0].content)
    chat = with_memory(RunnableLambda(lambda messages: str(len(messages))), memory, max_tokens=120)
    session = memory.tenant("default").sessions.create(user_id="ann", session_id="s-1")
    ChatMemoryHistory(session).add_messages([asked, ToolMessage("r", tool_call_id="a")])
    assert chat.invoke("go on", ME) == "3"


def test_an_error_shows_no_message(memory: ChatMemory) -> None:
    """LangChain's own error, which quotes what was said, is not behind it."""
    chat = with_memory(RunnableLambda(lambda _: "x"), memory)
    secret = "".join(("SEC", "RET"))
    with pytest.raises(InvalidInputError) as raised:
        chat.invoke([{"role": "user", "contents": secret}], ME)
    assert secret not in "".join(traceback.format_exception(raised.value))
