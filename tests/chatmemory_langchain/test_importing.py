"""Conversations of LangChain's and LangGraph's own stores, imported and continued."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage, message_to_dict
from psycopg.types.json import Jsonb

from chatmemory import (
    AsyncChatMemory,
    ChatMemory,
    ConfigurationError,
    Conversation,
    ImportedConversation,
    InvalidInputError,
    NewMessage,
    RefusedConversation,
    StorageUnavailableError,
)
from chatmemory_langchain import (
    from_message,
    langchain_postgres_conversations,
    langgraph_postgres_conversations,
    with_memory,
)
from tests.chatmemory_langchain.scripted import ScriptedChat

SESSION = str(UUID(int=1))
SAID = datetime(2024, 5, 1, 10, 0, tzinfo=UTC)
CALL = AIMessage("", tool_calls=[{"name": "menu", "args": {"day": "1"}, "id": "c-1"}], id="run-1")
LUNCH = [
    HumanMessage("Soup or salad? 🥗"),
    CALL,
    ToolMessage("Soup", tool_call_id="c-1"),
    AIMessage("Soup.", id="run-2"),
]

MADE = re.compile(r"(row-\d+-)?[0-9a-f]{24}(-\d+)?")  # ids of messages that have none of their own

# As langchain-postgres creates it, and langchain-community's older class, which has no times.
TABLE = """create table "{}" (id serial primary key, session_id uuid not null, message jsonb not null,
           created_at timestamptz not null default now())"""
OLD_TABLE = 'create table "{}" (id serial primary key, session_id text not null, message jsonb not null)'


@pytest.fixture
def source(empty_postgres_url: str) -> Iterator[psycopg.Connection]:
    """A database of the app's own."""
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        yield connection


def add(connection: psycopg.Connection, session: str, messages: list[Any], table: str = "chat_history") -> None:
    """Add messages as the library does."""
    values = [each if isinstance(each, dict) else message_to_dict(each) for each in messages]
    with connection.cursor() as cursor:
        statement = f'insert into "{table}" (session_id, message) values (%s, %s)'
        cursor.executemany(statement.encode(), [(session, Jsonb(value)) for value in values])


def outcomes(results: Any) -> list[tuple[str, str, int]]:
    """The results, shortly."""
    return [(each.id, each.outcome, each.messages) for each in results]


def imported(memory: ChatMemory, conversations: Any, **whose: Any) -> list[ImportedConversation]:
    """Import conversations into acme, for Ann unless they say otherwise."""
    return list(memory.tenant("acme").import_conversations(conversations, **{"default_user_id": "ann", **whose}))


def stored(memory: ChatMemory, session: str) -> list[BaseMessage]:
    """The messages of a session, as LangChain's; those without an id of their own as such."""
    found = [from_message(message) for message in memory.tenant("acme").sessions.get(session).messages()]
    return [each.model_copy(update={"id": None}) if MADE.fullmatch(each.id or "") else each for each in found]


def ask(memory: ChatMemory, session: str, text: str) -> list[str]:
    """Ask in a session with memory; return the texts that the model was given."""
    model = ScriptedChat(script=[AIMessage("Of course.")])
    config: Any = {"configurable": {"tenant_id": "acme", "user_id": "ann", "session_id": session}}
    with_memory(model, memory).invoke([HumanMessage(text)], config)
    return [message.text for message in model.sent[0]]


def test_langchain_postgres(memory: ChatMemory, source: psycopg.Connection, empty_postgres_url: str) -> None:
    """Every message comes whole, with its date; a second import adds only what is new."""
    source.execute(TABLE.format("chat_history").encode())
    add(source, SESSION, LUNCH)
    source.execute("update chat_history set created_at = %s + id * interval '1 minute'", [SAID])
    assert outcomes(imported(memory, langchain_postgres_conversations(empty_postgres_url))) == [
        (SESSION, "imported", 4)
    ]
    assert stored(memory, SESSION) == LUNCH
    session = memory.tenant("acme").sessions.get(SESSION)
    assert [message.created_at for message in session.messages()] == [SAID + timedelta(minutes=n) for n in range(1, 5)]
    assert session.info.created_at == SAID + timedelta(minutes=1)
    assert session.info.last_active_at == SAID + timedelta(minutes=4)
    add(source, SESSION, [HumanMessage("Thanks.")])
    for expected in ((SESSION, "grown", 1), (SESSION, "unchanged", 0)):
        assert outcomes(imported(memory, langchain_postgres_conversations(empty_postgres_url))) == [expected]
    assert session.history()[-1].text == "Thanks."


def test_an_imported_conversation_goes_on(
    memory: ChatMemory, source: psycopg.Connection, empty_postgres_url: str
) -> None:
    """Under its id with_memory finds the past, however old; and it counts against no limit of sessions until then."""
    source.execute(TABLE.format("chat_history").encode())
    ids = [str(UUID(int=n)) for n in range(1, 31)]
    for id in ids:
        add(source, id, [HumanMessage(f"I am number {id[-2:]}"), AIMessage("Welcome.")])
    source.execute("update chat_history set created_at = %s", [SAID])
    imported(memory, langchain_postgres_conversations(empty_postgres_url))
    sessions = memory.tenant("acme").sessions
    assert sessions.list(active_only=True).items == ()
    assert ask(memory, SESSION, "Who am I?") == ["I am number 01", "Welcome.", "Who am I?"]
    assert sessions.get(SESSION).info.is_active
    assert [message.text for message in sessions.get(SESSION).history()][-2:] == ["Who am I?", "Of course."]
    add(source, SESSION, [HumanMessage("Late")])
    assert ("grown", 1) in [
        result[1:] for result in outcomes(imported(memory, langchain_postgres_conversations(empty_postgres_url)))
    ]
    assert sessions.get(SESSION).info.is_active
    memory.run_due()
    assert memory.tenant("acme").memories.list(user_id="ann")  # the others are learnt, as after an idle end


async def test_the_same_async(
    async_memory: AsyncChatMemory, source: psycopg.Connection, empty_postgres_url: str
) -> None:
    """The async tenant reads the source in threads."""
    source.execute(TABLE.format("chat_history").encode())
    add(source, SESSION, LUNCH * 100)
    acme = async_memory.tenant("acme")
    results = acme.import_conversations(langchain_postgres_conversations(empty_postgres_url), default_user_id="ann")
    assert outcomes([result async for result in results]) == [(SESSION, "imported", 202)]  # two have ids of their own


def test_pages_of_sessions_and_messages(
    memory: ChatMemory, source: psycopg.Connection, empty_postgres_url: str
) -> None:
    """More sessions and messages than are read at once: all of them, once, in their order."""
    source.execute(OLD_TABLE.format("message_store").encode())
    long = [HumanMessage(f"{n}") for n in range(250)]
    add(source, "long", long, "message_store")
    for n in range(501):
        add(source, f"s-{n}", [HumanMessage("Hi")], "message_store")
    results = imported(memory, langchain_postgres_conversations(empty_postgres_url, table="message_store"))
    assert sorted(outcomes(results)) == sorted(
        [("long", "imported", 250), *((f"s-{n}", "imported", 1) for n in range(501))]
    )
    assert [message.text for message in stored(memory, "long")] == [message.text for message in long]


def test_messages_that_cannot_be_read_are_counted(
    memory: ChatMemory, source: psycopg.Connection, empty_postgres_url: str
) -> None:
    """Unknown forms and what cannot be stored are named without their content; the other messages come in."""
    source.execute(OLD_TABLE.format("chat_history").encode())
    odd: list[Any] = [
        {"type": "hologram", "data": {"content": "secret"}},
        {"type": "human", "data": {"content": 7}},
        {"nothing": "secret"},
        {"type": "a secret in the type", "data": {}},
        message_to_dict(HumanMessage("x" * 1_000_001)),
    ]
    add(source, "s", [HumanMessage("Hi"), *odd, AIMessageChunk(content="Hello")])
    add(source, "odd only", odd)
    by_id = {each.id: each for each in imported(memory, langchain_postgres_conversations(empty_postgres_url))}
    assert (by_id["s"].messages, by_id["odd only"].outcome) == (2, "empty")
    left_out = dict(by_id["s"].left_out)
    assert sum(left_out.values()) == 5
    assert left_out["messages of type 'hologram'"] == 1
    assert "secret" not in json.dumps(left_out)


def test_columns_name_tenant_and_user(memory: ChatMemory, source: psycopg.Connection, empty_postgres_url: str) -> None:
    """The app's own columns give the owner; another tenant's conversation and a torn one are refused."""
    source.execute(OLD_TABLE.format("Chat").encode())
    source.execute('alter table "Chat" add org text, add "User" int')
    for id, org, user in (
        ("a", "acme", 1),
        ("b", "acme", 2),
        ("c", "other", 3),
        ("torn", "acme", 1),
        ("none", None, None),
    ):
        add(source, id, [HumanMessage("Hi")], "Chat")
        source.execute('update "Chat" set org = %s, "User" = %s where session_id = %s', [org, user, id])
    add(source, "torn", [HumanMessage("Ho")], "Chat")
    source.execute("""update "Chat" set org = 'acme', "User" = 2 where org is null and session_id = 'torn'""")
    found = langchain_postgres_conversations(
        empty_postgres_url, table="public.Chat", tenant_column="org", user_column="User"
    )
    results = imported(memory, found)
    assert {each.id: each.outcome for each in results} == {
        "a": "imported", "b": "imported", "c": "refused", "torn": "refused", "none": "imported"
    }  # fmt: skip
    sessions = memory.tenant("acme").sessions
    assert [sessions.get(id).info.user_id for id in ("a", "b", "none")] == ["1", "2", "ann"]


def test_a_conversation_of_another_user_gets_nothing(memory: ChatMemory) -> None:
    """An id that a user has here takes no messages that the source says are another's."""
    sessions = memory.tenant("acme").sessions
    sessions.create(user_id="bob", session_id="s").append("user", "Mine")
    found = Conversation(id="s", source="test", origin={}, messages=[NewMessage("user", "x", "1")], user_id="ann")
    [result] = imported(memory, [found], default_user_id=None)
    assert (result.outcome, len(sessions.get("s").history())) == ("refused", 1)


def test_messages_need_ids(memory: ChatMemory) -> None:
    """A message without an id would be stored at every import: its conversation is refused, the next one comes."""
    bad, good = (
        Conversation(id=id or "bad", source="test", origin={}, messages=iter([NewMessage("user", "x", id)]))
        for id in (None, "good")
    )
    odd = RefusedConversation("odd", "it is odd")
    assert outcomes(imported(memory, [bad, odd, good])) == [
        ("bad", "refused", 0),
        ("odd", "refused", 0),
        ("good", "imported", 1),
    ]
    with pytest.raises(InvalidInputError, match="must be a Conversation"):
        imported(memory, ["good"])


def test_an_import_that_was_cut_off_is_finished(memory: ChatMemory) -> None:
    """The source breaks off within a conversation: the next import completes it, in order, and ends it."""

    def conversation(count: int, fails: bool) -> Conversation:
        def messages() -> Iterator[NewMessage]:
            for n in range(count):
                yield NewMessage("user", f"{n}", f"m-{n}")
            if fails:
                raise StorageUnavailableError("gone")

        return Conversation(id="s", source="test", origin={}, messages=messages(), status="expired")

    with pytest.raises(StorageUnavailableError, match="gone"):
        imported(memory, [conversation(1100, fails=True)])
    session = memory.tenant("acme").sessions.get("s")
    assert session.info.is_active
    assert outcomes(imported(memory, [conversation(1200, fails=False)])) == [("s", "imported", 200)]
    assert [message.text for message in session.messages()] == [f"{n}" for n in range(1200)]
    assert session.refresh().status == "expired"


UNREACHABLE = (
    "postgresql://me:hunter2@127.0.0.1:1/x",
    "postgresql://me:hunter2@[",
    "postgresql+psycopg://me:hunter2@127.0.0.1:1/x",
)


@pytest.mark.parametrize("url", UNREACHABLE)
def test_a_source_that_cannot_be_reached(url: str) -> None:
    """The error says so, without the password."""
    for read in (langchain_postgres_conversations, langgraph_postgres_conversations):
        with pytest.raises(ConfigurationError, match=r"^The source") as caught:
            next(read(url))
        assert "hunter2" not in str(caught.value)


def test_a_table_that_is_missing_or_another(source: psycopg.Connection, empty_postgres_url: str) -> None:
    """The error says which column is missing, or that there is no such table."""
    source.execute(b"create table other (id int, session_id text)")
    for read, options, match in (
        (langchain_postgres_conversations, {}, "no such table"),
        (langchain_postgres_conversations, {"table": "no.where"}, "no such table"),
        (langchain_postgres_conversations, {"table": "other"}, "no column 'message'"),
        (langgraph_postgres_conversations, {}, "no such table"),
    ):
        with pytest.raises(ConfigurationError, match=match):
            next(read(empty_postgres_url, **options))
