"""The round trips to Postgres that public calls take, as benchmarks/round_trips.py counts them."""

from collections.abc import Iterator

import psycopg
import pytest

import chatmemory
from benchmarks.proxy import Proxy
from benchmarks.round_trip_calls import CALLS, UNCOUNTED
from benchmarks.round_trips import APART, count_all
from chatmemory import AsyncChatMemory, ChatMemory

OWNERS = ("memory", "tenant", "sessions", "session", "memories", "items", "users")


@pytest.fixture
def proxy(postgres_url: str) -> Iterator[Proxy]:
    """The counting proxy in front of a migrated database."""
    with Proxy(postgres_url) as proxy:
        yield proxy


def test_one_statement_is_one_round_trip(proxy: Proxy) -> None:
    """A statement counts once, however large it and its answer are."""
    with psycopg.connect(proxy.url, autocommit=True) as connection:
        proxy.take_count()
        for size in (1, 1_000_000):
            connection.execute("select %s", ("x" * size,))
            assert proxy.take_count() == 1


def test_each_wait_is_a_round_trip(proxy: Proxy) -> None:
    """A transaction of one statement takes three, and a statement that fails one."""
    with psycopg.connect(proxy.url, autocommit=True) as connection:
        proxy.take_count()
        with connection.transaction():
            connection.execute("select 1")
        assert proxy.take_count() == 3
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute("select 1 / %s", (0,))
        assert proxy.take_count() == 1


def test_statements_that_travel_together_are_one_round_trip(proxy: Proxy) -> None:
    """A pipeline counts once, and once more where the client waits inside of it."""
    with psycopg.connect(proxy.url, autocommit=True) as connection, proxy.delayed(APART):
        proxy.take_count()
        with connection.pipeline():
            for statement in ("begin", "select 1", "select 2", "commit"):
                connection.execute(statement)
        assert proxy.take_count() == 1
        with connection.pipeline():
            assert connection.execute("select 1").fetchall() == [(1,)]
            connection.execute("select 2")
        assert proxy.take_count() == 2


def over(counts: dict[str, int]) -> list[str]:
    """The calls that take more round trips than they may."""
    return [
        f"{call.name}: {counts[call.name]}, not {call.most}" for call in CALLS if counts.get(call.name, 0) > call.most
    ]


@pytest.mark.usefixtures("rows_stay_new")
def test_calls_take_no_more_round_trips_than_they_may(proxy: Proxy) -> None:
    """Each public call reaches its goal or, where it does not yet, takes no more than the table says."""
    found = over(count_all(proxy, ChatMemory, CALLS))
    assert not found, "\n".join(["", *found])


@pytest.mark.usefixtures("rows_stay_new")
def test_async_calls_take_no_more_round_trips_than_they_may(proxy: Proxy) -> None:
    """The same holds in async, for the calls that have a goal."""
    found = over(count_all(proxy, AsyncChatMemory, [call for call in CALLS if call.goal is not None]))
    assert not found, "\n".join(["", *found])


def test_every_public_call_is_counted() -> None:
    """Each public method stands in the table, or among those that need no row."""
    named = {call.method for call in CALLS} | UNCOUNTED.keys()
    classes = {owner: getattr(chatmemory, {"memory": "ChatMemory"}.get(owner, owner.title())) for owner in OWNERS}
    public = {f"{owner}.{name}" for owner, each in classes.items() for name in dir(each) if not name.startswith("_")}
    missing = sorted(public - named)
    assert not missing, f"add rows to benchmarks/round_trip_calls.py: {', '.join(missing)}"
