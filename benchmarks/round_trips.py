"""The round trips to Postgres that each public call takes, and what it takes where Postgres is 1 ms away.

    python -m benchmarks.round_trips [--runs 20] [--calls recall] [--postgres URL] [--json]

A proxy of our own (benchmarks/proxy.py) stands between the library and Postgres, without Redis. A call is made a few
times uncounted, so that its connection is open and its statements are prepared; then its round trips are counted in
sync and in async. After that the sync calls are timed with 1 ms added each way, each beside one hand-written statement
of benchmarks/floor.py on the same way: an append, or the newest 20 messages where the call only reads.
"""

import argparse
import gc
import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
import redis

from benchmarks.floor import Floor, create_tables, fill
from benchmarks.proxy import Proxy
from benchmarks.round_trip_calls import CALLS, TEXT, Call, World
from benchmarks.servers import postgres_server
from chatmemory import AsyncChatMemory, ChatMemory
from tests.fixtures import tokens  # noqa: F401  # counting tokens is part of an append: with the vocabulary

UNCOUNTED_RUNS = 7  # psycopg prepares a statement when it runs for the sixth time
COUNTED_RUNS = 3
APART = 0.003  # seconds each way while counting: what a client sends without waiting lies far closer together
DELAY = 0.001  # seconds each way while timing
FLOOR_SESSION = "floor"


@contextmanager
def opened(url: str, face: type[ChatMemory] | type[AsyncChatMemory]) -> Iterator[World]:
    """A world on this database."""
    world = World(url, face)
    try:
        yield world
    finally:
        world.close()


def warm(world: World, call: Call) -> None:
    """Make a call as often as it takes to prepare its statements."""
    for _ in range(UNCOUNTED_RUNS):
        world.do(call.make, world, call.given(world))


def count(proxy: Proxy, world: World, call: Call) -> int:
    """The round trips of a call in the steady state."""
    warm(world, call)
    counts = []
    for _ in range(COUNTED_RUNS):
        given = call.given(world)
        world.settle()
        with proxy.delayed(APART):
            proxy.take_count()
            world.do(call.make, world, given)
            counts.append(proxy.take_count())
    return int(statistics.median(counts))


def count_all(proxy: Proxy, face: type[ChatMemory] | type[AsyncChatMemory], calls: Sequence[Call]) -> dict[str, int]:
    """The round trips of each call, by its name."""
    with opened(proxy.url, face) as world:
        return {call.name: count(proxy, world, call) for call in calls}


def seconds(call: Callable[[], object]) -> float:
    """The seconds of a call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def time_all(proxy: Proxy, calls: Sequence[Call], runs: int) -> dict[str, tuple[float, float]]:
    """The median of each sync call, and of the floor's statement between its runs, in ms."""
    times = {}
    with opened(proxy.url, ChatMemory) as world, psycopg.connect(proxy.url, autocommit=True) as connection:
        floor = Floor(connection, redis.Redis())  # which is not used
        floor.append(FLOOR_SESSION, TEXT)
        floor.history(FLOOR_SESSION)
        for call in calls:
            warm(world, call)
            gc.collect()
            pairs = [time_one(proxy, world, call, floor) for _ in range(runs)]
            ours, floors = (statistics.median(each) * 1e3 for each in zip(*pairs, strict=True))
            times[call.name] = (ours, floors)
    return times


def time_one(proxy: Proxy, world: World, call: Call, floor: Floor) -> tuple[float, float]:
    """The seconds of one run of a call, and of the floor's statement after it."""
    given = call.given(world)
    by_hand = partial(floor.history, FLOOR_SESSION) if call.is_read else partial(floor.append, FLOOR_SESSION, TEXT)
    with proxy.delayed(DELAY):
        return seconds(partial(world.do, call.make, world, given)), seconds(by_hand)


def measure(url: str, calls: Sequence[Call], runs: int) -> dict[str, Any]:
    """All figures."""
    create_tables(url)
    fill(url, FLOOR_SESSION, [("user", TEXT)])
    with Proxy(url) as proxy:
        counts = count_all(proxy, ChatMemory, calls)
        async_counts = count_all(proxy, AsyncChatMemory, calls)
        times = time_all(proxy, calls, runs)
    rows = [
        {
            "call": call.name,
            "goal": call.goal,
            "round_trips": counts[call.name],
            "async_round_trips": async_counts[call.name],
            "p50_ms": times[call.name][0],
            "floor_p50_ms": times[call.name][1],
            "ratio": times[call.name][0] / times[call.name][1],
        }
        for call in calls
    ]
    return {"rows": rows, "delay_ms": DELAY * 1e3}


def show(figures: dict[str, Any]) -> None:
    """The table of docs/benchmarks.md."""
    print("| call | round trips | goal | p50, ms | one statement | ratio |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for row in figures["rows"]:
        counts = str(row["round_trips"])
        if row["async_round_trips"] != row["round_trips"]:
            counts += f" (async {row['async_round_trips']})"
        goal = "" if row["goal"] is None else row["goal"]
        times = f"{row['p50_ms']:.1f} | {row['floor_p50_ms']:.1f} | {row['ratio']:.1f}"
        print(f"| {row['call']} | {counts} | {goal} | {times} |")
    missed = [row["call"] for row in figures["rows"] if row["goal"] is not None and row["round_trips"] > row["goal"]]
    print(f"\ngoals MISSED: {', '.join(missed)}" if missed else "\nall goals are met")


def main() -> None:
    """Measure, on a private Postgres unless one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="timed runs of each call")
    parser.add_argument("--calls", default="", help="only the calls whose name holds this")
    parser.add_argument("--postgres", metavar="URL", help="a database to fill, without TLS; default: a private server")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args()
    calls = [call for call in CALLS if options.calls in call.name]
    with postgres_server(options.postgres) as url:
        figures = measure(url, calls, options.runs)
    print(json.dumps(figures)) if options.json else show(figures)


if __name__ == "__main__":
    main()
