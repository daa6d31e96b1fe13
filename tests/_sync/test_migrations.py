# Generated from tests/_async/test_migrations.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""From a database as an earlier version made it to the one this library needs."""

from pathlib import Path

import psycopg
import pytest
from psycopg import Connection

from chatmemory import ChatMemory
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


def make_old(url: str) -> None:
    """Make a database as it was when the two roles were the server's."""
    with Connection.connect(url, autocommit=True) as connection:
        connection.execute("create schema chatmemory")
        for migration in migrations()[:4]:
            connection.execute(migration.text.encode())
            connection.execute(record_sql(migration).encode())
        for function in function_files("functions"):
            connection.execute(function.text.encode())
        connection.execute(OWNERS)


def roles_of_server(url: str) -> int:
    """How many of the two old roles there are."""
    with Connection.connect(url) as connection:
        found = connection.execute(
            "select count(*) from pg_roles where rolname in ('chatmemory_app', 'chatmemory_worker')"
        )
        [(count,)] = found.fetchall()
    return int(count)


def test_databases_of_the_first_version_move_to_their_own_roles(data_dir: Path) -> None:
    """Each database is moved by itself; the server's roles go with the last one, and a stranger's role stays."""
    server = EmbeddedPostgres(data_dir)
    try:
        first, second = (create_database(server.start(), name) for name in ("first", "second"))
        with Connection.connect(first, autocommit=True) as connection:
            connection.execute("create role ann login")
            connection.execute(ROLES.encode())
        for url in (first, second):
            make_old(url)
        for url, left in ((first, 2), (second, 0)):
            with ChatMemory.open(url) as memory:
                session = memory.tenant("acme").sessions.create(user_id="ann")
                session.append_many([{"role": "user", "content": "Hello"}] * 4)
                session.end()
                assert memory.run_due().processed == 1
            assert roles_of_server(url) == left
        with Connection.connect(first.replace("postgres@", "ann@")) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute("select * from chatmemory.sessions")
        assert own_roles(first) == ("chatmemory_app_first", "chatmemory_worker_first")
    finally:
        server.stop()
