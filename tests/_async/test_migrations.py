"""From a database as an earlier version made it to the one this library needs."""

from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection

from chatmemory import AsyncChatMemory
from chatmemory.embedded.server import EmbeddedPostgres
from chatmemory.storage.schema import function_files, migrations, record_sql
from tests.fixtures.postgres import create_database, own_roles

# As 0.1 left a database: roles of the whole server, and all functions noted as one.
ROLES = "create role chatmemory_app nologin; create role chatmemory_worker nologin; grant chatmemory_app to ann"
OWNERS = """
do $$
declare
    f regprocedure;
begin
    for f in select p.oid::regprocedure from pg_proc p where p.pronamespace = 'chatmemory'::regnamespace loop
        execute format('alter function %s owner to %I', f,
            case when f::text ~ '(clean_up|claim_sessions|learning_state)' then 'chatmemory_worker'
            else 'chatmemory_app' end);
    end loop;
end $$;
insert into chatmemory.schema_migrations values (0, 'functions', 'older');
"""


async def make_old(url: str) -> None:
    """Make a database as it was when the two roles were the server's."""
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("create schema chatmemory")
        for migration in migrations()[:4]:
            await connection.execute(migration.text.encode())
            await connection.execute(record_sql(migration).encode())
        for function in function_files("functions"):
            await connection.execute(function.text.encode())
        await connection.execute(OWNERS)


async def roles_of_server(url: str) -> int:
    """How many of the two old roles there are."""
    async with await AsyncConnection.connect(url) as connection:
        found = await connection.execute(
            "select count(*) from pg_roles where rolname in ('chatmemory_app', 'chatmemory_worker')"
        )
        [(count,)] = await found.fetchall()
    return int(count)


async def test_databases_of_the_first_version_move_to_their_own_roles(data_dir: Path) -> None:
    """Each database is moved by itself; the server's roles go with the last one, and a stranger's role stays."""
    server = EmbeddedPostgres(data_dir)
    try:
        first, second = (create_database(server.start(), name) for name in ("first", "second"))
        async with await AsyncConnection.connect(first, autocommit=True) as connection:
            await connection.execute("create role ann login")
            await connection.execute(ROLES.encode())
        for url in (first, second):
            await make_old(url)
        for url, left in ((first, 2), (second, 0)):
            async with AsyncChatMemory.open(url) as memory:
                session = await memory.tenant("acme").sessions.create(user_id="ann")
                await session.append_many([{"role": "user", "content": "Hello"}] * 4)
                await session.end()
                assert (await memory.run_due()).processed == 1
            assert await roles_of_server(url) == left
        async with await AsyncConnection.connect(first.replace("postgres@", "ann@")) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                await connection.execute("select * from chatmemory.sessions")
        assert own_roles(first) == ("chatmemory_app_first", "chatmemory_worker_first")
    finally:
        server.stop()
