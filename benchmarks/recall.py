"""The cost of a recall for a user with many memories, by words, and by words and meaning.

    python -m benchmarks.recall [--memories 100000] [--others 10 10000] [--postgres URL] [--json]

One user gets episodes in sessions of 50 turns, with word frequencies as in talk (Zipf), a date, and vectors of 384
numbers; then others join the tenant. The embedder's own time is left out: questions come with their vectors. The goal
is a median of 50 ms, however many other users there are.
"""

import argparse
import bisect
import itertools
import json
import random
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psycopg

from chatmemory import ChatMemory, Settings
from chatmemory.storage import queries

GOAL = 0.050
TENANT, USER = "bench", "ann"
DIMENSIONS, TOPICS, ASIDES = 384, 300, 3000
WORDS, STOP_WORDS = 30_000, 60  # the commonest words of a language are not indexed
SESSION = 50  # turns
OTHERS_MEMORIES = 5
BATCH = 1000
BEGIN = datetime(2023, 1, 1, tzinfo=UTC)
SYLLABLES = [first + second for first in "bdfgklmnprtvz" for second in "aeiou"]


class Talk:
    """Invented talk: words by their frequency, meanings around topics."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        numbers = range(len(SYLLABLES) ** 3)
        self._words = ["".join(self._syllables(number)) for number in random.Random(1).sample(numbers, WORDS)]
        self._weights = list(itertools.accumulate(1 / (rank + STOP_WORDS) for rank in range(WORDS)))
        drawn = random.Random(2)
        self._topics, self._around = (
            [[drawn.gauss(0, 1) for _ in range(DIMENSIONS)] for _ in range(count)] for count in (TOPICS, ASIDES)
        )

    @staticmethod
    def _syllables(number: int) -> Iterator[str]:
        for _ in range(3):
            number, rest = divmod(number, len(SYLLABLES))
            yield SYLLABLES[rest]

    def words(self, count: int) -> list[str]:
        """Make a text of words."""
        drawn = (self._random.random() * self._weights[-1] for _ in range(count))
        return [self._words[bisect.bisect(self._weights, each)] for each in drawn]

    def turn(self) -> str:
        """Make the text of a turn: 4 to 40 words."""
        return " ".join(self.words(self._random.randint(4, 40)))

    def vector(self) -> list[float]:
        """Make a vector near one of the topics."""
        pair = zip(self._random.choice(self._topics), self._random.choice(self._around), strict=True)
        return [first + second for first, second in pair]

    def question(self, turn: str) -> str:
        """Make a question to a turn: four of its words among common ones, and sometimes a date."""
        said = self._random.sample(turn.split(), 4)
        date = self._random.choice(["", "", "May", "June 2023"])
        return " ".join([*said, *self.words(4), date])


class Given:
    """An embedder with prepared answers."""

    name, dimensions = "bench", DIMENSIONS

    def __init__(self) -> None:
        self.vectors: dict[str, list[float]] = {}

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the prepared vectors of these texts."""
        return [self.vectors[text] for text in texts]


def fill(connection: psycopg.Connection[Any], user: str, talk: Talk, count: int) -> list[str]:
    """Give a user memories; return some of the turns."""
    kept = []
    for start in range(0, count, BATCH):
        rows: list[dict[str, Any]] = []
        embedded: list[dict[str, Any]] = []
        for index in range(start, min(start + BATCH, count)):
            if index % SESSION == 0:
                row = connection.execute("select nextval('chatmemory.numbers')").fetchone()
                number = row[0] if row else 0
            text, at = talk.turn(), BEGIN + timedelta(minutes=index)
            id = f"{user}-{index}"
            rows.append({
                "id": id, "user_id": user, "kind": "episode", "text": text, "indexed": f"{text} {at:%d %B %Y}",
                "near": (number << 24) + index % SESSION + 1, "speaker": None, "trust": 2, "importance": 0.5,
                "valid_from": at.isoformat(), "digest": None, "metadata": None, "sources": [],
            })  # fmt: skip
            numbers = ",".join(f"{each:.5g}" for each in talk.vector())
            embedded.append({"memory_id": id, "part": 0, "embedding": f"[{numbers}]"})
            if index % 97 == 0:
                kept.append(text)
        connection.execute(queries.memories.ADD_MEMORIES, (TENANT, "english", json.dumps(rows)))
        connection.execute(queries.memories.ADD_VECTORS, (TENANT, Given.name, json.dumps(embedded)))
        connection.commit()
    return kept


def timed(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def recall(url: str, questions: Sequence[str], embedder: Given | None) -> dict[str, float]:
    """Warm up, then time every question."""
    with ChatMemory.open(url, settings=Settings(cleanup_inactive_sessions=False), embedder=embedder) as memory:
        memories = memory.tenant(TENANT).memories
        for question in questions[:10]:
            assert memories.recall(question, user_id=USER)
        took = [timed(partial(memories.recall, question, user_id=USER)) for question in questions]
    return {"p50": median(took), "p95": quantiles(took, n=20)[-1]}


def measure(url: str, memories: int, others: Sequence[int], asked: int) -> dict[str, Any]:
    """Return all figures, with increasing numbers of other users."""
    with ChatMemory.open(url) as memory:
        memory.tenant(TENANT).memories.stats()
    talk, embedder = Talk(3), Given()
    figures: dict[str, Any] = {"memories": memories, "rows": []}
    with psycopg.connect(url) as connection:
        start = time.perf_counter()
        turns = fill(connection, USER, talk, memories)
        figures["fill_seconds"] = time.perf_counter() - start
        questions = [talk.question(turn) for turn in turns if len(turn.split()) >= 4][:asked]
        embedder.vectors = {question: talk.vector() for question in questions}
        there = 0
        for wanted in [0, *others]:
            for number in range(there, wanted):
                fill(connection, f"other-{number}", talk, OTHERS_MEMORIES)
            there = max(there, wanted)
            connection.commit()
            connection.autocommit = True
            connection.execute("vacuum analyze")
            connection.autocommit = False
            row = {"others": wanted, "words": recall(url, questions, None)}
            figures["rows"].append({**row, "words_and_vectors": recall(url, questions, embedder)})
    return figures


def show(figures: dict[str, Any]) -> None:
    """Print the table of docs/benchmarks.md."""
    print(f"one user with {figures['memories']:,} memories, filled in {figures['fill_seconds']:.0f} s")
    print(
        "| other users | by words, p50 | p95 | by words and vectors, p50 | p95 |\n| ---: | ---: | ---: | ---: | ---: |"
    )
    worst = 0.0
    for row in figures["rows"]:
        cells = [row[name][part] for name in ("words", "words_and_vectors") for part in ("p50", "p95")]
        worst = max(worst, cells[0], cells[2])
        print(f"| {row['others']:,} | " + " | ".join(f"{cell * 1e3:.1f} ms" for cell in cells) + " |")
    print("the goal is met" if worst <= GOAL else "the goal is MISSED")


def main() -> None:
    """Measure on the named Postgres, or on a private one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--memories", type=int, default=100_000)
    parser.add_argument("--others", type=int, nargs="*", default=[10, 10_000])
    parser.add_argument("--questions", type=int, default=100)
    parser.add_argument("--postgres")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    wanted = (options.memories, options.others, options.questions)
    if options.postgres:
        figures = measure(options.postgres, *wanted)
    else:
        from chatmemory.embedded.server import EmbeddedPostgres

        path = Path(tempfile.mkdtemp(prefix="cm-bench-"))
        path.chmod(0o755)
        server = EmbeddedPostgres(path)
        try:
            figures = measure(server.start(), *wanted)
        finally:
            server.stop()
            shutil.rmtree(path, ignore_errors=True)
    if options.json:
        print(json.dumps(figures))
    else:
        show(figures)


if __name__ == "__main__":
    main()
