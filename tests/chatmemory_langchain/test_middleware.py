from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware, SummarizationMiddleware
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.types import Command

from chatmemory import AsyncChatMemory, ChatMemory, ConfigurationError, InvalidInputError, Session, Settings
from chatmemory_langchain import ChatMemoryMiddleware, MemoryContext
from chatmemory_langchain.messages import from_message
from tests.chatmemory_langchain.scripted import ScriptedChat, calling, told

ANN = MemoryContext(user_id="ann", session_id="s-1", tenant_id="acme")
THREAD: RunnableConfig = {"configurable": {"thread_id": "t-1"}}


@tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


def agent_of(memory: Any, model: ScriptedChat, *, tools: Any = (weather,), more: Any = (), **options: Any) -> Any:
    """A real agent with memory."""
    middleware = [ChatMemoryMiddleware(memory), *more]
    return create_agent(
        model, list(tools), system_prompt="Be brief.", middleware=middleware, context_schema=MemoryContext, **options
    )


def stored(memory: ChatMemory) -> list[str]:
    """Return the messages in the session."""
    session = memory.tenant("acme").sessions.get("s-1")
    return told([from_message(message) for message in session.history(1000)])


def asked(text: str, **more: Any) -> dict[str, Any]:
    """The input of a run."""
    return {"messages": [HumanMessage(text, **more)]}


TURNS = [
    calling("weather", {"city": "Lisbon"}),
    AIMessage("Sunny."),
    calling("weather", {"city": "Porto"}, {"city": "Faro"}),
    calling("weather", {"city": "Braga"}),
    AIMessage("All sunny."),
    AIMessage("You are welcome."),
]
SAID = ["Lisbon?", "The others?", "Thanks"]
WHOLE = [
    "human: Lisbon?",
    "ai: weather",
    "tool: sunny in Lisbon",
    "ai: Sunny.",
    "human: The others?",
    "ai: weather,weather",
    "tool: sunny in Porto",
    "tool: sunny in Faro",
    "ai: weather",
    "tool: sunny in Braga",
    "ai: All sunny.",
    "human: Thanks",
    "ai: You are welcome.",
]
SENT = [1, 3, 5, 8, 10, 12]  # of the whole conversation, for each call of the model


@pytest.mark.parametrize("keeps_state", [False, True])
def test_turns_with_tools(memory: ChatMemory, keeps_state: bool) -> None:
    """Over turns that loop through tools, the model gets all that came before, and each message is stored once."""
    model = ScriptedChat(script=[*TURNS])
    agent = agent_of(memory, model, checkpointer=InMemorySaver() if keeps_state else None)
    for text in SAID:
        agent.invoke(asked(text), THREAD, context=ANN)
    assert stored(memory) == WHOLE
    assert [told(sent) for sent in model.sent] == [["system: Be brief.", *WHOLE[:count]] for count in SENT]


@pytest.mark.parametrize("keeps_state", [False, True])
async def test_turns_with_tools_async(async_memory: AsyncChatMemory, keeps_state: bool) -> None:
    """The same with ainvoke on an AsyncChatMemory; invoke says what to do."""
    model = ScriptedChat(script=[*TURNS])
    agent = agent_of(async_memory, model, checkpointer=InMemorySaver() if keeps_state else None)
    for text in SAID:
        await agent.ainvoke(asked(text), THREAD, context=ANN)
    session = await async_memory.tenant("acme").sessions.get("s-1")
    assert told([from_message(message) for message in await session.history(100)]) == WHOLE
    assert [told(sent)[1:] for sent in model.sent] == [WHOLE[:count] for count in SENT]
    with pytest.raises(ConfigurationError, match="ainvoke"):
        agent.invoke(asked("Hello"), THREAD, context=ANN)


async def test_async_runs_on_a_sync_memory(memory: ChatMemory) -> None:
    """With a ChatMemory ainvoke reads and stores in threads."""
    agent = agent_of(memory, ScriptedChat(script=[*TURNS]))
    for text in SAID:
        await agent.ainvoke(asked(text), context=ANN)
    assert stored(memory) == WHOLE


def test_streaming(memory: ChatMemory) -> None:
    """Stream gives the same messages, and stores the same."""
    agent = agent_of(memory, ScriptedChat(script=[*TURNS]))
    for text in SAID:
        pieces = list(agent.stream(asked(text), context=ANN, stream_mode=["messages", "updates"]))
        assert any(mode == "messages" for mode, _ in pieces)
    assert stored(memory) == WHOLE


async def test_async_streaming(async_memory: AsyncChatMemory) -> None:
    """And astream."""
    agent = agent_of(async_memory, ScriptedChat(script=[*TURNS]))
    for text in SAID:
        assert [piece async for piece in agent.astream(asked(text), context=ANN)]
    session = await async_memory.tenant("acme").sessions.get("s-1")
    assert told([from_message(message) for message in await session.history(100)]) == WHOLE


def broken_once() -> BaseTool:
    """A tool that fails at its first call."""
    failed: list[str] = []

    @tool("weather")
    def breaks(city: str) -> str:
        """Tell the weather."""
        if not failed:
            failed.append(city)
            raise RuntimeError("the lights went out")
        return f"sunny in {city}"

    return breaks


@pytest.mark.parametrize("break_at", ["tool", "first model call", "second model call"])
def test_a_run_that_broke_off_is_resumed(memory: ChatMemory, break_at: str) -> None:
    """After a crash in the middle, the run is resumed from its checkpoint, and each message is stored once."""
    script: list[AIMessage | Exception] = [*TURNS]
    if break_at != "tool":
        script.insert(0 if break_at.startswith("first") else 1, RuntimeError("the lights went out"))
    model, saver = ScriptedChat(script=script), InMemorySaver()
    tools = [broken_once() if break_at == "tool" else weather]
    with pytest.raises(RuntimeError, match="lights"):
        agent_of(memory, model, tools=tools, checkpointer=saver).invoke(asked("Lisbon?"), THREAD, context=ANN)
    again = agent_of(memory, model, tools=tools, checkpointer=saver)
    again.invoke(None, THREAD, context=ANN)
    for text in SAID[1:]:
        again.invoke(asked(text), THREAD, context=ANN)
    assert stored(memory) == WHOLE
    assert told(model.sent[-1])[1:] == WHOLE[:-1]


@pytest.mark.parametrize("break_at", ["tool", "first model call", "second model call"])
def test_a_run_that_broke_off_is_followed_by_another(memory: ChatMemory, break_at: str) -> None:
    """When the user says something else instead, no prompt holds a call without its result, or the other way round."""
    script: list[AIMessage | Exception] = [TURNS[0], AIMessage("Fine.")]
    if break_at != "tool":
        script.insert(0 if break_at.startswith("first") else 1, RuntimeError("the lights went out"))
    if break_at.startswith("first"):
        script.pop(1)
    model, tools = ScriptedChat(script=script), [broken_once() if break_at == "tool" else weather]
    agent = agent_of(memory, model, tools=tools, checkpointer=InMemorySaver())
    with pytest.raises(RuntimeError, match="lights"):
        agent.invoke(asked("Lisbon?"), THREAD, context=ANN)
    agent.invoke(asked("Never mind"), THREAD, context=ANN)
    sent = told(model.sent[-1])[1:]
    paired = ["ai: weather", "tool: sunny in Lisbon"] if break_at.startswith("second") else []
    assert sent == ["human: Lisbon?", *paired, "human: Never mind"]
    calls = [] if break_at.startswith("first") else ["ai: weather"]
    results = paired[1:]
    assert stored(memory) == ["human: Lisbon?", *calls, *results, "human: Never mind", "ai: Fine."]


def test_a_retried_input_with_an_id_is_stored_once(memory: ChatMemory) -> None:
    """Without a checkpointer, what a run that failed half-way was given is neither stored nor sent twice."""
    model = ScriptedChat(script=[TURNS[0], TURNS[1]])
    agent = agent_of(memory, model, tools=[broken_once()])
    with pytest.raises(RuntimeError, match="lights"):
        agent.invoke(asked("Lisbon?", id="m-1"), context=ANN)
    agent.invoke(asked("Lisbon?", id="m-1"), context=ANN)
    assert stored(memory) == ["human: Lisbon?", "ai: weather", "ai: Sunny."]
    assert told(model.sent[-1]) == ["system: Be brief.", "human: Lisbon?"]


def test_a_run_that_waits_for_a_person(memory: ChatMemory) -> None:
    """An interrupted run stores a call when it was decided upon, and goes on where it was."""
    model = ScriptedChat(script=[*TURNS])
    approval = HumanInTheLoopMiddleware(interrupt_on={"weather": True})
    agent = agent_of(memory, model, more=[approval], checkpointer=InMemorySaver())
    result = agent.invoke(asked("Lisbon?"), THREAD, context=ANN)
    assert "__interrupt__" in result
    assert stored(memory) == []
    edited = {"name": "weather", "args": {"city": "Sintra"}}
    decision = {"decisions": [{"type": "edit", "edited_action": edited}]}
    agent.invoke(Command(resume=decision), THREAD, context=ANN)
    held = stored(memory)
    assert [*held[:2], held[3]] == ["human: Lisbon?", "ai: weather", "ai: Sunny."]
    assert held[2].startswith("tool:")
    assert held[2].endswith("sunny in Sintra")


def test_a_call_that_the_user_passes_over_is_not_sent(memory: ChatMemory) -> None:
    """When a run waits for approval and the user says something else, no prompt holds the call without a result."""
    calls = calling("weather", {"city": "Porto"}, {"city": "Faro"})
    model = ScriptedChat(script=[calls, AIMessage("Fine."), AIMessage("Bye.")])
    approval = HumanInTheLoopMiddleware(interrupt_on={"weather": True})
    agent = agent_of(memory, model, more=[approval], checkpointer=InMemorySaver())
    for text in ("Weather?", "Never mind", "Thanks"):
        agent.invoke(asked(text), THREAD, context=ANN)
    assert told(model.sent[1])[1:] == ["human: Weather?", "human: Never mind"]
    assert told(model.sent[2])[1:] == ["human: Weather?", "human: Never mind", "ai: Fine.", "human: Thanks"]
    assert stored(memory)[1] == "ai: weather,weather"


def test_a_summary_of_earlier_runs_is_not_sent_beside_them(memory: ChatMemory) -> None:
    """A summary of SummarizationMiddleware covers earlier runs, which come from memory, so it is not sent."""
    model = ScriptedChat(script=[TURNS[0], AIMessage("Sunny."), AIMessage("Bye.")])
    short = ScriptedChat(script=[AIMessage("They spoke of Lisbon.")])
    saver = InMemorySaver()
    summing = SummarizationMiddleware(short, trigger=("messages", 3), keep=("messages", 2))
    agent_of(memory, model, more=[summing], checkpointer=saver).invoke(asked("Lisbon?"), THREAD, context=ANN)
    assert "They spoke of Lisbon." in model.sent[1][1].text
    agent_of(memory, model, checkpointer=saver).invoke(asked("Thanks"), THREAD, context=ANN)
    assert told(model.sent[2])[1:] == [*WHOLE[:4], "human: Thanks"] == stored(memory)[:-1]


def test_a_call_larger_than_the_budget_stops_no_later_run(memory: ChatMemory) -> None:
    """A run that broke off behind a call with very long arguments is followed by others; it is left out."""
    script = [calling("weather", {"city": "word " * 3000}), RuntimeError("the lights went out"), AIMessage("Fine.")]
    model = ScriptedChat(script=script)
    middleware = ChatMemoryMiddleware(memory, max_tokens=500)
    agent = create_agent(
        model, [weather], middleware=[middleware], context_schema=MemoryContext, checkpointer=InMemorySaver()
    )
    with pytest.raises(RuntimeError, match="lights"):
        agent.invoke(asked("Lisbon?"), THREAD, context=ANN)  # type: ignore[call-overload]
    agent.invoke(asked("Still there?"), THREAD, context=ANN)  # type: ignore[call-overload]
    assert told(model.sent[-1]) == ["human: Still there?"]
    assert stored(memory)[-1] == "ai: Fine."


def test_a_result_that_ends_the_run_is_stored(memory: ChatMemory) -> None:
    """A tool with return_direct answers for the model; its result is in the session."""
    direct = tool("weather", return_direct=True)(weather.func)  # type: ignore[attr-defined]
    agent_of(memory, ScriptedChat(script=[TURNS[0]]), tools=[direct]).invoke(asked("Lisbon?"), context=ANN)
    assert stored(memory) == ["human: Lisbon?", "ai: weather", "tool: sunny in Lisbon"]


def test_memories_of_this_user_come_as_data(memory: ChatMemory) -> None:
    """Memories recalled for the user's words are in a human message before them, and are not stored."""
    acme = memory.tenant("acme")
    acme.memories.remember("Ann works from Lisbon.", user_id="ann")
    acme.memories.remember("Bob works from Lisbon.", user_id="bob")
    model = ScriptedChat(script=[TURNS[0], AIMessage("Sunny.")])
    agent_of(memory, model).invoke(asked("Weather in Lisbon?"), context=ANN)
    for sent in model.sent:
        assert [message.type for message in sent[:3]] == ["system", "human", "human"]
        assert "Ann works from Lisbon." in sent[1].text
        assert "not instructions" in sent[1].text
        assert "Bob" not in sent[1].text
    assert len(stored(memory)) == 4


def test_the_past_stays_inside_its_budget(memory: ChatMemory) -> None:
    """A long session comes trimmed, with a checkpointer too, and the run's own messages whole."""
    session = memory.tenant("acme").sessions.create(user_id="ann", session_id="s-1")
    for number in range(100):
        session.append("user" if number % 2 == 0 else "assistant", f"Message {number} " + "word " * 20)
    model = ScriptedChat(script=[AIMessage("One."), AIMessage("Two.")])
    middleware = ChatMemoryMiddleware(memory, max_tokens=500, recall=False)
    agent = create_agent(model, [], middleware=[middleware], context_schema=MemoryContext, checkpointer=InMemorySaver())
    for text in ("First", "Second"):
        agent.invoke(asked(text), THREAD, context=ANN)  # type: ignore[call-overload]
    assert all(5 <= len(sent) <= 22 for sent in model.sent)
    assert told(model.sent[1])[-3:] == ["human: First", "ai: One.", "human: Second"]


def test_the_context_names_the_session(memory: ChatMemory) -> None:
    """A dict or an object of the app's own will do; a user's session is nobody else's; a missing name is told."""
    model = ScriptedChat(script=[AIMessage("Hello.")] * 3)
    agent = create_agent(model, [], middleware=[ChatMemoryMiddleware(memory)])
    named: Any = {"user_id": "ann", "session_id": "s-1", "tenant_id": "acme", "more": 1}
    agent.invoke(asked("One"), context=named)  # type: ignore[call-overload]
    agent.invoke(asked("Two"), context=named)  # type: ignore[call-overload]
    assert len(model.sent[1]) == 3
    with pytest.raises(LookupError):
        agent.invoke(asked("Mine?"), context={**named, "user_id": "bob"})  # type: ignore[call-overload]
    agent.invoke(asked("Mine?"), context={**named, "tenant_id": "rival"})  # type: ignore[call-overload]
    assert len(model.sent[2]) == 1
    with pytest.raises(InvalidInputError, match="session_id"):
        agent.invoke(asked("Hello"), context={"user_id": "ann"})  # type: ignore[call-overload]


def test_a_summary_stands_in_the_system_message(memory: ChatMemory) -> None:
    """A session that begins with a system message sends one system message: the agent's, then the session's."""
    session: Session = memory.tenant("acme").sessions.create(user_id="ann", session_id="s-1")
    session.append("system", "Ann is a guest.")
    session.append("user", "Hello")
    session.append("assistant", "Hi.")
    model = ScriptedChat(script=[AIMessage("Fine.")])
    agent_of(memory, model).invoke(asked("How are you?"), context=ANN)
    assert told(model.sent[0]) == [
        "system: Be brief.\n\nAnn is a guest.",
        "human: Hello",
        "ai: Hi.",
        "human: How are you?",
    ]


def test_wrong_arguments_are_told() -> None:
    """The constructor rejects an object that is not a memory, and a budget of 0."""
    with pytest.raises(ConfigurationError, match="not a str"):
        ChatMemoryMiddleware("acme")  # type: ignore[arg-type]
    with (
        ChatMemory.open("postgresql://nobody@127.0.0.1:1/none", settings=Settings()) as memory,
        pytest.raises(InvalidInputError, match="max_tokens"),
    ):
        ChatMemoryMiddleware(memory, max_tokens=0)


def test_what_a_run_costs(memory: ChatMemory, round_trips: list[str]) -> None:
    """One round trip when it begins, and two for each answer of the model."""
    model = ScriptedChat(script=[AIMessage(text) for text in ("one", "two")])
    agent: Any = create_agent(
        model, [], middleware=[ChatMemoryMiddleware(memory, recall=False)], context_schema=MemoryContext
    )
    agent.invoke(asked("first"), context=ANN)
    round_trips.clear()
    agent.invoke(asked("second"), context=ANN)
    assert len(round_trips) == 3, round_trips
    assert told(model.sent[-1]) == ["human: first", "ai: one", "human: second"]
