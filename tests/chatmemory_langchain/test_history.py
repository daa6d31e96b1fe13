import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.runnables.history import RunnableWithMessageHistory

from chatmemory import (
    AsyncChatMemory,
    ChatMemory,
    ConfigurationError,
    MessageConflictError,
    Session,
    SessionError,
)
from chatmemory_langchain import ChatMemoryHistory

SAID = [HumanMessage("Hi", id="h"), AIMessage("Hello", id="a")]


def _begin(memory: ChatMemory) -> Session:
    return memory.tenant("acme").sessions.create(user_id="ann")


def test_messages_are_all_of_the_session(memory: ChatMemory) -> None:
    """More messages than one page of a read come back, in order."""
    session = _begin(memory)
    session.append_many({"role": "user", "content": str(n)} for n in range(1203))
    assert [message.content for message in ChatMemoryHistory(session).messages] == [str(n) for n in range(1203)]


def test_a_message_with_an_id_is_stored_once(memory: ChatMemory) -> None:
    """Adding messages again, as a retry does, changes nothing; those without an id are new each time."""
    history = ChatMemoryHistory(_begin(memory))
    history.add_messages(SAID)
    history.add_messages([*SAID, HumanMessage("Bye")])
    history.add_user_message("Bye")
    assert history.messages == [*SAID, HumanMessage("Bye"), HumanMessage("Bye")]


def test_an_id_with_other_content_is_a_conflict(memory: ChatMemory) -> None:
    """An id says which message it is; another text under it is refused."""
    history = ChatMemoryHistory(_begin(memory))
    history.add_messages(SAID)
    with pytest.raises(MessageConflictError):
        history.add_messages([HumanMessage("Hi!", id="h")])


def test_a_remove_message_does_not_take_the_id_it_names(memory: ChatMemory) -> None:
    """Its id is that of the message to remove, which stands in the same session."""
    history = ChatMemoryHistory(_begin(memory))
    history.add_messages([*SAID, RemoveMessage("a")])
    assert history.messages == [*SAID, RemoveMessage("a")]


async def test_async_methods_of_a_session_run_in_threads(memory: ChatMemory) -> None:
    """A sync session serves the async methods too."""
    history = ChatMemoryHistory(_begin(memory))
    await history.aadd_messages(SAID)
    assert await history.aget_messages() == SAID


async def test_async_methods_of_an_async_session(async_memory: AsyncChatMemory) -> None:
    """An async session is awaited, not run in a thread."""
    history = ChatMemoryHistory(await async_memory.tenant("acme").sessions.create(user_id="ann"))
    await history.aadd_messages(SAID)
    assert await history.aget_messages() == SAID


async def test_sync_methods_of_an_async_session_say_what_to_do(async_memory: AsyncChatMemory) -> None:
    """The error names the methods to use instead."""
    history = ChatMemoryHistory(await async_memory.tenant("acme").sessions.create(user_id="ann"))
    with pytest.raises(ConfigurationError, match="aget_messages"):
        _ = history.messages
    with pytest.raises(ConfigurationError, match="aadd_messages"):
        history.add_messages(SAID)


async def test_clear_is_refused(memory: ChatMemory) -> None:
    """Nothing is forgotten by accident: the error names the ways to forget on purpose."""
    history = ChatMemoryHistory(_begin(memory))
    history.add_messages(SAID)
    with pytest.raises(SessionError, match="erase"):
        history.clear()
    with pytest.raises(SessionError, match="delete"):
        await history.aclear()
    assert history.messages == SAID


def test_langchains_own_wrapper_works_on_it(memory: ChatMemory) -> None:
    """A plain RunnableWithMessageHistory over ChatMemoryHistory keeps the turns in order."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    with pytest.warns(DeprecationWarning, match="RunnableWithMessageHistory"):
        chain = RunnableWithMessageHistory(RunnableLambda(len_of), lambda session_id: ChatMemoryHistory(session))
    config: RunnableConfig = {"configurable": {"session_id": session.id}}
    assert [chain.invoke(text, config) for text in ("one", "two")] == ["1", "3"]
    assert [message.text for message in session.history()] == ["one", "1", "two", "3"]


def len_of(messages: list[BaseMessage]) -> str:
    """A chain that says how much it was given."""
    return str(len(messages))
