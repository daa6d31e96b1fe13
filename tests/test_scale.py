"""The benchmark of a large database, at a small size."""

import psycopg

from benchmarks.scale import CALLS, DATABASES, databases, measure
from benchmarks.scale_fill import Size, fill
from chatmemory import ChatMemory, Settings

SIZE = Size(sessions=50, messages=1_000, tenants=4)
SCHEMA = """
select pg_get_indexdef(indexrelid) from pg_index where indrelid::regclass::text like 'chatmemory.%'
union all
select conrelid::regclass || ' ' || pg_get_constraintdef(oid) from pg_constraint
where connamespace = 'chatmemory'::regnamespace order by 1
"""


def test_filling_leaves_the_schema_as_it_was(postgres_url: str, settings: Settings) -> None:
    """All rows are there, nothing is due or idle, and every index and constraint is back."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        before = connection.execute(SCHEMA).fetchall()
        fill(postgres_url, SIZE)
        assert connection.execute(SCHEMA).fetchall() == before
        counts = "select (select count(*) from chatmemory.sessions), (select count(*) from chatmemory.messages)"
        assert connection.execute(counts).fetchall() == [(51, 1_000)]
    with ChatMemory.open(postgres_url, settings=settings) as memory:
        assert memory.run_due().processed == 0
        assert (memory.clean_up().expired, memory.clean_up().archived) == (0, 0)


def test_every_call_is_timed_on_both_databases(server_url: str) -> None:
    """The benchmark runs to its end."""
    figures = measure(server_url, SIZE, runs=1, seed=1)
    assert [row["call"] for row in figures["rows"]] == [call.name for call in CALLS]
    assert all(row["large_ms"] > 0 and row["empty_ms"] > 0 for row in figures["rows"])


def test_the_databases_are_removed(server_url: str) -> None:
    """Neither database outlives the benchmark."""
    with databases(server_url) as urls:
        assert tuple(urls) == DATABASES
    with psycopg.connect(server_url) as connection:
        left = connection.execute("select datname from pg_database where datname like 'bench!_%' escape '!'").fetchall()
    assert left == []
