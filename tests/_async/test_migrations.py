"""From a database as an earlier version made it to the one this library needs."""

from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection

from chatmemory import AsyncChatMemory, SchemaPermissionError
from chatmemory._async.storage.migrations import apply, differences
from chatmemory.embedded.server import EmbeddedPostgres
from chatmemory.storage.schema import bootstrap_sql, record_sql
from chatmemory.storage.schema.files import functions, migrations
from tests.fixtures.postgres import create_database, on_login, own_roles

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
        for function in functions():
            if "create or replace trigger" not in function.text:  # it names columns that came later
                await connection.execute(function.text.encode())
        await connection.execute(OWNERS)


async def roles_of_server(url: str) -> int:
    """Return the number of the two old roles that exist."""
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


# Runs as the release before left them, of two kinds that an app had registered; one of the first left its result.
RUNS = """
insert into chatmemory.sessions
    (tenant_id, id, user_id, kind, run_status, run_endings, created_at, updated_at, last_active_at)
    select 'acme', kind, 'ann', kind, 'open', '{"completed": "good", "failed": "bad", "cancelled": "bad",
        "expired": "bad"}', now(), now(), now() from unnest(array['trial', 'errand']) kind;
insert into chatmemory.memories
    (tenant_id, id, user_id, kind, text, place, trust, importance, valid_from, lexemes, metadata)
    values ('acme', 'm-1', 'ann', 'result', 'It went well.', 1, 2, 0.5, now(), '', '{"kind": "trial"}');
"""


async def test_runs_of_an_apps_own_kind_go_on_leaving_results(data_dir: Path) -> None:
    """A migrated run learns its result if a run of its kind has left one before."""
    server = EmbeddedPostgres(data_dir)
    try:
        url = create_database(server.start(), "first")
        async with await AsyncConnection.connect(url, autocommit=True) as connection:
            await connection.execute("create role ann login")
            await connection.execute(ROLES.encode())
            await connection.execute("create schema chatmemory")
            for migration in migrations()[:4]:
                await connection.execute(migration.text.encode())
                await connection.execute(record_sql(migration).encode())
            await connection.execute(RUNS)
        async with AsyncChatMemory.open(url) as memory:
            sessions = (await memory.tenant("acme").sessions.list()).items
            assert {info.kind: info.learns for info in sessions} == {"trial": "result", "errand": "nothing"}
    finally:
        server.stop()


async def parts(url: str) -> set[str]:
    """The parts of a database that are not as they should be."""
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        return {deviation.part for deviation in (await differences(connection)).deviations}


@pytest.mark.parametrize(
    ("part", "damage"),
    [
        ("row-level security", "drop policy one_tenant on chatmemory.messages"),
        ("row-level security", "alter policy one_tenant on chatmemory.messages using (true)"),
        ("row-level security", "alter policy one_tenant on chatmemory.messages to public"),
        ("row-level security", "alter policy background_work on chatmemory.sessions using (true)"),
        ("row-level security", "alter table chatmemory.memories disable row level security"),
        ("row-level security", "alter table chatmemory.spend no force row level security"),
        ("roles", "alter role {app} bypassrls"),
        ("grants", "revoke update on chatmemory.sessions from {app}"),
        ("grants", "revoke insert on chatmemory.events from {worker}"),
        ("grants", "revoke all on sequence chatmemory.numbers from {app}"),
        ("grants", "revoke all on schema chatmemory from {worker}"),
        ("functions", "drop function chatmemory.append_turn"),
        ("functions", "alter function chatmemory.append owner to current_user"),
        ("functions", "grant execute on function chatmemory.append to public"),
        ("functions", "alter function chatmemory.clean_up security invoker"),
        ("grants", "revoke select on chatmemory.store_items from {worker}"),
        pytest.param("vectors", "drop table chatmemory.memory_vectors", marks=pytest.mark.vectors),
        pytest.param("vectors", "drop table chatmemory.item_vectors", marks=pytest.mark.vectors),
        pytest.param("vectors", "drop extension vector cascade", marks=pytest.mark.vectors),
    ],
)
async def test_what_is_damaged_is_found_and_repaired(postgres_url: str, part: str, damage: str) -> None:
    """Each part is looked at as it is, not as it was recorded; a second look finds nothing."""
    app, worker = own_roles(postgres_url)
    async with await AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        await connection.execute(damage.format(app=f'"{app}"', worker=f'"{worker}"').encode())
        assert await parts(postgres_url) == {part}
        assert await apply(connection) == [f"{part} (repaired)"]
        assert await parts(postgres_url) == set()
        assert await apply(connection) == []


async def test_a_login_that_lost_its_roles_is_told_how_to_get_them(empty_postgres_url: str, plain_login: str) -> None:
    """The membership is looked at, too; the SQL of the error gives it back."""
    url = on_login(empty_postgres_url, plain_login)
    async with await AsyncConnection.connect(empty_postgres_url, autocommit=True) as administrator:
        await administrator.execute(bootstrap_sql(plain_login).encode())
        async with await AsyncConnection.connect(url, autocommit=True) as connection:
            await apply(connection)
            await administrator.execute(f'revoke "{own_roles(url)[1]}" from "{plain_login}"'.encode())
            assert await parts(url) == {"roles"}
            with pytest.raises(SchemaPermissionError) as raised:
                await apply(connection)
            assert bootstrap_sql(plain_login) in str(raised.value)
            await administrator.execute(bootstrap_sql(plain_login).encode())
            assert await apply(connection) == []
