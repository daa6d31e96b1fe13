"""What a large database costs: the same calls on it and on an empty one of the same server, in one interleaved run.

    python -m benchmarks.scale [--sessions 1000000] [--messages 5000000] [--tenants 10000] [--runs 60] [--postgres URL]

One session in ten is active. One session holds all messages but four for each of the others: with the defaults a
million. On the empty database the same calls are made on sessions like the ordinary ones, and on a user and a tenant
whose sessions fill one page. The database that --postgres names needs a superuser; two more are made beside it.
"""

import argparse
import gc
import itertools
import json
import random
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from benchmarks.scale_fill import (
    LARGE_TENANT,
    LARGE_USER,
    LONG_SESSION,
    LONG_USER,
    MESSAGES_EACH,
    PAGE,
    PAGES,
    TEXT,
    Size,
    fill,
)
from benchmarks.servers import postgres_server
from chatmemory import ChatMemory, NewMessage, Settings
from tests.fixtures import tokens  # noqa: F401  # counting tokens is part of an append: with the vocabulary
from tests.fixtures.postgres import create_database, drop_database

SETTINGS = Settings(cleanup_inactive_sessions=False, max_sessions_per_user=1_000_000)
SLOWER, LIST_SLOWER, BACKGROUND_MS = 1.5, 3.0, 5.0
FACTS = 20
WARM = 7
DATABASES = ("large", "empty")
QUERY = "Which address does the invoice show?"


class Goal(NamedTuple):
    """What a call may cost: so many times what it costs on an empty database, or so many ms."""

    ratio: float | None = SLOWER
    ms: float | None = None

    def is_met(self, large: float, empty: float) -> bool:
        """Whether these p50s, in ms, are good enough."""
        return large <= (self.ms if self.ms is not None else empty * (self.ratio or 1))

    def __str__(self) -> str:
        return f"{self.ms:g} ms" if self.ms is not None else f"{self.ratio:g} times"


LIST, BACKGROUND = Goal(LIST_SLOWER), Goal(None, BACKGROUND_MS)


class Side:
    """One of the two databases, and what the calls are made on."""

    def __init__(self, url: str, *, is_large: bool) -> None:
        self.memory = ChatMemory.open(url, settings=SETTINGS)
        self._numbers = itertools.count()
        self._is_large = is_large
        self.tenant = self.memory.tenant("tenant-1")
        self.session = self._conversation("somebody")
        self.long = self.memory.tenant(LARGE_TENANT).sessions.get(LONG_SESSION) if is_large else self.session
        self.long_user = LONG_USER if is_large else "somebody"
        for number in range(FACTS):
            self.tenant.memories.remember(f"Invoice {number} shows address {number % 3}.", user_id="somebody")
        self.lists = self.memory.tenant(LARGE_TENANT).sessions
        if not is_large:
            for _ in range(PAGE):
                self.lists.create(user_id=LARGE_USER)
        self._far = {name: far_page(self.lists, who) if is_large else {} for name, who in WHO.items()}

    def _conversation(self, user: str) -> Any:
        session = self.tenant.sessions.create(user_id=user)
        session.append_many(turn() * (MESSAGES_EACH // 2))
        return session

    def somebody(self) -> str:
        """A user with a session and a memory."""
        user = f"user-to-erase-{next(self._numbers)}"
        self._conversation(user)
        self.tenant.memories.remember("Likes tea.", user_id=user)
        return user

    def list_far(self, name: str) -> Any:
        """The thousandth page of a list; on the empty database the first, which holds as many sessions."""
        return self.lists.list(**WHO[name], limit=PAGE, **self._far[name])


WHO: dict[str, dict[str, Any]] = {"user": {"user_id": LARGE_USER}, "tenant": {}}


def far_page(sessions: Any, who: dict[str, Any]) -> dict[str, Any]:
    """The arguments of list() that give the thousandth page: a cursor where there is one, else an offset."""
    page = sessions.list(**who, limit=PAGE)
    if getattr(page, "next", None) is None:
        return {"offset": PAGE * (PAGES - 1)}
    for _ in range(PAGES - 2):
        page = sessions.list(**who, limit=PAGE, cursor=page.next)
    return {"cursor": page.next}


def turn() -> list[NewMessage]:
    """A turn to append."""
    return [NewMessage("user", TEXT), NewMessage("assistant", TEXT)]


class Call(NamedTuple):
    """A call that is timed, on either side; `given` prepares it, untimed."""

    name: str
    make: Callable[[Side, Any], Any]
    goal: Goal = Goal()
    given: Callable[[Side], Any] = lambda _: None


CALLS = [
    Call("append", lambda s, _: s.session.append("user", TEXT)),
    Call("append to the long session", lambda s, _: s.long.append("user", TEXT)),
    Call("append_and_context", lambda s, _: s.session.append_and_context(turn(), max_messages=20)),
    Call("append_and_context, long session", lambda s, _: s.long.append_and_context(turn(), max_messages=20)),
    Call("resume", lambda s, _: s.tenant.sessions.resume_or_create(s.session.id, user_id="somebody")),
    Call(
        "resume the long session",
        lambda s, _: s.memory.tenant(s.long.tenant_id).sessions.resume_or_create(s.long.id, user_id=s.long_user),
    ),
    Call("list of a user", lambda s, _: s.lists.list(user_id=LARGE_USER, limit=PAGE), LIST),
    Call("list of a user, page 1,000", lambda s, _: s.list_far("user"), LIST),
    Call("list of a tenant", lambda s, _: s.lists.list(limit=PAGE), LIST),
    Call("list of a tenant, page 1,000", lambda s, _: s.list_far("tenant"), LIST),
    Call("claim, nothing due", lambda s, _: s.memory.run_due(), BACKGROUND),
    Call("clean-up, nothing idle", lambda s, _: s.memory.clean_up(), BACKGROUND),
    Call("recall", lambda s, _: s.tenant.memories.recall(QUERY, user_id="somebody")),
    Call("erase of a user", lambda s, user: s.tenant.users.erase(user), Goal(), Side.somebody),
]


def seconds(call: Callable[[], object]) -> float:
    """The seconds of a call."""
    begun = time.perf_counter()
    call()
    return time.perf_counter() - begun


def time_calls(sides: dict[str, Side], runs: int, seed: int) -> dict[tuple[str, str], list[float]]:
    """The seconds of each call on each side, in random order."""
    times: dict[tuple[str, str], list[float]] = {(call.name, side): [] for call in CALLS for side in sides}
    settle(sides)
    visits = [(call, side) for call in CALLS for side in sides for _ in range(runs)]
    random.Random(seed).shuffle(visits)
    gc.collect()
    gc.disable()
    try:
        for call, side in visits:
            given = call.given(sides[side])
            times[call.name, side].append(seconds(partial(call.make, sides[side], given)))
            gc.collect(0)
    finally:
        gc.enable()
    return times


def settle(sides: dict[str, Side]) -> None:
    """Learn from what filling has left, and prepare every statement."""
    for side in sides.values():
        side.memory.run_due(1_000_000)
        side.memory.clean_up()
        for call in CALLS:
            for _ in range(WARM):
                call.make(side, call.given(side))


@contextmanager
def databases(server: str) -> Iterator[dict[str, str]]:
    """Two databases on a server, by name, which are removed afterwards."""
    names = {name: f"bench_{name}_{uuid4().hex}" for name in DATABASES}
    try:
        yield {name: create_database(server, database) for name, database in names.items()}
    finally:
        for name in names.values():
            drop_database(server, name)


def measure(server: str, size: Size, runs: int, seed: int) -> dict[str, Any]:
    """All figures."""
    with databases(server) as urls:
        for url in urls.values():
            with ChatMemory.open(url, settings=SETTINGS) as memory:
                memory.tenant("nobody").sessions.list()  # which migrates
        filled = fill(urls["large"], size)
        sides = {name: Side(url, is_large=name == "large") for name, url in urls.items()}
        times = time_calls(sides, runs, seed)
        for side in sides.values():
            side.memory.close()
    p50s = {key: statistics.median(each) * 1e3 for key, each in times.items()}
    rows = [
        {
            "call": call.name,
            "large_ms": p50s[call.name, "large"],
            "empty_ms": p50s[call.name, "empty"],
            "ratio": p50s[call.name, "large"] / p50s[call.name, "empty"],
            "goal": str(call.goal),
            "met": call.goal.is_met(p50s[call.name, "large"], p50s[call.name, "empty"]),
        }
        for call in CALLS
    ]
    return {**size._asdict(), "longest": size.in_long_session, "fill_seconds": filled, "rows": rows}


def show(figures: dict[str, Any]) -> None:
    """The table of docs/benchmarks.md."""
    print(
        f"{figures['sessions']:,} sessions, {figures['messages']:,} messages, {figures['tenants']:,} tenants, "
        f"the longest session {figures['longest']:,}; filled in {figures['fill_seconds']:.0f} s\n"
    )
    print("| call | large, p50, ms | empty, p50, ms | ratio | goal | |\n| --- | ---: | ---: | ---: | ---: | --- |")
    for row in figures["rows"]:
        times = f"{row['large_ms']:.2f} | {row['empty_ms']:.2f} | {row['ratio']:.2f}"
        print(f"| {row['call']} | {times} | {row['goal']} | {'' if row['met'] else 'MISSED'} |")


def main() -> None:
    """Measure, on a private Postgres unless one is named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--messages", type=int, default=5_000_000)
    parser.add_argument("--tenants", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=60, help="timed runs of each call on each database")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", metavar="URL", help="a server to make two databases on; default: a private one")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_args()
    size = Size(options.sessions, options.messages, options.tenants)
    with postgres_server(options.postgres) as server:
        figures = measure(server, size, options.runs, options.seed)
    print(json.dumps(figures)) if options.json else show(figures)


if __name__ == "__main__":
    main()
