"""The figures of benchmarks/turn.py: medians, ratios, growth, and their tables."""

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.turn_calls import OPERATIONS, Variant

STYLES = ("sync", "async")
WHOSE = ("chatmemory", "floor")
Times = dict[Variant, list[float]]


def variants(lengths: list[int]) -> Iterator[Variant]:
    """Return all timed variants, for these lengths."""
    for name, operation in OPERATIONS.items():
        for style in STYLES:
            for length in operation.lengths or lengths:
                for whose in WHOSE:
                    yield Variant(length, name, style, whose)


def p50(times: list[float]) -> float:
    """Return the median, in ms."""
    return statistics.median(times) * 1e3


def p95(times: list[float]) -> float:
    """Return the 95th percentile, in ms."""
    return statistics.quantiles(times, n=20)[-1] * 1e3


def results(times: Times) -> list[dict[str, Any]]:
    """Return one record for each operation, style and length."""
    return [_record(variant, times) for variant in times if variant.whose == "chatmemory"]


def _record(variant: Variant, times: Times) -> dict[str, Any]:
    ours, floor = times[variant], times[variant._replace(whose="floor")]
    return {
        "operation": variant.operation,
        "style": variant.style,
        "length": variant.length,
        "p50_ms": p50(ours),
        "p95_ms": p95(ours),
        "floor_p50_ms": p50(floor),
        "floor_p95_ms": p95(floor),
        "ratio_p50": p50(ours) / p50(floor),
        "ratio_p95": p95(ours) / p95(floor),
    }


def growth(records: list[dict[str, Any]], key: str = "p50_ms") -> dict[tuple[str, str], float]:
    """Return the ratio of the longest to the shortest length, for each operation and style."""
    found = {}
    for operation in OPERATIONS:
        for style in STYLES:
            same = [r for r in records if (r["operation"], r["style"]) == (operation, style)]
            by_length = sorted(same, key=lambda record: record["length"])
            if len(by_length) > 1:
                found[operation, style] = by_length[-1][key] / by_length[0][key]
    return found


def import_cost() -> dict[str, Any]:
    """Measure `import chatmemory` on top of a bare interpreter, and the modules that it and the first use load."""
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
        goal = OPERATIONS[operation].goal
        title = f"{operation}, ms, {turns} calls each" + (f" (goal {goal})" if goal else "")
        table = Table(title=title, title_justify="left")
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
        goal = OPERATIONS[record["operation"]].goal
        missed = percentile == "p50" and goal is not None and ratio > goal
        yield f"[red]{ratio:.2f}[/red]" if missed else f"{ratio:.2f}"
