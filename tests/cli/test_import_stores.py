"""`import --from`: other libraries' stores, with tenants and users taken from ids and columns."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from agents import SQLiteSession
from langchain_core.messages import HumanMessage, message_to_dict
from psycopg.types.json import Jsonb
from redis import Redis

from chatmemory import ChatMemory
from tests.cli.conftest import Cli

IDS = r"(?P<tenant>[^:]+):(?P<user>[^:]+):(?P<session>.+)"


@pytest.fixture
def table(empty_postgres_url: str) -> str:
    """The app's own database, with a table of LangChain's and three conversations."""
    with psycopg.connect(empty_postgres_url, autocommit=True) as source:
        source.execute(b"create table chat_history (id serial primary key, session_id text, message jsonb, owner text)")
        for id in ("acme:ann:t-1", "acme:bob:t-2", "zeta:ann:t-1"):
            for text in ("Hi", "Ho"):
                values = (id, Jsonb(message_to_dict(HumanMessage(text))), id.split(":")[1])
                source.execute("insert into chat_history (session_id, message, owner) values (%s, %s, %s)", values)
    return empty_postgres_url


def test_a_mapping_of_ids(cli: Cli, memory: ChatMemory, table: str) -> None:
    """Tenant, user and session are taken from the store's id; a second import adds nothing."""
    words = ("import", "--from", "langchain-postgres", table, "--ids", IDS)
    assert "Imported 3 conversations with 6 messages." in cli(*words).stdout
    found = {
        tenant: [(info.id, info.user_id) for info in memory.tenant(tenant).sessions.list(order="created")]
        for tenant in ("acme", "zeta", "default")
    }
    assert {tenant: sorted(each) for tenant, each in found.items()} == {
        "acme": [("t-1", "ann"), ("t-2", "bob")], "zeta": [("t-1", "ann")], "default": []
    }  # fmt: skip
    assert cli.json(*words)["unchanged"] == 3


def test_a_column_a_user_and_ids_that_do_not_match(cli: Cli, memory: ChatMemory, table: str) -> None:
    """--user-column and --user give the user under the whole id; what does not match is refused by its id."""
    words = ("import", "--from", "langchain-postgres", table)
    cli(*words, "--user-column", "owner", "--tenant", "columns")
    sessions = memory.tenant("columns").sessions
    assert sorted((info.id, info.user_id) for info in sessions.list()) == [
        ("acme:ann:t-1", "ann"), ("acme:bob:t-2", "bob"), ("zeta:ann:t-1", "ann")
    ]  # fmt: skip
    cli(*words, "--user", "eve", "--tenant", "all")
    assert {info.user_id for info in memory.tenant("all").sessions.list()} == {"eve"}
    refused = cli.json(*words, "--ids", "(?P<tenant>acme):(?P<user>.+):t-.", code=1)["refused"]
    assert [each["id"] for each in refused] == ["zeta:ann:t-1"]
    same = cli.json(*words, "--ids", "[^:]+:(?P<user>[^:]+):(?P<session>).*", "--tenant", "one")
    assert same["imported"] == 3  # an empty session is no id: the whole one is taken


def test_two_users_of_one_session_id(cli: Cli, memory: ChatMemory, table: str) -> None:
    """A mapping that gives two users one session of one tenant mixes nothing: the second is refused."""
    words = ("import", "--from", "langchain-postgres", table, "--ids", "(?P<user>[^:]+:[^:]+):.*(?P<session>.).")
    refused = cli.json(*words, code=1)["refused"]
    assert len(refused) == 2
    assert memory.tenant("default").sessions.get("-").info.user_id == "acme:ann"


def test_redis_and_sqlite(cli: Cli, memory: ChatMemory, redis_url: str, tmp_path: Path) -> None:
    """The other stores, with their prefix and table."""
    with Redis.from_url(redis_url) as client:
        client.lpush("chats/ann:t-1", json.dumps(message_to_dict(HumanMessage("Hi"))))
    options = ("--prefix", "chats/", "--ids", "(?P<user>.+):(?P<session>.+)")
    assert cli.json("import", "--from", "langchain-redis", redis_url, *options)["messages"] == 1
    assert memory.tenant("default").sessions.get("t-1").info.user_id == "ann"
    store = SQLiteSession("t-2", tmp_path / "a.db", messages_table="items")
    asyncio.run(store.add_items([{"role": "user", "content": "Hi"}]))
    store.close()
    words = ("import", "--from", "openai-agents-sqlite", "a.db", "--table", "items", "--user", "ann")
    assert cli.json(*words)["messages"] == 1
    assert memory.tenant("default").sessions.get("t-2").history()[0].text == "Hi"


@pytest.mark.parametrize(
    "options",
    [
        (),
        ("--ids", "("),
        ("--ids", "(.*)"),
        ("--ids", "(?P<person>.*)"),
        ("--ids", "(?P<session>.*)"),
        ("--user", "ann", "--prefix", "x"),
        ("--user", "ann", "another.db"),
    ],
)
def test_wrong_usage(offline_cli: Cli, options: tuple[str, ...]) -> None:
    """Nothing is read where the options cannot be meant."""
    offline_cli("import", "--from", "langchain-postgres", "postgresql://127.0.0.1:1/x", *options, code=2)


def test_options_of_stores_need_a_store(offline_cli: Cli, tmp_path: Path) -> None:
    """A file takes no mapping."""
    (tmp_path / "f.json").write_text("[]")
    assert "needs --from" in offline_cli("import", "f.json", "--ids", "(?P<user>.*)", code=2).stderr


def test_a_source_that_cannot_be_reached(cli: Cli) -> None:
    """One message without the password, and no traceback."""
    url = "postgresql://me:hunter2@127.0.0.1:1/x"
    done = cli("import", "--from", "langgraph-postgres", url, "--user", "ann", code=1)
    assert "cannot be reached" in done.stderr
    assert "hunter2" not in done.stderr + done.stdout


def test_a_missing_extra_says_how_to_install_it() -> None:
    """Without the library of the store's messages the error holds the command."""
    code = """
import sys
sys.modules["langgraph.checkpoint.postgres"] = None
from chatmemory_langchain import langgraph_postgres_conversations
try:
    next(langgraph_postgres_conversations("x"))
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert 'pip install "chatmemory-postgres[langgraph-postgres]"' in done.stdout
