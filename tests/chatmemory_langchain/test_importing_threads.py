"""Conversations in LangGraph's checkpoints and in LangChain's Redis, imported and continued."""

import json
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage, HumanMessage, message_to_dict
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.postgres import PostgresSaver
from langgraph.graph import START, MessagesState, StateGraph
from redis import Redis

from chatmemory import ChatMemory, ConfigurationError, StorageUnavailableError
from chatmemory_langchain import langchain_redis_conversations, langgraph_postgres_conversations
from tests.chatmemory_langchain.test_importing import LUNCH, ask, imported, outcomes, stored
from tests.fixtures.redis import RedisServer


def answer(state: MessagesState) -> dict[str, Any]:
    """Answer the newest message."""
    return {"messages": [AIMessage(f"Heard: {state['messages'][-1].text}")]}


def talk(saver: PostgresSaver, thread: str, *texts: str, **configurable: str) -> list[Any]:
    """Talk to a graph in a thread; return its messages."""
    graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile(checkpointer=saver)
    config: RunnableConfig = {"configurable": {"thread_id": thread, **configurable}}
    for text in texts:
        graph.invoke({"messages": [HumanMessage(text)]}, config)
    messages: list[Any] = graph.get_state(config).values["messages"]
    return messages


def test_langgraph_postgres(memory: ChatMemory, empty_postgres_url: str) -> None:
    """The newest state of each thread comes with its messages' ids; what a thread says later is added."""
    with PostgresSaver.from_conn_string(empty_postgres_url) as saver:
        saver.setup()
        before = talk(saver, "acme:ann:thread-1", "I am Ann", "Lunch?", user_id="ann")
        talk(saver, "t-2", "Hi", user_id="bob")

        def again() -> list[tuple[str, str, int]]:
            found = langgraph_postgres_conversations(empty_postgres_url, user_column="user_id")
            return outcomes(imported(memory, found, default_user_id=None))

        assert again() == [("acme:ann:thread-1", "imported", 4), ("t-2", "imported", 2)]
        assert stored(memory, "acme:ann:thread-1") == before
        session = memory.tenant("acme").sessions.get("acme:ann:thread-1")
        assert (session.info.user_id, session.info.status) == ("ann", "expired")
        newest = saver.get_tuple({"configurable": {"thread_id": "acme:ann:thread-1"}})
        assert newest is not None
        assert {message.created_at.isoformat() for message in session.messages()} == {newest.checkpoint["ts"]}
        assert again() == [("acme:ann:thread-1", "unchanged", 0), ("t-2", "unchanged", 0)]
        after = talk(saver, "acme:ann:thread-1", "Thanks", user_id="ann")
        assert again() == [("acme:ann:thread-1", "grown", 2), ("t-2", "unchanged", 0)]
        assert stored(memory, "acme:ann:thread-1") == after
    assert ask(memory, "acme:ann:thread-1", "And now?") == [*(message.text for message in after), "And now?"]


def test_a_thread_without_messages_or_with_unknown_objects(memory: ChatMemory, empty_postgres_url: str) -> None:
    """It is refused with its reason; the other threads come in."""
    with PostgresSaver.from_conn_string(empty_postgres_url) as saver:
        saver.setup()
        for thread in ("broken", "good", "other"):
            talk(saver, thread, "Hi")
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        connection.execute("update checkpoint_blobs set blob = %s where thread_id = 'broken'", [b"\xc1secret"])
        connection.execute("delete from checkpoint_blobs where thread_id = 'other'")
    results = imported(memory, langgraph_postgres_conversations(empty_postgres_url))
    assert [result[1] for result in outcomes(results)] == ["refused", "imported", "refused"]
    assert "cannot be restored" in str(results[0].reason)
    assert 'no list of "messages"' in str(results[2].reason)


def push(client: Redis, session: str, messages: list[Any], prefix: str = "message_store:") -> None:
    """Add messages as the library does: the newest first."""
    for message in messages:
        client.lpush(prefix + session, json.dumps(message_to_dict(message)))


def test_langchain_redis(memory: ChatMemory, redis_url: str) -> None:
    """A list of several pieces comes in its order, repeated words too, and only what is new comes again."""
    words = [HumanMessage("ok") if n % 3 else HumanMessage(f"{n}") for n in range(201)]
    with Redis.from_url(redis_url) as client:
        push(client, "acme:ann:é", [*LUNCH, *words])
        for count in (99, 100, 101):
            push(client, f"s-{count}", words[:count])
        push(client, "s-1", LUNCH, prefix="[my]*:")
        client.set("message_store:no list", "x")
        client.lpush("message_store:odd", "no JSON", json.dumps({"type": "human", "data": {"content": "Hi"}}), b"\xff")

        def again(**options: str) -> dict[str, tuple[str, int]]:
            results = imported(memory, langchain_redis_conversations(redis_url, **options))
            return {each.id: (each.outcome, each.messages) for each in results}

        first = {"acme:ann:é": 205, "s-99": 99, "s-100": 100, "s-101": 101, "odd": 1}
        assert again() == {id: ("imported", count) for id, count in first.items()}
        assert stored(memory, "acme:ann:é") == [*LUNCH, *words]
        push(client, "acme:ann:é", [HumanMessage("ok")])
        assert again() == dict.fromkeys(first, ("unchanged", 0)) | {"acme:ann:é": ("grown", 1)}
        assert again(prefix="[my]*:") == {"s-1": ("imported", 4)}
    assert ask(memory, "s-1", "And now?")[-2:] == ["Soup.", "And now?"]


def test_redis_in_another_layout(redis_url: str) -> None:
    """Keys of the package langchain-redis are named as what cannot be read, and are not passed over in silence."""
    assert list(langchain_redis_conversations(redis_url)) == []
    with Redis.from_url(redis_url) as client:
        client.set("chat:s-1:01JC", "{}")
    with pytest.raises(ConfigurationError, match="package langchain-redis"):
        list(langchain_redis_conversations(redis_url))


def test_redis_that_cannot_be_reached(own_redis: Callable[..., RedisServer]) -> None:
    """At the beginning, or in between; the error has no password."""
    for url in ("redis://me:hunter2@127.0.0.1:1/0", "me:hunter2@nowhere"):
        with pytest.raises(ConfigurationError, match=r"^The source") as caught:
            next(langchain_redis_conversations(url))
        assert "hunter2" not in str(caught.value)
    server = own_redis()
    with server.client() as client:
        push(client, "s", LUNCH)
    conversation: Any = next(found := langchain_redis_conversations(server.url))
    server.kill()
    with pytest.raises(StorageUnavailableError, match="Importing again is safe"):
        list(conversation.messages)
    found.close()  # type: ignore[attr-defined]  # it is a generator
