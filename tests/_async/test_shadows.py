"""A user who may create objects in public, where pgvector lives, shadows what our statements use."""

from datetime import timedelta

import psycopg
import pytest
from psycopg import sql

from chatmemory import AsyncChatMemory
from tests._async.filling import fill
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


async def test_no_shadow_is_called(
    shadowed_url: str, app_login: str, openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands first in the login's search_path, every call uses what is in pg_catalog and pgvector alone."""
    settings = openai_server.settings(embedding_model="compass")
    for path in PATHS:
        url = bring(shadowed_url, app_login, "role", {"search_path": path}, monkeypatch)
        async with AsyncChatMemory.open(url, settings=settings) as memory:
            await memory.health()
            pool = await memory._database.connect()
            async with pool.connection() as connection:
                for name in TEMPORARY:
                    await connection.execute(sql.SQL("create temp table {} (a integer)").format(sql.Identifier(name)))
            await use(memory, openai_server, path, shadowed_url)
            assert (await memory.migrate()).applied == ()
            found = await memory.examine(tenant_id="acme")
            assert [check for check in found.checks if not check.ok] == []
        assert not was_called(shadowed_url)


async def use(memory: AsyncChatMemory, server: OpenAIServer, user_id: str, url: str) -> None:
    """Call everything that has statements of its own."""
    session = await fill(memory, server, "acme", user_id)
    acme = memory.tenant("acme")
    await session.append("user", "Hello", message_id="m-1")
    await session.append("user", "Hello", message_id="m-1")
    await session.append_and_context([{"role": "user", "content": "Hello"}], max_tokens=100, query="Where?")
    await acme.sessions.resume_or_create(session.id, user_id=user_id)
    assert (await acme.sessions.resume_or_create("thread", user_id=user_id, on_missing="adopt")).id == "thread"
    fork = await session.fork()
    await fork.update(title="Lisbon", metadata={"a": 1})
    await fork.delete()
    await acme.sessions.restore(fork.id)
    await acme.sessions.list(user_id=user_id, with_total=True)
    await acme.sessions.list(order="created")
    run = await acme.sessions.create(user_id=user_id, kind="training", details={"total_epochs": 3})
    await run.move("running")
    for step in range(3):
        run.log_metrics({"loss": 1 / (step + 1)}, step=step)
    await run.metrics(max_points=2)
    await run.end(results={"rmse": 0.5})
    await acme.sessions.compare([run.id])
    assert await acme.memories.recall(f"Where does {user_id} live?", user_id=user_id)
    with psycopg.connect(url) as connection:  # so many that vectors are compared by their signs
        connection.execute("update chatmemory.memory_users set places = places + 30000")
    assert await acme.memories.recall(f"Where does {user_id} live?", user_id=user_id)
    known = await acme.memories.remember("I moved to Oslo.", user_id=user_id)
    await acme.memories.correct(known.id, "I moved to Bergen.")
    await acme.memories.history(known.id)
    await acme.memories.list(user_id=user_id, with_total=True)
    await acme.memories.stats()
    await acme.items.search(("notes",), query=user_id, user_id=user_id)
    await acme.items.put(("notes",), "brief", {"text": "soon gone"}, ttl=timedelta(0))
    await acme.items.put(("notes",), "k", {"text": "Oslo"}, ttl=timedelta(hours=1), vectors=[[0, 1]], model="compass")
    await acme.items.search(("notes",), vector=[0, 1], model="compass", refresh=True)
    assert await acme.items.sweep() == 1
    await acme.items.search(("notes",))
    await acme.items.namespaces()
    await session.end()
    await memory.run_due()
    await memory.clean_up()
    await memory.retry_parked()
    await acme.spend(since=session.info.created_at)
    assert [line async for line in session.export_lines()]
    assert [line async for line in acme.users.export(user_id)]
    await session.erase()
    await acme.users.erase(user_id)
    assert (await memory.tenant("umbrella").sessions.list(with_total=True)).total == 0
