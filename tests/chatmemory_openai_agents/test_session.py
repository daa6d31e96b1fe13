import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from agents import Agent, RunConfig, Runner, SessionSettings, SQLiteSession, function_tool, set_tracing_disabled
from agents.memory import Session as SdkSession
from agents.testing import ScriptedModel, assistant_message, function_call
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatmemory import (
    AsyncChatMemory,
    ChatMemory,
    ConfigurationError,
    InvalidInputError,
    MessageConflictError,
    SessionEndedError,
)
from chatmemory_openai_agents import ChatMemorySession
from chatmemory_openai_agents.items import from_item, to_item

ITEMS: list[dict[str, Any]] = [
    {"role": "user", "content": "Hello"},
    {"content": "Ängste 🎈 \u2028", "role": "developer"},
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look"}, {"type": "input_image"}]},
    {"role": "assistant", "content": []},
    {"role": "user", "content": ""},
    {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Thinking"}], "content": None},
    {"type": "function_call", "call_id": "c-1", "name": "weather", "arguments": '{"city":"Lisbon"}', "id": "fc_1"},
    {"type": "function_call_output", "call_id": "c-1", "output": "sunny"},
    {"type": "function_call_output", "call_id": "c-1", "output": [{"type": "input_text", "text": "sunny"}]},
    {"type": "computer_call_output", "call_id": "c-2", "output": {"type": "computer_screenshot", "image_url": "x"}},
    {"type": "compaction", "encrypted_content": "gAAAA", "nested": {"number": 1e22, "zero": -0.0, "none": None}},
    {"removed": 1, "role": "user", "content": "item", "is": "block"},
]


@pytest.fixture(autouse=True)
def _no_traces() -> Iterator[None]:
    """The SDK sends nothing anywhere."""
    set_tracing_disabled(True)
    yield
    set_tracing_disabled(False)


@function_tool
def weather(city: str) -> str:
    """Tell the weather."""
    return f"sunny in {city}"


def script() -> ScriptedModel:
    """Three turns, two of them with calls of tools, one with two at once."""
    return ScriptedModel(
        [
            [function_call("weather", '{"city":"Lisbon"}', call_id="c-1")],
            [assistant_message("Sunny.")],
            [
                function_call("weather", '{"city":"Porto"}', call_id="c-2"),
                function_call("weather", '{"city":"Faro"}', call_id="c-3"),
            ],
            [assistant_message("Both sunny.")],
            [assistant_message("You are welcome.")],
        ]
    )


def given_items(model: ScriptedModel) -> list[Any]:
    """Return the items that each call of the model received."""
    return [call.input for call in model.calls]


QUESTIONS = ["Weather in Lisbon?", "And in Porto and Faro?", "Thanks"]


def contents_of(items: Any) -> list[str]:
    """Return the contents of the items."""
    return [item["content"] for item in items]


async def test_the_runner_works_as_on_sqlite(async_memory: AsyncChatMemory) -> None:
    """Over several turns with tools the model gets the same items, and the session holds the same, item for item."""
    sqlite = SQLiteSession("s-1")
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann")
    ours = ChatMemorySession(stored)
    models = []
    for session in (sqlite, ours):
        model = script()
        agent = Agent(name="desk", model=model, tools=[weather])
        for question in QUESTIONS:
            await Runner.run(agent, question, session=session)
        model.assert_complete()
        models.append(model)
    assert given_items(models[1]) == given_items(models[0])
    assert len(given_items(models[0])[-1]) == 11
    assert await ours.get_items() == await sqlite.get_items()
    assert await ours.get_items(4) == await sqlite.get_items(4)
    sqlite.close()


async def test_streaming_works_as_on_sqlite(async_memory: AsyncChatMemory) -> None:
    """run_streamed stores the same items, with a limit in the run's settings too."""
    sqlite = SQLiteSession("s-1")
    ours = ChatMemorySession(await async_memory.tenant("acme").sessions.create(user_id="ann"))
    limited = RunConfig(session_settings=SessionSettings(limit=3))
    models = []
    for session in (sqlite, ours):
        model = script()
        agent = Agent(name="desk", model=model, tools=[weather])
        for question in QUESTIONS:
            result = Runner.run_streamed(agent, question, session=session, run_config=limited)
            async for _ in result.stream_events():
                pass
        models.append(model)
    assert given_items(models[1]) == given_items(models[0])
    assert await ours.get_items() == await sqlite.get_items()
    sqlite.close()


@pytest.fixture
def _loop() -> Iterator[None]:
    """The loop that run_sync takes, which it leaves open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    asyncio.set_event_loop(None)


async def test_the_conversation_is_there_tomorrow(async_memory: AsyncChatMemory) -> None:
    """A thread that has expired gives the agent its items again."""
    sessions = async_memory.tenant("acme").sessions
    for expected in (0, 2, 4):
        stored = await sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
        session = ChatMemorySession(stored)
        assert len(await session.get_items()) == expected
        await session.add_items([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
        await stored.expire()


@pytest.mark.usefixtures("_loop")
def test_run_sync_on_a_sync_memory(memory: ChatMemory) -> None:
    """With a ChatMemory's session the SDK's sync runner works too, and a resumed session goes on."""
    sessions = memory.tenant("acme").sessions
    for index, reply in enumerate(["Hello Ann.", "Ann."]):
        session = sessions.resume_or_create("thread-1", user_id="ann", on_missing="adopt")
        model = ScriptedModel([[assistant_message(reply)]])
        asked = ["I am Ann.", "Who am I?"][index]
        result = Runner.run_sync(Agent(name="desk", model=model), asked, session=ChatMemorySession(session))
        assert result.final_output == reply
        assert len(given_items(model)[0]) == [1, 3][index]
    assert [message.text for message in sessions.get("thread-1").history()] == [
        "I am Ann.",
        "Hello Ann.",
        "Who am I?",
        "Ann.",
    ]


async def test_it_is_a_session_of_the_sdk(async_memory: AsyncChatMemory) -> None:
    """The SDK's protocol knows it, and its id is the session's."""
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann", session_id="s-1")
    session = ChatMemorySession(stored)
    assert isinstance(session, SdkSession)
    assert session.session_id == "s-1"
    assert session.session_settings == SessionSettings()


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: str(item.get("type", item.get("role"))))
def test_items_are_kept_whole(item: Any) -> None:
    """Each comes back equal, with its keys in their order."""
    back: Any = to_item(from_item(item))
    assert back == item
    assert list(back) == list(item)


async def test_all_items_come_back_from_the_database(async_memory: AsyncChatMemory) -> None:
    """The same through Postgres, all stored at once, and newest first for a limit."""
    session = ChatMemorySession(await async_memory.tenant("acme").sessions.create(user_id="ann"))
    await session.add_items(ITEMS)  # type: ignore[arg-type]
    assert await session.get_items() == ITEMS
    for limit in (0, 1, 5, 100):
        assert await session.get_items(limit) == ITEMS[len(ITEMS) - min(limit, len(ITEMS)) :]


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(st.sampled_from(ITEMS), max_size=3)),
        st.tuples(st.just("pop"), st.none()),
        st.tuples(st.just("clear"), st.none()),
        st.tuples(st.just("get"), st.one_of(st.none(), st.integers(0, 6))),
    ),
    max_size=25,
)


async def applied(session: Any, operation: str, argument: Any) -> Any:
    """Run an operation of the protocol and return its result."""
    if operation == "add":
        return await session.add_items(argument)
    if operation == "get":
        return await session.get_items(argument)
    return await (session.pop_item() if operation == "pop" else session.clear_session())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
async def test_any_operations_do_as_on_sqlite(async_memory: AsyncChatMemory, operations: Any) -> None:
    """Random sequences of add, pop, clear and read: both sessions give the same answers."""
    ours = ChatMemorySession(await async_memory.tenant("acme").sessions.create(user_id="ann"))
    sqlite = SQLiteSession("s-1")
    for operation, argument in [*operations, ("get", None)]:
        assert await applied(ours, operation, argument) == await applied(sqlite, operation, argument)
    sqlite.close()


async def test_two_that_pop_at_once_get_different_items(async_memory: AsyncChatMemory) -> None:
    """Of ten pops on one session at once, each gets another item."""
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann")
    await ChatMemorySession(stored).add_items([{"role": "user", "content": str(number)} for number in range(12)])
    popped = await asyncio.gather(*(ChatMemorySession(stored).pop_item() for _ in range(10)))
    assert sorted(contents_of(popped)) == sorted(map(str, range(2, 12)))
    assert contents_of(await ChatMemorySession(stored).get_items()) == ["0", "1"]


async def test_what_was_removed_stays_readable_for_the_app(async_memory: AsyncChatMemory) -> None:
    """pop_item and clear_session hide from the agent; the session's history still holds what was said."""
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann")
    session = ChatMemorySession(stored)
    await session.add_items([{"role": "user", "content": "One"}, {"role": "user", "content": "Two"}])
    await session.pop_item()
    await session.clear_session()
    assert await session.get_items() == []
    texts = [message.text for message in await stored.history()]
    assert texts == ["One", "Two", "Message 2 was removed.", "Earlier messages were removed."]


async def test_readable_without_the_sdk(async_memory: AsyncChatMemory) -> None:
    """Roles, texts and tool calls stand where chatmemory looks for them, so that a context pairs them."""
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann")
    model = script()
    await Runner.run(Agent(name="desk", model=model, tools=[weather]), QUESTIONS[0], session=ChatMemorySession(stored))
    history = await stored.history()
    assert [(message.role, message.text) for message in history] == [
        ("user", "Weather in Lisbon?"),
        ("assistant", ""),
        ("tool", "sunny in Lisbon"),
        ("assistant", "Sunny."),
    ]
    assert [call.name for call in history[1].tool_calls] == ["weather"]
    context = await stored.context(4000)
    assert (len(context), context.unpaired) == (4, ())


async def test_calls_at_once_stay_in_a_context(async_memory: AsyncChatMemory) -> None:
    """The SDK keeps each call in an item of its own; a context has both with their results, in one message."""
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann")
    agent = Agent(name="desk", model=script(), tools=[weather])
    for question in QUESTIONS:
        await Runner.run(agent, question, session=ChatMemorySession(stored))
    context = await stored.context(4000)
    assert (len(context), context.unpaired) == (12, ())
    asking = next(each for each in context.as_openai() if len(each.get("tool_calls", ())) == 2)
    assert [call["id"] for call in asking["tool_calls"]] == ["c-2", "c-3"]
    for fewest in range(12):
        few = await stored.context(4000, max_messages=fewest)
        said = [message.text for message in few if message.role == "tool"]
        assert len(said) == sum(len(message.tool_calls) for message in few)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        [{"type": "function_call_output", "call_id": id, "output": "sunny"} for id in "ab"],
        [{"type": "reasoning", "summary": [], "encrypted_content": text} for text in "ab"],
    ],
)
async def test_the_same_id_with_another_item_is_a_conflict(async_memory: AsyncChatMemory, one: Any, other: Any) -> None:
    """An app that appends items under ids of its own is told when one stands for two, at once or later."""
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann")
    said = [replace(from_item(item), message_id="m-1") for item in (one, one, other)]
    assert [message.seq for message in await stored.append_many(said[:2])] == [1, 1]
    for again in (said, said[2:]):
        with pytest.raises(MessageConflictError):
            await stored.append_many(again)


async def test_tools_with_free_text_are_paired(async_memory: AsyncChatMemory) -> None:
    """A custom tool's call and its result are in a context together."""
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann")
    items: Any = [
        {"type": "custom_tool_call", "call_id": "c-1", "name": "shell", "input": "ls"},
        {"type": "custom_tool_call_output", "call_id": "c-1", "output": "a.txt"},
    ]
    await ChatMemorySession(stored).add_items(items)
    assert await ChatMemorySession(stored).get_items() == items
    context = await stored.context(4000)
    assert [message.text for message in context] == ["", "a.txt"]
    assert context.messages[0].tool_calls[0][:2] == ("c-1", "shell")


async def test_what_others_appended_comes_as_text(async_memory: AsyncChatMemory) -> None:
    """Messages of the app are given to the agent as text; a tool's and those without text are not."""
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann")
    await stored.append("user", "Hello")
    await stored.append("assistant", [{"type": "text", "text": "Hi"}, {"type": "text", "text": "Ann"}])
    await stored.append("tool", "sunny", metadata={"tool_call_id": "c-1"})
    await stored.append("assistant", "")
    session = ChatMemorySession(stored)
    said = [{"role": "user", "content": "Hello"}, {"role": "assistant", "content": "Hi\nAnn"}]
    assert await session.get_items() == said
    assert await session.pop_item() == said[1]
    assert await session.get_items() == said[:1]


async def test_the_limit_of_the_settings_holds(async_memory: AsyncChatMemory) -> None:
    """session_settings limit what a turn reads; an argument comes first."""
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann")
    session = ChatMemorySession(stored, session_settings=SessionSettings(limit=2))
    await session.add_items(ITEMS)  # type: ignore[arg-type]
    assert await session.get_items() == ITEMS[-2:]
    assert await session.get_items(3) == ITEMS[-3:]


async def test_settings_may_be_a_dict_and_are_checked(async_memory: AsyncChatMemory) -> None:
    """A dict has the names of SessionSettings; what is neither is refused when the session is made."""
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann")
    session = ChatMemorySession(stored, session_settings={"limit": 2})
    await session.add_items(ITEMS)  # type: ignore[arg-type]
    assert session.session_settings == SessionSettings(limit=2)
    assert await session.get_items() == ITEMS[-2:]
    wrong: list[Any] = [{"limits": 2}, {"limit": "many"}, SessionSettings(limit=-1), 5, "limit", [2], {1: 2}]
    for each in wrong:
        with pytest.raises(ConfigurationError, match="session_settings"):
            ChatMemorySession(stored, session_settings=each)


async def test_long_sessions_are_read_in_pages(async_memory: AsyncChatMemory) -> None:
    """More items than a page holds come back whole and in order, also with some of them removed."""
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann")
    session = ChatMemorySession(stored)
    items: list[Any] = [{"role": "user", "content": str(number)} for number in range(450)]
    await session.add_items(items)
    for _ in range(30):
        await session.pop_item()
    assert await session.get_items() == items[:420]
    assert await session.get_items(300) == items[120:420]


async def test_what_cannot_be_stored_is_refused_whole(async_memory: AsyncChatMemory) -> None:
    """One bad item, and nothing of the call is stored; an ended session takes no more."""
    stored = await async_memory.tenant("acme").sessions.create(user_id="ann")
    session = ChatMemorySession(stored)
    for bad in ({"role": "user", "content": object()}, {"role": "user", "content": "x", "n": float("nan")}, "text"):
        with pytest.raises(InvalidInputError):
            await session.add_items([{"role": "user", "content": "Hello"}, bad])  # type: ignore[list-item]
    assert await session.get_items() == []
    await stored.end()
    with pytest.raises(SessionEndedError):
        await session.add_items([{"role": "user", "content": "Hello"}])


def test_what_is_no_session_is_refused() -> None:
    """A wrong object is told when it is made."""
    with pytest.raises(ConfigurationError, match="not a str"):
        ChatMemorySession("s-1")  # type: ignore[arg-type]


def test_items_of_a_session_in_use_are_not_read_again(memory: ChatMemory, round_trips: list[str]) -> None:
    """A handle that was just resumed gives its items without asking Postgres; what was appended since is in them."""
    sessions = memory.tenant("acme").sessions
    for turn in range(3):
        round_trips.clear()
        session = ChatMemorySession(sessions.resume_or_create("s-1", user_id="ann", on_missing="adopt"))
        assert len(asyncio.run(session.get_items())) == turn
        assert len(round_trips) == 1, round_trips
        asyncio.run(session.add_items([{"role": "user", "content": f"item {turn}"}]))
        assert len(round_trips) == 2, round_trips
