"""A question that is asked again, a stream that is broken off, and recalled memories, in with_memory()."""

import asyncio
import json
from typing import Any

import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.output_parsers import CommaSeparatedListOutputParser, StrOutputParser
from langchain_core.output_parsers.openai_tools import PydanticToolsParser
from langchain_core.runnables import RunnableConfig, RunnableLambda
from pydantic import BaseModel

from chatmemory import AsyncChatMemory, ChatMemory, InvalidInputError
from chatmemory_langchain import with_memory
from tests.chatmemory_langchain.scripted import ScriptedChat

ANN: RunnableConfig = {"configurable": {"user_id": "ann", "session_id": "s-1"}}
QUESTION = HumanMessage("Q", id="q-1")


class Joke(BaseModel):
    """A model's structured answer."""

    setup: str


CALL: Any = {"name": "Joke", "args": {"setup": "Why?"}, "id": "c-1", "type": "tool_call"}
CHAINS: list[Any] = [
    lambda say: say,
    lambda say: say | StrOutputParser(),
    lambda say: say | CommaSeparatedListOutputParser(),
    lambda say: say | (lambda message: [message]),
    lambda say: say | (lambda message: {"messages": [QUESTION, message]}),
    lambda say: say | (lambda message: {"answer": message.text}),
    lambda say: say | (lambda message: {"names": [message.text], "n": 1}),
    lambda say: RunnableLambda(lambda given: say.invoke(given).text),
]


def texts(memory: ChatMemory) -> list[str]:
    """The session's messages as text."""
    return [message.text for message in memory.tenant("default").sessions.get("s-1").history(100)]


@pytest.mark.parametrize("make", CHAINS)
def test_a_question_asked_again_gets_its_stored_answer(memory: ChatMemory, make: Any) -> None:
    """The model is asked once, the answer has the form of the first one, and nothing is stored twice."""
    model = ScriptedChat(script=[AIMessage("one, two", id="a-1"), AIMessage("later"), OSError("asked again")])
    chat = with_memory(make(model), memory)
    first = chat.invoke([QUESTION], ANN)
    chat.invoke("something else", ANN)
    again = chat.invoke([QUESTION], ANN)
    assert (again, type(again)) == (first, type(first))
    assert list(chat.stream(QUESTION, ANN)) == [first]
    assert len(model.sent) == 2
    assert len(texts(memory)) == 4


async def test_the_same_awaited(async_memory: AsyncChatMemory) -> None:
    """Also where the answer is a call that a parser turned into an object."""
    parser = PydanticToolsParser(tools=[Joke], first_tool_only=True)
    model = GenericFakeChatModel(messages=iter([AIMessage("", tool_calls=[CALL])]))
    chat = with_memory(model | parser, async_memory)
    assert await chat.ainvoke(QUESTION, ANN) == Joke(setup="Why?")
    assert await chat.ainvoke(QUESTION, ANN) == Joke(setup="Why?")
    assert [piece async for piece in chat.astream(QUESTION, ANN)] == [Joke(setup="Why?")]


def test_a_broken_stream_keeps_the_question_and_the_partial_answer(memory: ChatMemory) -> None:
    """Marked as partial; the question asked again is answered, without the broken turn in the prompt."""
    stream: Any = with_memory(FakeListChatModel(responses=["Hello"]), memory).stream(QUESTION, ANN)
    assert [next(stream).content, next(stream).content] == ["H", "e"]
    stream.close()
    session = memory.tenant("default").sessions.get("s-1")
    stored = session.history()
    assert [(message.role, message.text) for message in stored] == [("user", "Q"), ("assistant", "He")]
    assert stored[1].metadata["partial"] is True
    seen: list[list[BaseMessage]] = []

    def answer(given: list[BaseMessage]) -> str:
        seen.append(given)
        return "Hello"

    chat = with_memory(RunnableLambda(answer), memory)
    assert [chat.invoke(QUESTION, ANN), chat.invoke(QUESTION, ANN)] == ["Hello", "Hello"]
    assert seen == [[QUESTION]]
    assert texts(memory) == ["Q", "He", "Hello"]


def test_a_stream_broken_before_its_first_chunk_or_in_a_call(memory: ChatMemory) -> None:
    """The question is kept; a call that is half written is no answer."""
    calling: Any = RunnableLambda(lambda given: AIMessage("", tool_calls=[CALL]))
    stream: Any = with_memory(calling, memory).stream("Q", ANN)
    next(stream)
    stream.close()
    assert texts(memory) == ["Q"]
    with pytest.raises(InvalidInputError, match="on_break"):
        with_memory(calling, memory, on_break="lose")  # type: ignore[arg-type]


@pytest.mark.parametrize("how", ["close", "cancel"])
async def test_a_broken_async_stream(async_memory: AsyncChatMemory, how: str) -> None:
    """A closed stream has stored its part when it is closed; so has a cancelled one."""
    waits = asyncio.Event()

    async def speak(given: Any) -> Any:
        yield "He"
        waits.set()
        await asyncio.Event().wait()

    stream: Any = with_memory(RunnableLambda(speak), async_memory).astream("Q", ANN)
    if how == "close":
        await anext(stream)
        await stream.aclose()
    else:

        async def read() -> None:
            async for _ in stream:
                pass

        task = asyncio.create_task(read())
        await waits.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    session = await async_memory.tenant("default").sessions.get("s-1")
    assert [(message.text, message.metadata.get("partial")) for message in await session.history()] == [
        ("Q", None), ("He", True)
    ]  # fmt: skip


async def test_memories_are_recalled_as_data(memory: ChatMemory, async_memory: AsyncChatMemory) -> None:
    """They stand in a human message before the question, are not stored, and can be turned off."""
    memory.tenant("default").memories.remember("Ann lives in Lisbon.", user_id="ann")
    echo: Any = RunnableLambda(lambda given: "|".join(f"{each.type}:{each.text}" for each in given))
    question = "Where in Lisbon does Ann live?"
    with_notes = await with_memory(echo, async_memory, max_tokens=1000).ainvoke(question, ANN)
    assert with_notes.startswith("human:")
    assert "Ann lives in Lisbon." in with_notes
    assert with_notes.endswith(f"|human:{question}")
    session = memory.tenant("default").sessions.get("s-1")
    assert [message.role for message in session.history()] == ["user", "assistant"]
    bob: RunnableConfig = {"configurable": {"user_id": "bob", "session_id": "s-2"}}
    assert with_memory(echo, memory).invoke(question, bob) == f"human:{question}"
    cora: RunnableConfig = {"configurable": {"user_id": "ann", "session_id": "s-3"}}
    assert with_memory(echo, memory, recall=False).invoke(question, cora) == f"human:{question}"


def test_a_turn_that_recalls_is_four_round_trips(memory: ChatMemory, round_trips: list[str]) -> None:
    """Recalling takes two more."""
    chat = with_memory(RunnableLambda(lambda given: "A"), memory)
    chat.invoke("Q", ANN)
    round_trips.clear()
    chat.invoke("Q", ANN)
    assert len(round_trips) <= 4, round_trips


def test_the_schema_names_the_chains_output(memory: ChatMemory) -> None:
    """A server that is built on the schema knows what the chain returns."""
    for chain in (FakeListChatModel(responses=["x"]), FakeListChatModel(responses=["x"]) | StrOutputParser()):
        chat = with_memory(chain, memory)
        assert chat.get_output_jsonschema() == chain.get_output_jsonschema()
        assert json.dumps(chat.get_output_schema().model_json_schema())
