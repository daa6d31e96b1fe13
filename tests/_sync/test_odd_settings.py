# Generated from tests/_async/test_odd_settings.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Settings that come with a connection, against which every transaction sets its own."""

import psycopg
import pytest

from chatmemory import ChatMemory, StorageError
from chatmemory.storage.schema import bootstrap_sql
from tests._sync.filling import fill
from tests.fixtures.odd_settings import ODD, WAYS, bring
from tests.fixtures.openai_server import OpenAIServer

SAID = "Ich wohne in 리스본, déjà vu \\' 🙂"


@pytest.mark.parametrize("way", WAYS)
def test_everything_works(
    way: str, postgres_url: str, app_login: str, openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every table is written and read; what was said comes back; nothing of another tenant is seen."""
    url = bring(postgres_url, app_login, way, ODD, monkeypatch)
    settings = openai_server.settings(embedding_model="compass")
    with ChatMemory.open(url, settings=settings) as memory:
        session = fill(memory, openai_server, "acme", "ann")
        fill(memory, openai_server, "umbrella", "ann")
        given = {"a": None, "b": [1e22, -0.0, 0.1], "c": SAID}
        stored = session.append("user", SAID, metadata=given)
        assert [message for message in session.messages()][-1] == stored
        assert stored.metadata == given
        assert session.context(max_tokens=1000).messages[-1].text == SAID
        acme = memory.tenant("acme")
        assert acme.sessions.get(session.id).info.created_at == session.info.created_at
        acme.items.put(("notes",), "k", {"text": SAID})
        assert acme.items.search(("notes",), query="déjà\\ '")[0].value == {"text": SAID}
        assert acme.memories.recall("where does ann live?", user_id="ann")[0].memory.text
        assert session.metrics()["loss"][-1].value == 0.4
        assert [line for line in acme.users.export("ann")]
        session.end()
        assert memory.run_due().processed == 1
        assert memory.clean_up().expired == 0
        found = memory.examine()
        assert found.ok, found
        assert acme.users.erase("ann").sessions == 1
        assert (memory.tenant("umbrella").sessions.list(with_total=True)).total == 1


@pytest.mark.parametrize("way", WAYS)
def test_an_empty_database_is_migrated(
    way: str, empty_postgres_url: str, plain_login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The schema is made under the same settings, and is the one that is made without them."""
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        connection.execute(bootstrap_sql(plain_login).encode())
        connection.execute("create extension vector")
    url = bring(empty_postgres_url, plain_login, way, ODD, monkeypatch)
    with ChatMemory.open(url) as memory:
        (memory.tenant("acme").sessions.create(user_id="ann")).append("user", SAID)
    monkeypatch.delenv("PGOPTIONS", raising=False)
    with ChatMemory.open(empty_postgres_url) as memory:
        assert memory.migrate().applied == ()


@pytest.mark.parametrize(
    ("name", "value", "sound"),
    [
        ("synchronous_commit", "off", True),
        ("default_transaction_isolation", "repeatable read", True),
        ("statement_timeout", "7s", True),
        ("DateStyle", "German, DMY", True),
        ("default_transaction_read_only", "on", False),
        ("session_replication_role", "replica", False),
    ],
)
def test_doctor_reports_odd_settings(
    name: str, value: str, sound: bool, postgres_url: str, app_login: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is named with its value; only what the library cannot replace is a failure."""
    url = bring(postgres_url, app_login, "database", {name: value}, monkeypatch)
    with ChatMemory.open(url) as memory:
        found = memory.examine()
    [check] = [check for check in found.checks if check.name == "settings"]
    assert check.ok is sound
    assert f"{name} is {value}" in check.detail


def test_a_read_only_database_stays_one(postgres_url: str, app_login: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is declared read-only stays so: reads work, and a write is a typed error."""
    with ChatMemory.open(postgres_url) as memory:
        session = memory.tenant("acme").sessions.create(user_id="ann")
        session.append("user", "Hello")
    url = bring(postgres_url, app_login, "role", {"default_transaction_read_only": "on"}, monkeypatch)
    with ChatMemory.open(url) as memory:
        again = memory.tenant("acme").sessions.get(session.id)
        assert len(again.history()) == 1
        with pytest.raises(StorageError):
            again.append("user", "Hello")
