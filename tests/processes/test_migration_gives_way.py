"""A migration and a transaction that holds what it needs."""

from concurrent.futures import ThreadPoolExecutor

import psycopg

from chatmemory import ChatMemory


def test_a_migration_gives_way_to_who_uses_the_tables(postgres_url: str) -> None:
    """It holds one table and wants another that is in use: it lets go of the first, and is done once both are free."""
    damage = "alter table chatmemory.{} no force row level security"
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for table in ("events", "messages", "sessions"):
            connection.execute(damage.format(table).encode())
    with ThreadPoolExecutor() as pool, ChatMemory.open(postgres_url) as memory:
        with psycopg.connect(postgres_url) as busy:
            busy.execute("select from chatmemory.sessions for update")
            migrating = pool.submit(memory.tenant("acme").sessions.list)
            wait_for(busy, "select count(*) > 0 from pg_locks where not granted")
            for table in ("events", "messages", "sessions"):  # what a deadlock would end
                busy.execute(f"select from chatmemory.{table} for update".encode())
            assert not migrating.done()
        assert migrating.result(timeout=60).items == ()
    with psycopg.connect(postgres_url) as connection:
        forced = connection.execute("select bool_and(relforcerowsecurity) from pg_class where relname = 'sessions'")
        assert forced.fetchone() == (True,)


def wait_for(connection: psycopg.Connection, query: str) -> None:
    """Ask until the answer is yes."""
    while connection.execute(query.encode()).fetchone() != (True,):
        pass
