# Generated from tests/_async/test_shadows.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""A user who may create objects in public, where pgvector lives, shadows what our statements use."""

from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from chatmemory import ChatMemory
from tests._sync.filling import fill
from tests.fixtures.odd_settings import bring
from tests.fixtures.openai_server import OpenAIServer
from tests.fixtures.shadows import TEMPORARY, cast_shadows, was_called

PATHS = ("public", "public, pg_catalog", "pg_temp, public, pg_catalog")


@pytest.fixture
def shadowed_url(postgres_url: str, app_login: str) -> str:
    """A database in which a stranger has shadowed everything."""
    stranger = f"{app_login} stranger"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(sql.SQL("create role {}").format(sql.Identifier(stranger)))
    assert cast_shadows(postgres_url, stranger) > 5000
    return postgres_url


def test_no_shadow_is_called(
    shadowed_url: str, app_login: str, openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands first in the login's search_path, every call uses what is in pg_catalog and pgvector alone."""
    settings = openai_server.settings(embedding_model="compass")
    for path in PATHS:
        url = bring(shadowed_url, app_login, "role", {"search_path": path}, monkeypatch)
        with ChatMemory.open(url, settings=settings) as memory:
            memory.health()
            pool = memory._database.connect()
            with pool.connection() as connection:
                for name in TEMPORARY:
                    connection.execute(sql.SQL("create temp table {} (a integer)").format(sql.Identifier(name)))
            use(memory, openai_server, path, shadowed_url)
            assert memory.migrate().applied == ()
            found = memory.examine(tenant_id="acme")
            assert [check for check in found.checks if not check.ok] == []
        assert not was_called(shadowed_url)


def use(memory: ChatMemory, server: OpenAIServer, user_id: str, url: str) -> None:
    """Call everything that has statements of its own."""
    session = fill(memory, server, "acme", user_id)
    acme = memory.tenant("acme")
    session.append("user", "Hello", message_id="m-1")
    session.append("user", "Hello", message_id="m-1")
    session.append_and_context([{"role": "user", "content": "Hello"}], max_tokens=100, query="Where?")
    acme.sessions.resume_or_create(session.id, user_id=user_id)
    assert acme.sessions.resume_or_create("thread", user_id=user_id, on_missing="adopt").id == "thread"
    fork = session.fork()
    fork.update(title="Lisbon", metadata={"a": 1})
    fork.delete()
    acme.sessions.restore(fork.id)
    acme.sessions.list(user_id=user_id, with_total=True)
    acme.sessions.list(order="created")
    run = acme.sessions.create(user_id=user_id, kind="training", details={"total_epochs": 3})
    run.move("running")
    for step in range(3):
        run.log_metrics({"loss": 1 / (step + 1)}, step=step)
    run.metrics(max_points=2)
    run.end(results={"rmse": 0.5})
    acme.sessions.compare([run.id])
    assert acme.memories.recall(f"Where does {user_id} live?", user_id=user_id)
    with psycopg.connect(url) as connection:  # so many that vectors are compared by their signs
        connection.execute("update chatmemory.memory_users set places = places + 30000")
    assert acme.memories.recall(f"Where does {user_id} live?", user_id=user_id)
    known = acme.memories.remember("I moved to Oslo.", user_id=user_id)
    acme.memories.correct(known.id, "I moved to Bergen.")
    acme.memories.history(known.id)
    acme.memories.list(user_id=user_id, with_total=True)
    acme.memories.stats()
    acme.items.search(("notes",), query=user_id, user_id=user_id)
    acme.items.put(("notes",), "brief", {"text": "soon gone"}, ttl=timedelta(0))
    acme.items.put(("notes",), "k", {"text": "Oslo"}, ttl=timedelta(hours=1), vectors=[[0, 1]], model="compass")
    acme.items.search(("notes",), vector=[0, 1], model="compass", refresh=True)
    assert acme.items.sweep() == 1
    acme.items.search(("notes",))
    acme.items.namespaces()
    session.end()
    memory.run_due()
    memory.clean_up()
    memory.retry_parked()
    acme.spend(since=session.info.created_at)
    assert [line for line in session.export_lines()]
    assert [line for line in acme.users.export(user_id)]
    session.erase()
    acme.users.erase(user_id)
    assert (memory.tenant("umbrella").sessions.list(with_total=True)).total == 0
