"""The cost of metrics: the time to log points, and to read a curve back.

    python -m benchmarks.metrics [--points 1000000] [--postgres URL] [--json]

One run logs its points with one call each, as a training loop does; then the curve is read downsampled. The goals:
50,000 points written in a second, and 2,000 points read in 0.3 s. For comparison, the same points in a hand-made table:
COPY of one row each, without row-level security, and the min and max of each bucket.
"""

import argparse
import json
import math
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import psycopg

from chatmemory import ChatMemory, Session, Settings

WRITE_GOAL = 50_000
READ_GOAL = 0.3
MAX_POINTS = 2_000
FLOOR = "create table floor (session_id text, name text, step bigint, value float8, at float8)"
FLOOR_READ = (
    "select width_bucket(step, 0, %s, 1000) as bucket, min(value), max(value) from floor "
    "where session_id = 'a' and name = 'loss' group by bucket order by bucket"
)


def took(call: Callable[[], object]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def log(memory: ChatMemory, points: int) -> tuple[Session, float, float]:
    """Log a run; return the seconds that logging took, and the seconds until all points were written."""
    session = memory.tenant("bench").sessions.create(user_id="bench", kind="training")
    start = time.perf_counter()
    for step in range(points):
        session.log_metrics({"loss": math.sin(step / 1000) + step % 7 / 100}, step=step)
    logged = time.perf_counter() - start
    session.metrics(["nothing"])
    return session, logged, time.perf_counter() - start


def floor(url: str, points: int) -> tuple[float, float]:
    """Do the same by hand; return the seconds to write and to read."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FLOOR)

        def write() -> None:
            with connection.cursor().copy("copy floor from stdin") as copy:
                for step in range(points):
                    copy.write_row(("a", "loss", step, math.sin(step / 1000) + step % 7 / 100, time.time()))

        written = took(write)
        return written, median(took(lambda: connection.execute(FLOOR_READ, (points,)).fetchall()) for _ in range(5))


def measure(url: str, points: int) -> dict[str, float]:
    """Return all figures."""
    with ChatMemory.open(url, settings=Settings(cleanup_inactive_sessions=False)) as memory:
        session, logged, written = log(memory, points)
        read = [took(lambda: session.metrics(max_points=MAX_POINTS)) for _ in range(7)]
        shown = len(session.metrics(max_points=MAX_POINTS)["loss"])
        whole = took(session.metrics)
        assert session.metrics(["loss"], max_points=2)["loss"].total == points
    by_hand = floor(url, points)
    return {
        "points": points,
        "log_metrics_us": logged / points * 1e6,
        "written_per_second": points / written,
        "floor_written_per_second": points / by_hand[0],
        "points_read": shown,
        "read_first_seconds": read[0],
        "read_seconds": median(read),
        "floor_read_seconds": by_hand[1],
        "read_all_seconds": whole,
    }


def show(figures: dict[str, float]) -> None:
    """Print the table of docs/benchmarks.md."""
    write, read = figures["written_per_second"], figures["read_seconds"]
    floor_write = figures["floor_written_per_second"]
    print("| what | measured | goal | by hand |\n| --- | ---: | ---: | ---: |")
    print(f"| one call of log_metrics | {figures['log_metrics_us']:.1f} µs | | |")
    print(f"| points written, per second | {write:,.0f} | {WRITE_GOAL:,} | {floor_write:,.0f} |")
    print(
        f"| {figures['points_read']:,.0f} of {figures['points']:,.0f} points read | {read:.3f} s | {READ_GOAL} s "
        f"| {figures['floor_read_seconds']:.3f} s |"
    )
    print(f"| the first such read | {figures['read_first_seconds']:.3f} s | | |")
    print(f"| all points read | {figures['read_all_seconds']:.2f} s | | |")
    print("both goals are met" if write >= WRITE_GOAL and read <= READ_GOAL else "a goal is MISSED")


def main() -> None:
    """Measure on the named Postgres, or on a private one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=1_000_000)
    parser.add_argument("--postgres")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.postgres:
        figures = measure(options.postgres, options.points)
    else:
        from chatmemory.embedded.server import EmbeddedPostgres

        path = Path(tempfile.mkdtemp(prefix="cm-bench-"))
        path.chmod(0o755)
        server = EmbeddedPostgres(path)
        try:
            figures = measure(server.start(), options.points)
        finally:
            server.stop()
            shutil.rmtree(path, ignore_errors=True)
    print(json.dumps(figures)) if options.json else show(figures)


if __name__ == "__main__":
    main()
