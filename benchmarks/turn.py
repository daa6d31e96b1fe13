"""The cost of a turn next to hand-written psycopg, at several session lengths; and of the import.

    python -m benchmarks.turn [--lengths 10,1000,100000] [--turns 400] [--seed 1] [--postgres URL] [--json]

Everything is timed in one interleaved run. A visit is one untimed call and 4 timed calls of one operation by one
variant at one length. Visits come in random order, so that the machine's other load affects all of them equally. No
session is ever more than 10 % longer or shorter than its nominal length (four messages, for one of 10 messages in a
chain): before an append would make it so, another session of that length is used.
"""

import argparse
import asyncio
import gc
import json
import math
import random
import statistics
import time
from dataclasses import dataclass

import psycopg
import redis
import redis.asyncio
from psycopg.conninfo import make_conninfo

from benchmarks.floor import TENANT, AsyncFloor, Floor, cached, create_tables, fill, fill_memories
from benchmarks.servers import postgres_server, redis_server
from benchmarks.turn_calls import (
    GROUPS,
    MEMORIES,
    OPERATIONS,
    REMEMBERING,
    SETTINGS,
    TEXT,
    WITH_REDIS,
    AsyncCalls,
    Calls,
    Variant,
    turn_of,
)
from benchmarks.turn_figures import STYLES, WHOSE, import_cost, results, show, variants
from chatmemory import AsyncChatMemory, AsyncSession, ChatMemory, NewMessage
from tests.fixtures import tokens  # noqa: F401  # counting tokens is part of an append: with the vocabulary

BATCH = 4
SHARES = 12  # of the visits, each on its own connections: the placement of a server process is random


@dataclass
class Filled:
    """The sessions of one length, chatmemory's or the floor's, and their growth."""

    spread: int
    ids: list[str]
    now: int = 0
    grown: int = 0

    def take(self, growth: int) -> str:
        """Return a session that may take `growth` more messages."""
        if self.grown + growth > 2 * self.spread:
            self.now, self.grown = self.now + 1, 0
        self.grown += growth
        return self.ids[self.now]


def spread(length: int, group: str) -> int:
    """Return how much a session may deviate from its length: 5 %, but at least one message, or two turns."""
    return max(4 if group == "chain" else 1, length // 20)


def sessions_needed(length: int, group: str, turns: int) -> int:
    """Return how many sessions take all appends of one side without growing too long."""
    visits = math.ceil(turns / BATCH) * len(STYLES)
    appended = visits * (BATCH + 1) * sum(each.growth for each in OPERATIONS.values() if each.group == group)
    return math.ceil(appended / max(1, 2 * spread(length, group) - 1)) + 1


class Bench:
    """All variants on one database."""

    def __init__(self, url: str, redis_url: str, lengths: list[int], turns: int, seed: int) -> None:
        self.url, self.redis_url, self.lengths, self.turns = url, redis_url, lengths, turns
        self.rng = random.Random(seed)
        self.times: dict[Variant, list[float]] = {variant: [] for variant in variants(lengths)}
        self.filled: dict[tuple[int, str, str], Filled] = {}

    def run(self) -> None:
        """Fill, and time everything."""
        with ChatMemory.open(self.url, settings=SETTINGS) as memory:
            memory.tenant(TENANT).sessions.list()
        create_tables(self.url)
        for length, group in self._sessions():
            self._fill(length, group)
        self._fill_memories()
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("vacuum analyze")
            connection.execute("checkpoint")
        visits = [variant for variant in self.times for _ in range(math.ceil(self.turns / BATCH))]
        self.rng.shuffle(visits)
        with asyncio.Runner() as runner:
            for share in range(SHARES):
                self._time(runner, visits[share::SHARES])

    def _sessions(self) -> list[tuple[int, str]]:
        """Return the lengths of the needed sessions, with the group of operations that uses each."""
        return sorted({(each.length, group) for each in self.times for group in GROUPS if group == _group(each)})

    def _fill(self, length: int, group: str) -> None:
        """Make sessions that are as much too short at first as they will be too long in the end."""
        count = (
            length - spread(length, group) - (2 if group == "chain" else 0)
        )  # which appends a turn before it is timed
        texts = [(("user", "assistant")[n % 2], TEXT) for n in range(count)]
        relaxed = make_conninfo(self.url, options="-c synchronous_commit=off")
        ids = []
        cache = redis.Redis.from_url(self.redis_url)
        with ChatMemory.open(relaxed, settings=SETTINGS) as memory:
            sessions = memory.tenant(TENANT).sessions
            for number in range(sessions_needed(length, group, self.turns)):
                session = sessions.create(user_id=f"{group} {length} {number}", title="bench")
                for start in range(0, count, 1000):
                    session.append_many(NewMessage(*text) for text in texts[start : start + 1000])
                fill(relaxed, session.id, texts)
                cache.rpush(f"bench:{session.id}", *(cached(session.id, *text) for text in texts[-20:]))
                ids.append(session.id)
        for whose in WHOSE:
            self.filled[length, group, whose] = Filled(spread(length, group), ids)

    def _fill_memories(self) -> None:
        """Make a user with memories."""
        texts = [f"Invoice {number} was sent to address {number % 7}." for number in range(MEMORIES)]
        with ChatMemory.open(self.url, settings=SETTINGS) as memory:
            for text in texts:
                memory.tenant(TENANT).memories.remember(text, user_id=REMEMBERING)
        fill_memories(self.url, REMEMBERING, texts)

    def _ids(self, variant: Variant) -> list[str]:
        """Return the sessions of one visit."""
        group = _group(variant)
        if group is None:
            return [f"{variant.style} {variant.whose}"] * (BATCH + 1)
        filled = self.filled[variant.length, group, variant.whose]
        return [filled.take(OPERATIONS[variant.operation].growth) for _ in range(BATCH + 1)]

    def _time(self, runner: asyncio.Runner, visits: list[Variant]) -> None:
        urls = (None, self.redis_url)
        memories = [ChatMemory.open(self.url, redis=url, settings=SETTINGS) for url in urls]
        connection = psycopg.connect(self.url, autocommit=True)
        cache = redis.Redis.from_url(self.redis_url)
        async_memories = [AsyncChatMemory.open(self.url, redis=url, settings=SETTINGS) for url in urls]
        async_connection = runner.run(psycopg.AsyncConnection.connect(self.url, autocommit=True))
        async_cache = redis.asyncio.Redis.from_url(self.redis_url)
        sync = Calls(memories, Floor(connection, cache))
        awaited = AsyncCalls(async_memories, AsyncFloor(async_connection, async_cache))
        gc.collect()
        gc.disable()
        try:
            for variant in visits:
                ids = self._ids(variant)
                is_sync = variant.style == "sync"
                took = sync.time(variant, ids) if is_sync else runner.run(awaited.time(variant, ids))
                self.times[variant] += took[1:]
                gc.collect(0)
        finally:
            gc.enable()
        connection.close()
        cache.close()
        runner.run(async_connection.close())
        runner.run(async_cache.aclose())
        for memory, async_memory in zip(memories, async_memories, strict=True):
            memory.close()
            runner.run(async_memory.close())


def _group(variant: Variant) -> str | None:
    return OPERATIONS[variant.operation].group


async def throughput(url: str, redis_url: str, sessions: int = 16, turns: int = 50) -> dict[str, dict[str, float]]:
    """Return turns per second of concurrent sessions in one event loop, for each kind of turn and its floor."""
    settings = SETTINGS.model_copy(update={"postgres_pool_min_size": sessions, "postgres_pool_max_size": sessions})
    connections = [await psycopg.AsyncConnection.connect(url, autocommit=True) for _ in range(sessions)]
    cache = redis.asyncio.Redis.from_url(redis_url)
    floors = [AsyncFloor(connection, cache) for connection in connections]
    rates: dict[str, dict[str, list[float]]] = {way: {whose: [] for whose in WHOSE} for way in WITH_REDIS}
    async with AsyncChatMemory.open(url, redis=redis_url, settings=settings) as memory:
        begun = [await memory.tenant(TENANT).sessions.create(user_id=f"load {n}", title="t") for n in range(sessions)]
        for session in begun:
            fill(url, session.id, [("user", TEXT)])

        async def ours(session: AsyncSession, _: AsyncFloor, way: str) -> None:
            for _turn in range(turns):
                if way == "turn":
                    await session.append_many(turn_of())
                    await session.context(max_messages=20)
                else:
                    await session.append_and_context(turn_of(), max_messages=20)

        async def by_hand(session: AsyncSession, floor: AsyncFloor, way: str) -> None:
            work = floor.turn if way == "turn" else floor.append_and_read
            for _turn in range(turns):
                await work(session.id, TEXT)

        for way in WITH_REDIS * 6:
            for whose, work in zip(WHOSE, (ours, by_hand), strict=True):
                start = time.perf_counter()
                await asyncio.gather(*(work(*pair, way) for pair in zip(begun, floors, strict=True)))
                rates[way][whose].append(sessions * turns / (time.perf_counter() - start))
    for connection in connections:
        await connection.close()
    await cache.aclose()
    return {way: {whose: statistics.median(each[1:]) for whose, each in both.items()} for way, both in rates.items()}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--lengths", default="10,1000,100000", help="session lengths, with commas between")
    parser.add_argument("--turns", type=int, default=400, help="timed calls of each")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", metavar="URL", help="a database to fill; default: a private server")
    parser.add_argument("--redis", metavar="URL", help="a Redis to fill; default: a private server")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of tables")
    arguments = parser.parse_args()
    lengths = sorted(int(length) for length in arguments.lengths.split(","))
    with postgres_server(arguments.postgres) as url, redis_server(arguments.redis) as redis_url:
        bench = Bench(url, redis_url, lengths, arguments.turns, arguments.seed)
        bench.run()
        rates = asyncio.run(throughput(url, redis_url))
    records, imports = results(bench.times), import_cost()
    if arguments.json:
        print(json.dumps({"results": records, "imports": imports, "turns_per_second": rates}))
    else:
        show(records, imports, rates, arguments.turns)


if __name__ == "__main__":
    main()
