"""Acknowledged writes are on disk, though somebody has told the database not to wait for it."""

from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from chatmemory import AsyncChatMemory, ChatMemory
from tests._async.filling import fill
from tests.fixtures.odd_settings import WAYS, bring
from tests.fixtures.openai_server import OpenAIServer
from tests.processes.conftest import Server

OFF = {"synchronous_commit": "off"}


@pytest.fixture
def hasty_url(own_server: Server) -> str:
    """A database whose commits do not wait, on a server that writes them ten seconds later."""
    with psycopg.connect(own_server.url, autocommit=True) as connection:
        connection.execute("alter system set wal_writer_delay = '10s'")
        connection.execute("select pg_reload_conf()")
        name = sql.Identifier(str(conninfo_to_dict(own_server.url)["dbname"]))
        connection.execute(sql.SQL("alter database {} set synchronous_commit = off").format(name))
    return own_server.url


def test_a_crash_loses_nothing(own_server: Server, hasty_url: str) -> None:
    """The server crashes after each kind of write, and what was acknowledged is there when it is back."""
    with ChatMemory.open(hasty_url) as memory:
        acme = memory.tenant("acme")
        session = acme.sessions.create(user_id="ann", session_id="s-1")
        for n in range(5):
            session.append("user", str(n))
        own_server.stop("immediate")
        own_server.start()
        assert len(session.history()) == 5
        run = acme.sessions.create(user_id="ann", kind="training")
        own_server.stop("immediate")
        own_server.start()
        run.move("running")
        run.log_metrics({"loss": 0.5}, step=1)
        run.flush()
        acme.items.put(("a",), "k", {"n": 1})
        acme.memories.remember("Ann lives in Lisbon.", user_id="ann")
        own_server.stop("immediate")
        own_server.start()
        assert (run.refresh().run_status, len(run.metrics()["loss"])) == ("running", 1)
        assert acme.items.get(("a",), "k") is not None
        assert acme.memories.list(user_id="ann", with_total=True).total == 1
        run.end()
        own_server.stop("immediate")
        own_server.start()
        assert not run.refresh().is_active


@pytest.fixture
def at_commit(postgres_url: str) -> str:
    """Record in each transaction that writes, at its commit, whether it waits for the disk."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(
            """
            create schema watch;
            create table watch.commits (place text, setting text);
            create function watch.note() returns trigger language plpgsql security definer as $$
            begin
                insert into watch.commits values (tg_table_name || ' ' || tg_op, current_setting('synchronous_commit'));
                return null;
            end $$;
            grant usage on schema watch to public;
            do $$
            declare
                v_table regclass;
            begin
                for v_table in select oid from pg_class
                    where relnamespace = 'chatmemory'::regnamespace and relkind = 'r' loop
                    execute format('create constraint trigger watched after insert or update or delete on %s '
                        'deferrable initially deferred for each row execute function watch.note()', v_table);
                end loop;
            end $$;
            """
        )
    return postgres_url


def commits(url: str) -> set[tuple[Any, ...]]:
    """The kinds of commits that were recorded."""
    with psycopg.connect(url) as connection:
        return set(connection.execute("select place, setting from watch.commits").fetchall())


@pytest.mark.parametrize("way", WAYS)
async def test_every_commit_waits(
    way: str, at_commit: str, app_login: str, openai_server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each transaction that writes has synchronous_commit on when it commits; only the cost of a recall may be lost."""
    url = bring(at_commit, app_login, way, OFF, monkeypatch)
    settings = openai_server.settings(embedding_model="compass")
    async with AsyncChatMemory.open(url, settings=settings) as memory:
        session = await fill(memory, openai_server, "acme", "ann")
        acme = memory.tenant("acme")
        await session.append("user", "Hello")
        await session.append("user", "Hello", message_id="m-1")
        await session.append_and_context([{"role": "user", "content": "Hello"}], max_tokens=100)
        await acme.sessions.resume_or_create(session.id, user_id="ann")
        fork = await session.fork()
        await fork.update(title="Lisbon")
        await fork.delete()
        await acme.sessions.restore(fork.id)
        await session.end()
        await memory.run_due()
        await memory.clean_up()
        [known, *_] = (await acme.memories.list(user_id="ann")).items
        await acme.memories.forget(known.id)
        await acme.users.erase("ann")
    recorded = commits(at_commit)
    assert {place.split()[0] for place, _ in recorded} >= {
        "sessions", "messages", "events", "memories", "memory_terms", "memory_sources", "memory_users",
        "memory_vectors", "metrics", "spend", "store_items",
    }  # fmt: skip
    assert {place for place, setting in recorded if setting != "on"} <= {"spend INSERT"}


async def test_a_stricter_setting_stays(at_commit: str, app_login: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database whose commits wait for its standbys too goes on doing so."""
    url = bring(at_commit, app_login, "role", {"synchronous_commit": "remote_apply"}, monkeypatch)
    async with AsyncChatMemory.open(url) as memory:
        await (await memory.tenant("acme").sessions.create(user_id="ann")).append("user", "Hello")
        await memory.tenant("acme").items.put(("a",), "k", {"n": 1})
    assert {setting for _, setting in commits(at_commit)} == {"remote_apply"}


async def test_counting_recalls_does_not_wait(at_commit: str, openai_server: OpenAIServer) -> None:
    """It may be lost, as the docs say."""
    async with AsyncChatMemory.open(at_commit, settings=openai_server.settings()) as memory:
        await fill(memory, openai_server, "acme", "ann")
        assert await memory.tenant("acme").memories.recall("Where does ann live?", user_id="ann")
    assert ("memories UPDATE", "off") in commits(at_commit)
