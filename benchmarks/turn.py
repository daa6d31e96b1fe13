"""What a turn costs, beside hand-written psycopg, at several session lengths; and what the import costs.

    python benchmarks/turn.py [--lengths 10,1000,100000] [--turns 400] [--seed 1] [--postgres URL] [--json]

Everything is timed in one interleaved run: a visit is 4 calls of one operation by one variant at one length after
an untimed one, and visits come in random order, so that whatever the machine does meanwhile falls on all alike.
No session is ever more than 10 % longer or shorter than its length: where an append would make it so, the next
session of that length takes its turn.
"""

import argparse
import asyncio
import gc
import json
import math
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import redis
import redis.asyncio
from psycopg.conninfo import make_conninfo
from rich.console import Console
from rich.table import Table

from benchmarks.floor import TENANT, AsyncFloor, Floor, cached, create_tables, fill
from chatmemory import AsyncChatMemory, AsyncSession, ChatMemory, NewMessage, Session, Settings
from tests.fixtures import tokens  # noqa: F401  # counting tokens is part of an append: with the vocabulary

# What is timed, and by how much it lengthens a session. A turn is append_many of 2 and context(20).
OPERATIONS = {"append": 1, "append_many of 2": 2, "history(20)": 0, "turn": 2, "append_and_context": 2}
GOALS = {"append": 1.3, "append_many of 2": 1.3, "history(20)": 1.3, "turn": 1.4, "append_and_context": 1.6}
WITH_REDIS = ("turn", "append_and_context")
STYLES = ("sync", "async")
WHOSE = ("chatmemory", "floor")
BATCH = 4
SHARES = 12  # of the visits, each on connections of its own: how near a server process runs to us is chance
TEXT = (
    "Thank you, that helps a lot. Before we go on: the invoice of last month still shows the old address, "
    "although I changed it in the portal two weeks ago. Could you look into why it was not taken over, and tell "
    "me whether the next one will be right? Our accountant needs it by Friday, and I would rather not ask twice. "
)
SETTINGS = Settings(cleanup_inactive_sessions=False)


class Variant(NamedTuple):
    """What is timed: one operation, by us or by the floor, sync or async, at one length."""

    length: int
    operation: str
    style: str
    whose: str


@dataclass
class Filled:
    """The sessions of one length, ours or the floor's, and how far they have grown."""

    length: int
    ids: list[str]
    now: int = 0
    grown: int = 0
    spread: int = field(init=False)

    def __post_init__(self) -> None:
        self.spread = spread(self.length)

    def take(self, growth: int) -> str:
        """A session that may take `growth` more messages."""
        if self.grown + growth > 2 * self.spread:
            self.now, self.grown = self.now + 1, 0
        self.grown += growth
        return self.ids[self.now]


def spread(length: int) -> int:
    """By how much a session may be shorter or longer than its length: 5 %, but one message at least."""
    return max(1, length // 20)


def sessions_needed(length: int, turns: int) -> int:
    """How many sessions take all appends of one side without growing too long."""
    visits = math.ceil(turns / BATCH) * len(STYLES)
    appended = visits * (BATCH + 1) * sum(OPERATIONS.values())
    return math.ceil(appended / max(1, 2 * spread(length) - 1)) + 1


class Bench:
    """All variants on one database."""

    def __init__(self, url: str, redis_url: str, lengths: list[int], turns: int, seed: int) -> None:
        self.url, self.redis_url, self.lengths, self.turns = url, redis_url, lengths, turns
        self.rng = random.Random(seed)
        self.times: dict[Variant, list[float]] = {
            Variant(length, operation, style, whose): []
            for length in lengths
            for operation in OPERATIONS
            for style in STYLES
            for whose in WHOSE
        }
        self.filled: dict[tuple[int, str], Filled] = {}

    def run(self) -> None:
        """Fill, and time everything."""
        with ChatMemory.open(self.url, settings=SETTINGS) as memory:
            memory.tenant(TENANT).sessions.list()
        create_tables(self.url)
        for length in self.lengths:
            self._fill(length)
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("vacuum analyze")
            connection.execute("checkpoint")
        visits = [variant for variant in self.times for _ in range(math.ceil(self.turns / BATCH))]
        self.rng.shuffle(visits)
        with asyncio.Runner() as runner:
            for share in range(SHARES):
                self._time(runner, visits[share::SHARES])

    def _fill(self, length: int) -> None:
        """Sessions that are a little too short by as much as they will be too long in the end."""
        count = length - spread(length)
        texts = [(("user", "assistant")[n % 2], TEXT) for n in range(count)]
        relaxed = make_conninfo(self.url, options="-c synchronous_commit=off")
        ours, floors = [], []
        cache = redis.Redis.from_url(self.redis_url)
        with ChatMemory.open(relaxed, settings=SETTINGS) as memory:
            sessions = memory.tenant(TENANT).sessions
            for number in range(sessions_needed(length, self.turns)):
                session = sessions.create(user_id=f"user {length} {number}", title="bench")
                for start in range(0, count, 1000):
                    session.append_many(NewMessage(*text) for text in texts[start : start + 1000])
                fill(relaxed, session.id, texts)
                cache.rpush(f"bench:{session.id}", *(cached(session.id, *text) for text in texts[-20:]))
                ours.append(session.id)
                floors.append(session.id)
        self.filled[length, "chatmemory"] = Filled(length, ours)
        self.filled[length, "floor"] = Filled(length, floors)

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
                filled = self.filled[variant.length, variant.whose]
                growth = OPERATIONS[variant.operation]
                ids = [filled.take(growth) for _ in range(BATCH + 1)]
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


class Calls:
    """The sync variants."""

    def __init__(self, memories: list[ChatMemory], floor: Floor) -> None:
        self._sessions = [memory.tenant(TENANT).sessions for memory in memories]  # without Redis, and with
        self._floor = floor
        self._known: dict[tuple[str, bool], Session] = {}

    def time(self, variant: Variant, ids: list[str]) -> list[float]:
        """How long each call took, in seconds."""
        took = []
        for call in [self._call(variant, id) for id in ids]:
            begun = time.perf_counter()
            call()
            took.append(time.perf_counter() - begun)
        return took

    def _call(self, variant: Variant, id: str) -> Callable[[], object]:
        floor = self._floor
        if variant.whose == "floor":
            return {
                "append": lambda: floor.append(id, TEXT),
                "append_many of 2": lambda: floor.append_two(id, TEXT),
                "history(20)": lambda: floor.history(id),
                "turn": lambda: floor.turn(id, TEXT),
                "append_and_context": lambda: floor.append_and_read(id, TEXT),
            }[variant.operation]
        with_redis = variant.operation in WITH_REDIS
        if (id, with_redis) not in self._known:
            self._known[id, with_redis] = self._sessions[with_redis].get(id)
            self._known[id, with_redis].context(max_messages=20)  # warm, as in a conversation
        session = self._known[id, with_redis]

        def turn() -> object:
            session.append_many(turn_of())
            return session.context(max_messages=20)

        return {
            "append": lambda: session.append("user", TEXT),
            "append_many of 2": lambda: session.append_many(turn_of()),
            "turn": turn,
            "append_and_context": lambda: session.append_and_context(turn_of(), max_messages=20),
            "history(20)": lambda: session.history(20),
        }[variant.operation]


class AsyncCalls:
    """The async variants."""

    def __init__(self, memories: list[AsyncChatMemory], floor: AsyncFloor) -> None:
        self._sessions = [memory.tenant(TENANT).sessions for memory in memories]  # without Redis, and with
        self._floor = floor
        self._known: dict[tuple[str, bool], AsyncSession] = {}

    async def time(self, variant: Variant, ids: list[str]) -> list[float]:
        """How long each call took, in seconds."""
        took = []
        for call in [await self._call(variant, id) for id in ids]:
            begun = time.perf_counter()
            await call()
            took.append(time.perf_counter() - begun)
        return took

    async def _call(self, variant: Variant, id: str) -> Callable[[], Awaitable[object]]:
        floor = self._floor
        if variant.whose == "floor":
            return {
                "append": lambda: floor.append(id, TEXT),
                "append_many of 2": lambda: floor.append_two(id, TEXT),
                "history(20)": lambda: floor.history(id),
                "turn": lambda: floor.turn(id, TEXT),
                "append_and_context": lambda: floor.append_and_read(id, TEXT),
            }[variant.operation]
        with_redis = variant.operation in WITH_REDIS
        if (id, with_redis) not in self._known:
            self._known[id, with_redis] = await self._sessions[with_redis].get(id)
            await self._known[id, with_redis].context(max_messages=20)  # warm, as in a conversation
        session = self._known[id, with_redis]

        async def turn() -> object:
            await session.append_many(turn_of())
            return await session.context(max_messages=20)

        return {
            "append": lambda: session.append("user", TEXT),
            "append_many of 2": lambda: session.append_many(turn_of()),
            "turn": turn,
            "append_and_context": lambda: session.append_and_context(turn_of(), max_messages=20),
            "history(20)": lambda: session.history(20),
        }[variant.operation]


def turn_of() -> list[NewMessage]:
    """A turn to append."""
    return [NewMessage("user", TEXT), NewMessage("assistant", TEXT)]


async def throughput(url: str, redis_url: str, sessions: int = 16, turns: int = 50) -> dict[str, dict[str, float]]:
    """Turns per second of concurrent sessions in one event loop, by each way to make a turn, beside its floor."""
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


def p50(times: list[float]) -> float:
    """The median, in ms."""
    return statistics.median(times) * 1e3


def p95(times: list[float]) -> float:
    """What 95 % of the calls stay below, in ms."""
    return statistics.quantiles(times, n=20)[-1] * 1e3


def results(bench: Bench) -> list[dict[str, Any]]:
    """One record for each operation, style and length."""
    records = []
    for operation in OPERATIONS:
        for style in STYLES:
            for length in bench.lengths:
                ours = bench.times[Variant(length, operation, style, "chatmemory")]
                floor = bench.times[Variant(length, operation, style, "floor")]
                records.append(
                    {
                        "operation": operation,
                        "style": style,
                        "length": length,
                        "p50_ms": p50(ours),
                        "p95_ms": p95(ours),
                        "floor_p50_ms": p50(floor),
                        "floor_p95_ms": p95(floor),
                        "ratio_p50": p50(ours) / p50(floor),
                        "ratio_p95": p95(ours) / p95(floor),
                    }
                )
    return records


def growth(records: list[dict[str, Any]], key: str = "p50_ms") -> dict[tuple[str, str], float]:
    """Longest over shortest, for each operation and style."""
    found = {}
    for operation in OPERATIONS:
        for style in STYLES:
            same = [r for r in records if (r["operation"], r["style"]) == (operation, style)]
            by_length = sorted(same, key=lambda record: record["length"])
            found[operation, style] = by_length[-1][key] / by_length[0][key]
    return found


def import_cost() -> dict[str, Any]:
    """What `import chatmemory` takes on top of a bare interpreter, and what it and the first use load."""
    bare = _interpreter("pass")
    listing = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    before = set(_output(listing).split())
    cost: dict[str, Any] = {}
    for name, statement in (
        ("import chatmemory", "import chatmemory"),
        ("from chatmemory import ChatMemory", "from chatmemory import ChatMemory"),
    ):
        modules = set(_output(f"{statement}; {listing}").split()) - before - sys.stdlib_module_names
        cost[name] = {
            "seconds": max(0.0, _interpreter(statement) - bare),
            "loads": sorted(name for name in modules if not name.startswith("_")),
        }
    return cost


def _output(statement: str) -> str:
    return subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True, text=True).stdout


def _interpreter(statement: str) -> float:
    took = []
    for _ in range(7):
        begun = time.perf_counter()
        _output(statement)
        took.append(time.perf_counter() - begun)
    return statistics.median(took)


def show(
    records: list[dict[str, Any]], imports: dict[str, Any], rates: dict[str, dict[str, float]], turns: int
) -> None:
    """Print everything as tables."""
    console = Console(width=100)
    for operation in OPERATIONS:
        goal = f"goal {GOALS[operation]}"
        table = Table(title=f"{operation}, ms, {turns} calls each ({goal})", title_justify="left")
        for column in ("", "length", "p50", "floor", "p50 / floor", "p95", "floor", "p95 / floor"):
            table.add_column(column, justify="left" if not column else "right")
        for record in records:
            if record["operation"] == operation:
                table.add_row(*_cells(record))
        console.print(table)
    table = Table(title="growth: p50 of the longest over the shortest (goal 1.1)", title_justify="left")
    for column in ("", "chatmemory", "floor"):
        table.add_column(column, justify="left" if not column else "right")
    floors = growth(records, "floor_p50_ms")
    for (operation, style), times in growth(records).items():
        table.add_row(f"{operation} {style}", f"{times:.2f}", f"{floors[operation, style]:.2f}")
    console.print(table)
    if min(record["length"] for record in records) < 20:
        console.print("A session shorter than 20 gives history(20) fewer messages to read: the floor grows too.")
    for way, both in rates.items():
        ours, floor = (both[whose] for whose in WHOSE)
        console.print(
            f"16 sessions at once, {way}: {ours:,.0f} turns/s, the floor {floor:,.0f}: {ours / floor:.2f} (goal 0.6)"
        )
    for statement, cost in imports.items():
        console.print(f"{statement}: {cost['seconds']:.3f} s (goal 0.3), loads {', '.join(cost['loads'])}")


def _cells(record: dict[str, Any]) -> Iterator[str]:
    yield record["style"]
    yield f"{record['length']:,}"
    for percentile in ("p50", "p95"):
        yield f"{record[f'{percentile}_ms']:.3f}"
        yield f"{record[f'floor_{percentile}_ms']:.3f}"
        ratio = record[f"ratio_{percentile}"]
        missed = percentile == "p50" and ratio > GOALS[record["operation"]]
        yield f"[red]{ratio:.2f}[/red]" if missed else f"{ratio:.2f}"


@contextmanager
def redis_server(url: str | None) -> Iterator[str]:
    """The Redis that was named, or a private one without persistence."""
    if url is not None:
        yield url
        return
    from tests.fixtures.redis import RedisServer

    server = RedisServer()
    try:
        yield server.url
    finally:
        server.close()


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """The Postgres that was named, or a private one that is removed afterwards."""
    if url is not None:
        yield url
        return
    from chatmemory.embedded.server import EmbeddedPostgres

    path = Path(tempfile.mkdtemp(prefix="cm-bench-"))
    path.chmod(0o755)  # an unprivileged Postgres must get in, even when root runs this
    embedded = EmbeddedPostgres(path)
    try:
        yield embedded.start()
    finally:
        embedded.stop()
        shutil.rmtree(path, ignore_errors=True)


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
    with server(arguments.postgres) as url, redis_server(arguments.redis) as redis_url:
        bench = Bench(url, redis_url, lengths, arguments.turns, arguments.seed)
        bench.run()
        rates = asyncio.run(throughput(url, redis_url))
    records, imports = results(bench), import_cost()
    if arguments.json:
        print(json.dumps({"results": records, "imports": imports, "turns_per_second": rates}))
    else:
        show(records, imports, rates, arguments.turns)


if __name__ == "__main__":
    main()
