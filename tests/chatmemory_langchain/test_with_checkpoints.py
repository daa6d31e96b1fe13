from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.prebuilt import ToolRuntime

from chatmemory import AsyncChatMemory, ChatMemory
from chatmemory_langchain import ChatMemoryMiddleware, ChatMemoryStore, MemoryContext
from tests.chatmemory_langchain.scripted import ScriptedChat, calling, told

ANN = MemoryContext(user_id="ann", session_id="s-1", tenant_id="acme")
THREAD: RunnableConfig = {"configurable": {"thread_id": "t-1"}}


@tool
def note(text: str, runtime: ToolRuntime[MemoryContext]) -> str:
    """Note something."""
    assert runtime.store is not None
    runtime.store.put(("notes", runtime.context.user_id), "last", {"text": text})
    return "noted"


@tool
async def anote(text: str, runtime: ToolRuntime[MemoryContext]) -> str:
    """Note something."""
    assert runtime.store is not None
    await runtime.store.aput(("notes", runtime.context.user_id), "last", {"text": text})
    return "noted"


def agent_of(memory: Any, model: ScriptedChat, saver: Any, tools: Any) -> Any:
    """An agent with all three: memory, store and checkpoints."""
    return create_agent(
        model,
        tools,
        middleware=[ChatMemoryMiddleware(memory)],
        context_schema=MemoryContext,
        checkpointer=saver,
        store=ChatMemoryStore(memory.tenant("acme"), user_at=1),
    )


def said(text: str) -> dict[str, Any]:
    """The input of a run."""
    return {"messages": [HumanMessage(text)]}


CONVERSATION = ["human: I like tea", "ai: note", "tool: noted", "ai: Noted.", "human: Thanks", "ai: Welcome."]


def test_langgraphs_checkpoints_and_our_store_in_one_database(memory: ChatMemory, postgres_url: str) -> None:
    """One graph keeps its checkpoints by LangGraph's own saver, its items and messages by ours, all in one Postgres."""
    first = ScriptedChat(script=[calling("note", {"text": "tea"}), AIMessage("Noted.")])
    with PostgresSaver.from_conn_string(postgres_url) as saver:
        saver.setup()
        agent_of(memory, first, saver, [note]).invoke(said("I like tea"), THREAD, context=ANN)
    second = ScriptedChat(script=[AIMessage("Welcome.")])
    with PostgresSaver.from_conn_string(postgres_url) as saver:
        agent = agent_of(memory, second, saver, [note])
        assert told(agent.get_state(THREAD).values["messages"]) == CONVERSATION[:4]
        result = agent.invoke(said("Thanks"), THREAD, context=ANN)
        assert told(result["messages"]) == CONVERSATION
        assert told(second.sent[0]) == CONVERSATION[:5]
        [item] = agent.store.search(("notes", "ann"))
        assert item.value == {"text": "tea"}
    acme = memory.tenant("acme")
    assert len(acme.sessions.get("s-1").history()) == 6
    assert acme.users.erase("ann").items == 1


async def test_the_same_async(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """The async saver, store and middleware together."""
    model = ScriptedChat(script=[calling("anote", {"text": "tea"}), AIMessage("Noted."), AIMessage("Welcome.")])
    async with AsyncPostgresSaver.from_conn_string(postgres_url) as saver:
        await saver.setup()
        agent = agent_of(async_memory, model, saver, [anote])
        for text in ("I like tea", "Thanks"):
            result = await agent.ainvoke(said(text), THREAD, context=ANN)
        assert len(told(result["messages"])) == 6
        assert told(model.sent[-1]) == told(result["messages"])[:-1]
        [item] = await agent.store.asearch(("notes", "ann"), query="tea")
        assert item.value == {"text": "tea"}
