from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import psycopg
import pytest
from langchain_core.language_models.fake_chat_models import FakeListChatModel, GenericFakeChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import Runnable, RunnableConfig, RunnableGenerator, RunnableLambda, RunnablePassthrough
from langchain_core.runnables.history import RunnableWithMessageHistory

from chatmemory import (
    AsyncChatMemory,
    ChatMemory,
    ConfigurationError,
    InvalidInputError,
    NewMessage,
    SessionNotFoundError,
    Settings,
    StorageUnavailableError,
)
from chatmemory_langchain import ChatMemoryHistory, with_memory


def _config(session_id: str = "s-1", user_id: str = "ann", **more: Any) -> RunnableConfig:
    return {"configurable": {"user_id": user_id, "session_id": session_id, **more}}


def _stored(memory: ChatMemory, session_id: str = "s-1", tenant_id: str = "default") -> list[Any]:
    return [message.content for message in memory.tenant(tenant_id).sessions.get(session_id).history(1000)]


async def _astored(memory: AsyncChatMemory, session_id: str = "s-1") -> list[Any]:
    session = await memory.tenant("default").sessions.get(session_id)
    return [message.content for message in await session.history(1000)]


def recount(given: Sequence[BaseMessage]) -> AIMessage:
    """A model that answers with what it was given."""
    return AIMessage("|".join(str(message.content) for message in given))


counter = RunnableLambda(recount)
TWO_TURNS = ["a", "a", "b", "a|a|b"]


def test_invoke(memory: ChatMemory) -> None:
    """The chain gets what was said before, and each turn stores its input and its output."""
    chat = with_memory(counter, memory)
    assert chat.invoke("a", _config()) == AIMessage("a")
    assert chat.invoke([HumanMessage("b")], _config()) == AIMessage("a|a|b")
    assert _stored(memory) == TWO_TURNS


async def test_ainvoke(async_memory: AsyncChatMemory) -> None:
    """The same, awaited."""
    chat = with_memory(counter, async_memory)
    assert await chat.ainvoke("a", _config()) == AIMessage("a")
    assert await chat.ainvoke(HumanMessage("b"), _config()) == AIMessage("a|a|b")
    assert await _astored(async_memory) == TWO_TURNS


def test_stream(memory: ChatMemory) -> None:
    """Pieces arrive one by one; they are stored as one message, with the id the model gave it."""
    chat = with_memory(FakeListChatModel(responses=["Hello"]), memory)
    pieces = list(chat.stream("a", _config()))
    assert [piece.content for piece in pieces] == [*"Hello"]
    session = memory.tenant("default").sessions.get("s-1")
    assert [(message.content, message.role) for message in session.history()] == [("a", "user"), ("Hello", "assistant")]
    assert session.history()[1].id == pieces[0].id


async def test_astream(async_memory: AsyncChatMemory) -> None:
    """The same, awaited."""
    chat = with_memory(FakeListChatModel(responses=["Hello"]), async_memory)
    assert [piece.content async for piece in chat.astream("a", _config())] == [*"Hello"]
    assert await _astored(async_memory) == ["a", "Hello"]


def test_batch(memory: ChatMemory) -> None:
    """Each input goes to the session of its own config."""
    chat = with_memory(counter, memory)
    chat.batch(["a", "x"], [_config("s-1"), _config("s-2")])
    assert chat.batch(["b", "y"], [_config("s-1"), _config("s-2")]) == [AIMessage("a|a|b"), AIMessage("x|x|y")]
    assert (_stored(memory, "s-1"), _stored(memory, "s-2")) == (TWO_TURNS, ["x", "x", "y", "x|x|y"])


async def test_abatch(async_memory: AsyncChatMemory) -> None:
    """The same, awaited."""
    chat = with_memory(counter, async_memory)
    await chat.abatch(["a", "x"], [_config("s-1"), _config("s-2")])
    assert await chat.abatch(["b", "y"], [_config("s-1"), _config("s-2")]) == [AIMessage("a|a|b"), AIMessage("x|x|y")]
    assert await _astored(async_memory) == TWO_TURNS


def test_a_batch_into_one_session_stores_whole_turns(memory: ChatMemory) -> None:
    """Turns that run at the same time do not mix: each input stands right before its output."""
    chat = with_memory(RunnableLambda(lambda given: f"re {given[-1].content}"), memory)
    chat.batch([str(n) for n in range(20)], _config())
    contents = _stored(memory)
    assert sorted(contents[::2]) == sorted(str(n) for n in range(20))
    assert contents[1::2] == [f"re {content}" for content in contents[::2]]


async def test_async_methods_on_a_chat_memory(memory: ChatMemory) -> None:
    """A ChatMemory serves the async methods too, in threads."""
    chat = with_memory(counter, memory)
    await chat.ainvoke("a", _config())
    assert [piece async for piece in chat.astream("b", _config())] == [AIMessage("a|a|b")]
    assert _stored(memory) == TWO_TURNS


async def test_sync_methods_on_an_async_memory_say_what_to_do(async_memory: AsyncChatMemory) -> None:
    """The error names the methods to use instead."""
    with pytest.raises(ConfigurationError, match="ainvoke"):
        with_memory(counter, async_memory).invoke("a", _config())


def test_a_turn_is_one_transaction(memory: ChatMemory, postgres_url: str) -> None:
    """Input and output are stored together or not at all."""
    chat = with_memory(counter, memory)
    chat.invoke([SystemMessage("s"), HumanMessage("a")], _config())
    with psycopg.connect(postgres_url) as connection:
        row = connection.execute("select count(*), count(distinct xmin::text) from chatmemory.messages").fetchone()
    assert row == (3, 1)


def _fail(given: Any) -> Iterator[str]:
    yield "half of an "
    raise OSError("the model is down")


async def _afail(given: Any) -> AsyncIterator[str]:
    yield "half of an "
    raise OSError("the model is down")


async def test_an_error_in_the_chain_stores_nothing(memory: ChatMemory) -> None:
    """Not the input, and not what was streamed before the error."""
    chat = with_memory(RunnableLambda(_fail, _afail), memory)
    with pytest.raises(OSError, match="model is down"):
        chat.invoke("a", _config())
    with pytest.raises(OSError, match="model is down"):
        list(chat.stream("a", _config()))
    with pytest.raises(OSError, match="model is down"):
        _ = [piece async for piece in chat.astream("a", _config())]
    assert _stored(memory) == []


def test_a_stream_that_is_not_read_to_the_end_may_be_dropped(memory: ChatMemory) -> None:
    """Then half an answer is not an answer, and its question is not stored either."""
    stream = with_memory(FakeListChatModel(responses=["Hello"]), memory, on_break="drop").stream("a", _config())
    assert isinstance(stream, Iterator)
    next(stream)
    del stream
    assert _stored(memory) == []


def test_what_cannot_be_stored_raises(memory: ChatMemory) -> None:
    """A turn that returned was stored; LangChain's own listeners would only log."""
    chat = with_memory(RunnableLambda(lambda given: "an answer with \0"), memory)
    with pytest.raises(InvalidInputError, match="NUL"):
        chat.invoke("a", _config())


def test_an_unreachable_postgres_raises(settings: Settings) -> None:
    """Before the model is paid."""
    gone = settings.model_copy(update={"postgres_timeout_seconds": 0.5})
    memory = ChatMemory.open("postgresql://postgres@localhost:1/none", settings=gone)
    with memory, pytest.raises(StorageUnavailableError):
        with_memory(RunnableLambda(_fail), memory).invoke("a", _config())


def test_sessions_and_tenants_stay_apart(memory: ChatMemory) -> None:
    """The same session id in two tenants is two sessions."""
    chat = with_memory(counter, memory)
    for tenant_id in ("acme", "globex"):
        for session_id in ("s-1", "s-2"):
            said = f"{tenant_id} {session_id}"
            assert chat.invoke(said, _config(session_id, tenant_id=tenant_id)) == AIMessage(said)
    assert _stored(memory, "s-1", "globex") == ["globex s-1"] * 2


def test_a_session_of_another_user_is_not_found(memory: ChatMemory) -> None:
    """Knowing a session's id is not enough to read it."""
    chat = with_memory(counter, memory)
    chat.invoke("a", _config())
    with pytest.raises(SessionNotFoundError):
        chat.invoke("b", _config(user_id="eve"))


def test_another_instance_goes_on(memory: ChatMemory, postgres_url: str) -> None:
    """A second process finds the conversation where the first left it."""
    with_memory(counter, memory).invoke("a", _config())
    with ChatMemory.open(postgres_url) as other:
        assert with_memory(counter, other).invoke("b", _config()) == AIMessage("a|a|b")


def test_an_ended_session_goes_on_under_its_id(memory: ChatMemory) -> None:
    """The caller keeps the session id; the new session starts empty and stays the one that is found."""
    chat = with_memory(counter, memory)
    chat.invoke("old", _config())
    memory.tenant("default").sessions.get("s-1").end()
    assert chat.invoke("a", _config()) == AIMessage("a")
    assert chat.invoke("b", _config()) == AIMessage("a|a|b")
    assert _stored(memory) == ["old", "old"]


@pytest.mark.parametrize("limit", [True, False])
async def test_the_conversation_is_there_tomorrow(memory: ChatMemory, postgres_url: str, limit: bool) -> None:
    """A thread that expired, or gave way to newer ones, goes on with its past, sync and async."""
    chat = with_memory(counter, memory)
    chat.invoke("a", _config())
    session = memory.tenant("default").sessions.get("s-1")

    def close() -> None:
        if limit:
            settings = memory.settings.model_copy(update={"max_sessions_per_user": 1})
            with ChatMemory.open(postgres_url, settings=settings) as full:
                full.tenant("default").sessions.create(user_id="ann").delete()
        else:
            session.expire()
        assert not session.refresh().is_active

    close()
    assert chat.invoke("b", _config()) == AIMessage("a|a|b")
    close()
    async with AsyncChatMemory.open(postgres_url, settings=memory.settings) as other:
        assert await with_memory(counter, other).ainvoke("c", _config()) == AIMessage("a|a|b|a|a|b|c")


def test_a_thread_that_was_ended_goes_on_with_its_summary(memory: ChatMemory) -> None:
    """The chain gets the summary of the ended session, in a message of its own."""
    chat = with_memory(counter, memory, recall=False)
    for _ in "12":
        chat.invoke("I have lived in Lisbon since the spring of 2019.", _config())
    memory.tenant("default").sessions.get("s-1").end()
    memory.run_due()
    answer = chat.invoke("b", _config())
    assert "Lisbon" in answer.content
    assert answer.content.endswith("|b")


def test_a_message_with_an_id_is_stored_once(memory: ChatMemory) -> None:
    """A repeated request does not repeat what was said."""
    chat = with_memory(RunnableLambda(lambda given: AIMessage("ok", id="a-1")), memory)
    for _ in range(2):
        chat.invoke(HumanMessage("a", id="h-1"), _config())
    assert _stored(memory) == ["a", "ok"]


@pytest.mark.parametrize(("history_size", "given"), [(None, "1480-21"), (100, "1400-101"), (5000, "0-1501")])
def test_a_long_session(memory: ChatMemory, history_size: int | None, given: str) -> None:
    """However long it is, a turn stores its own messages only; the chain gets the newest."""
    session = memory.tenant("default").sessions.create(user_id="ann", session_id="s-1")
    session.append_many({"role": "user", "content": str(n)} for n in range(1500))
    chat = with_memory(
        RunnableLambda(lambda given: f"{given[0].content}-{len(given)}"), memory, history_size=history_size
    )
    answer = chat.invoke("a", _config())
    assert answer == given
    assert [message.content for message in session.history(3)] == ["1499", "a", answer]


def test_the_chain_gets_whole_turns(memory: ChatMemory) -> None:
    """If history_size splits a turn, the rest of the turn is omitted: no tool result without its call."""
    session = memory.tenant("default").sessions.create(user_id="ann", session_id="s-1")
    call = {"id": "c", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    for role in ("user", "assistant", "tool", "assistant", "user", "assistant"):
        calls = {"tool_calls": [call]} if session.info.last_seq == 1 else {}
        answer = {"tool_call_id": "c"} if role == "tool" else {}
        session.append_many([NewMessage.from_openai({"role": role, "content": role, **calls, **answer})])
    shown: Runnable[Any, Any] = RunnableLambda(lambda given: ",".join(message.type for message in given))
    for size, types in ((6, "human,ai,tool,ai,human,ai,"), (4, "human,ai,"), (1, "ai,"), (0, "")):
        chat = with_memory(shown, memory, history_size=size)
        assert chat.invoke("a", _config(session.fork().id)) == f"{types}human"


def test_prompt_with_placeholder(memory: ChatMemory) -> None:
    """A prompt's own messages are not stored; the history stands where the placeholder is."""
    prompt = ChatPromptTemplate.from_messages(
        [("system", "You know {topic}."), MessagesPlaceholder("history"), ("human", "{question}")]
    )
    chat = with_memory(
        prompt | RunnableLambda(lambda value: recount(value.to_messages())),
        memory,
        input_messages_key="question",
        history_messages_key="history",
    )
    chat.invoke({"topic": "math", "question": "a"}, _config())
    answer = chat.invoke({"topic": "law", "question": "b"}, _config())
    assert answer.content == "You know law.|a|You know math.|a|b"
    assert _stored(memory) == ["a", "You know math.|a", "b", answer.content]


def test_dicts_in_and_out(memory: ChatMemory) -> None:
    """With input_messages_key alone the history is put in front of the new messages; outputs have keys too."""
    chain: Runnable[Any, Any] = RunnablePassthrough.assign(answer=lambda value: recount(value["said"]), sources=str)
    chat = with_memory(chain, memory, input_messages_key="said", output_messages_key="answer")
    chat.invoke({"said": "a", "k": 3}, _config())
    assert chat.invoke({"said": "b", "k": 3}, _config())["answer"] == AIMessage("a|a|b")
    assert [piece["answer"] for piece in chat.stream({"said": "c", "k": 3}, _config()) if "answer" in piece]
    assert _stored(memory) == [*TWO_TURNS, "c", "a|a|b|a|a|b|c"]


def test_in_the_middle_of_a_chain(memory: ChatMemory) -> None:
    """A chain with memory is a Runnable like any other."""
    chat = with_memory(FakeListChatModel(responses=["Hello"]), memory) | StrOutputParser()
    assert chat.with_config(_config()).invoke("a") == "Hello"
    assert list(chat.stream("b", _config())) == [*"Hello"]
    assert _stored(memory) == ["a", "Hello", "b", "Hello"]


CALL: Any = {"name": "add", "args": {"a": 1, "b": 2}, "id": "c-1"}


def use_tools(given: list[BaseMessage]) -> list[BaseMessage]:
    """An agent's loop: it returns the messages of its turn."""
    model = GenericFakeChatModel(messages=iter([AIMessage("", tool_calls=[CALL]), AIMessage("It is 3.")]))
    asked = model.invoke(given)
    assert isinstance(asked, AIMessage)
    result = ToolMessage("3", tool_call_id=asked.tool_calls[0]["id"], artifact={"sum": 3})
    return [asked, result, model.invoke([*given, asked, result])]


def test_a_turn_with_tools(memory: ChatMemory) -> None:
    """Calls and results are stored, and the next turn gets them back as they were."""
    seen: list[list[BaseMessage]] = []

    def agent(given: list[BaseMessage]) -> list[BaseMessage]:
        seen.append(given)
        return use_tools(given)

    chat = with_memory(RunnableLambda(agent), memory)
    output = chat.invoke("1 + 2?", _config())
    chat.invoke("Thanks", _config())
    assert seen[1] == [HumanMessage("1 + 2?"), *output, HumanMessage("Thanks")]
    assert seen[1][1].tool_calls == [{**CALL, "type": "tool_call"}]  # type: ignore[attr-defined]  # an AIMessage


def test_an_agent_that_returns_all_messages(memory: ChatMemory) -> None:
    """Messages that the chain received and returns are not stored again."""
    agent: Runnable[Any, Any] = RunnableLambda(
        lambda value: {"messages": [*value["messages"], recount(value["messages"])]}
    )
    chat = with_memory(agent, memory, input_messages_key="messages", output_messages_key="messages")
    for said in ("a", "b"):
        chat.invoke({"messages": [HumanMessage(said)]}, _config())
    assert _stored(memory) == TWO_TURNS


def _several(given: Any) -> Iterator[BaseMessage]:
    yield AIMessageChunk(content="Let me ")
    yield AIMessageChunk(content="see.")
    yield ToolMessage("3", tool_call_id="c-1")
    yield AIMessage("It is 3.")


def test_a_stream_of_several_messages(memory: ChatMemory) -> None:
    """Pieces of a message are joined; whole messages stay messages of their own."""
    chain: Runnable[Any, Any] = RunnableGenerator(_several)
    list(with_memory(chain, memory).stream("a", _config()))
    assert _stored(memory) == ["a", "Let me see.", "3", "It is 3."]


def test_missing_fields_are_named(memory: ChatMemory) -> None:
    """The error says which, and how to give them."""
    chat = with_memory(counter, memory)
    with pytest.raises(InvalidInputError, match=r"lacks user_id and session_id.*configurable"):
        chat.invoke("a")
    with pytest.raises(InvalidInputError, match="lacks session_id"):
        chat.invoke("a", {"configurable": {"user_id": "ann"}})
    assert [spec.id for spec in chat.config_specs] == ["session_id", "tenant_id", "user_id"]


@pytest.mark.parametrize(
    ("keys", "input", "problem"),
    [
        ({"input_messages_key": "q"}, "a", "input is a str, not a dict"),
        ({"input_messages_key": "q"}, {"x": "a"}, "input has no 'q', only 'x'"),
        ({}, {"x": "a", "y": "b"}, "pass one of them as input_messages_key"),
        ({}, 7, "input is a int, which has no messages"),
        ({"output_messages_key": "z"}, "a", "output has no 'z', only 'x', 'y'"),
    ],
)
def test_inputs_and_outputs_without_messages_are_refused(
    memory: ChatMemory, keys: dict[str, Any], input: Any, problem: str
) -> None:
    """The error says what is there instead."""
    chain: Runnable[Any, Any] = RunnableLambda(lambda given: {"x": 1, "y": 2})
    with pytest.raises(InvalidInputError, match=problem):
        with_memory(chain, memory, **keys).invoke(input, _config())


def test_what_cannot_work_is_refused_at_once(memory: ChatMemory) -> None:
    """Not at the first call, and by the name of the argument."""
    with pytest.raises(ConfigurationError, match="memory must be"):
        with_memory(RunnableLambda(recount), "memory")  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="history_size is -3"):
        with_memory(RunnableLambda(recount), memory, history_size=-3)
    with pytest.raises(InvalidInputError, match="max_tokens is 0"):
        with_memory(RunnableLambda(recount), memory, max_tokens=0)
    with pytest.raises(ConfigurationError, match="session must be"):
        ChatMemoryHistory("s-1")  # type: ignore[arg-type]


def test_a_plain_function_is_a_chain(memory: ChatMemory) -> None:
    """As anywhere in LangChain."""
    chat = with_memory(lambda messages: f"{len(messages)} messages", memory)
    assert chat.invoke("Hello", _config()) == "1 messages"
    assert chat.invoke("And now?", _config()) == "3 messages"


def test_a_history_key_needs_an_input_key(memory: ChatMemory) -> None:
    """Told when the chain is built, not at the first turn."""
    with pytest.raises(InvalidInputError, match="needs input_messages_key"):
        with_memory(counter, memory, history_messages_key="history")


def test_the_kind_is_kept(memory: ChatMemory) -> None:
    """Sessions are created with the kind that was asked for."""
    with_memory(counter, memory, kind="general").invoke("a", _config())
    assert memory.tenant("default").sessions.get("s-1").info.kind == "general"


def test_it_is_langchains_wrapper(memory: ChatMemory) -> None:
    """Code that asks for a RunnableWithMessageHistory gets one, with its fields and its history."""
    chain = with_memory(RunnableLambda(lambda messages: str(len(messages))), memory)
    assert isinstance(chain, RunnableWithMessageHistory)
    assert {"tenant_id", "user_id", "session_id"} <= {spec.id for spec in chain.config_specs}
    config: RunnableConfig = {"configurable": {"user_id": "ann", "session_id": "s"}}
    assert chain.with_config(tags=["t"]).invoke("Hello", config) == "1"
    history = chain.get_session_history(user_id="ann", session_id="s")
    assert [message.content for message in history.messages] == ["Hello", "1"]


async def test_a_call_larger_than_the_budget_stops_no_later_turn(
    memory: ChatMemory, async_memory: AsyncChatMemory
) -> None:
    """A message that cannot be truncated to fit is omitted, and the next turn is stored after it."""
    session = memory.tenant("default").sessions.create(user_id="ann", session_id="s-1")
    call = {"id": "c-1", "function": {"name": "find", "arguments": "word " * 3000}}
    session.append("assistant", "", metadata={"tool_calls": [call]})
    session.append("tool", "found", metadata={"tool_call_id": "c-1"})
    assert ChatMemoryHistory(session, max_tokens=100).messages == []
    assert with_memory(counter, memory, max_tokens=100).invoke("a", _config()) == AIMessage("a")
    session.append("assistant", "", metadata={"tool_calls": [{**call, "id": "c-2"}]})
    session.append("tool", "found", metadata={"tool_call_id": "c-2"})
    assert (
        await ChatMemoryHistory(
            await async_memory.tenant("default").sessions.get("s-1"), max_tokens=100
        ).aget_messages()
        == []
    )
    assert await with_memory(counter, async_memory, max_tokens=100).ainvoke("b", _config()) == AIMessage("b")


def test_a_turn_is_two_round_trips(memory: ChatMemory, round_trips: list[str]) -> None:
    """Resuming the session is one, storing the turn another; what was said before is in the memory's cache."""
    chat = with_memory(counter, memory, history_size=4, recall=False)
    chat.invoke("a", _config())
    for said in ("b", "c", "d"):
        round_trips.clear()
        chat.invoke(said, _config())
        assert len(round_trips) == 2, round_trips
    round_trips.clear()
    assert len(chat.get_session_history(user_id="ann", session_id="s-1").messages) == 8
    assert len(round_trips) == 1


async def test_an_async_turn_is_two_round_trips(async_memory: AsyncChatMemory, round_trips: list[str]) -> None:
    """The same with an AsyncChatMemory, also for a stream."""
    chat = with_memory(counter, async_memory, recall=False)
    await chat.ainvoke("a", _config())
    round_trips.clear()
    await chat.ainvoke("b", _config())
    assert len(round_trips) == 2, round_trips
    round_trips.clear()
    assert [chunk.content async for chunk in chat.astream("c", _config())]
    assert len(round_trips) == 2, round_trips
