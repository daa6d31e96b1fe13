"""`runs`, `runs compare`, and what `show` says of a run."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from chatmemory.cli.options import (
    DEFAULT_TENANT,
    JsonOption,
    PostgresOption,
    TenantOption,
    elsewhere,
    memory_on,
    session_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rich.console import Console
    from rich.text import Text

    from chatmemory import Comparison, MetricCurve, MetricSeries, Session, SessionInfo, StatusChange

CURVE = 24  # characters
LONG_CURVE = 60
STYLES = {"completed": "green", "running": "cyan", "failed": "red", "timeout": "red", "cancelled": "yellow"}

runs = typer.Typer(invoke_without_command=True)


class Run(NamedTuple):
    """What is shown of a run."""

    history: "list[StatusChange]"
    metrics: "MetricSeries"


def run_of(session: "Session", width: int = LONG_CURVE) -> Run:
    """The moves and the curves of a session."""
    return Run(session.status_history(), session.metrics(max_points=2 * width))


@runs.callback()
def list_runs(
    context: typer.Context,
    user: Annotated[
        str | None, typer.Option("--user", show_default="all users", help="Only the runs of this user.")
    ] = None,
    kind: Annotated[
        str | None, typer.Option(show_default="all kinds of runs", help="Only runs of this kind: training, testing …")
    ] = None,
    limit: Annotated[int, typer.Option(help="How many to show.")] = 20,
    offset: Annotated[int, typer.Option(help="How many to pass over.")] = 0,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """List runs, last begun first, each with a curve; or compare some."""
    if context.invoked_subcommand is not None:
        return
    from chatmemory.cli.terminal import NARROW, many, stdout, text, to_json

    with memory_on(postgres) as memory:
        sessions = memory.tenant(tenant).sessions
        page = sessions.list(
            user_id=user, kind=kind, runs_only=True, order="created", limit=limit, offset=offset, with_total=True
        )
        found = [(info, sessions.get(info.id).metrics(max_points=2 * CURVE)) for info in page]
    if as_json:
        listed = [{**asdict(info), "metrics": sorted(metrics)} for info, metrics in found]
        print(to_json({"total": page.total, "limit": limit, "offset": offset, "runs": listed}))
        return
    console = stdout()
    if not page.total:
        console.print(text(f"No runs in tenant {tenant!r}{elsewhere(tenant)}."))
        return
    if console.width < NARROW:
        _show_narrow(console, found)
    else:
        console.print(_table(found))
    more = f", shown: {offset + 1}-{offset + len(page)}" if 0 < len(page) < page.total else ""
    console.print(text(f"{many(page.total, 'run')} in tenant {tenant!r}{elsewhere(tenant)}{more}", "dim"))


def _show_narrow(console: "Console", found: "list[tuple[SessionInfo, MetricSeries]]") -> None:
    from chatmemory.cli.terminal import ago, listed, text

    for info, metrics in found:
        progress = "" if info.progress is None else f", {info.progress:.0f} %"
        status = text(info.run_status or "", STYLES.get(info.run_status or "", ""))
        rest = text(f"{progress}, {ago(info.created_at)}", "dim")
        facts = text(f"{info.kind} of {info.user_id}, ", "dim") + status + rest
        listed(console, info.id, _title(info), facts, text(_first_curve(metrics)))


def _title(info: "SessionInfo") -> "Text":
    """What the run is called, where its id does not say it already."""
    from chatmemory.cli.terminal import text

    title = " ".join((info.title or "").split())
    return text(title if title and title != info.id else _what(info))


def _table(found: "list[tuple[SessionInfo, MetricSeries]]") -> Any:
    """One line for each run; no id is ever cut."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("id", overflow="fold", no_wrap=True)
    table.add_column("title", overflow="ellipsis", no_wrap=True, max_width=40)
    table.add_column("curve", no_wrap=True)
    for name in ("user", "kind", "run status", "progress", "begun"):
        table.add_column(name, overflow="fold")
    for info, metrics in found:
        table.add_row(*_row(info, metrics))
    return table


def _row(info: "SessionInfo", metrics: "MetricSeries") -> list[Any]:
    from chatmemory.cli.terminal import ago, text

    status = info.run_status or ""
    return [
        text(info.id, "cyan"),
        _title(info),
        text(_first_curve(metrics)),
        text(info.user_id),
        text(info.kind),
        text(status, STYLES.get(status, "")),
        text("" if info.progress is None else f"{info.progress:.0f} %"),
        text(ago(info.created_at)),
    ]


def _what(info: "SessionInfo") -> str:
    """What was run, in the words of its details."""
    from chatmemory.kinds import find

    kind = find(info.kind)
    named = [info.details.get(name) for name in kind.key_details[:2]] if kind is not None else []
    return " on ".join(str(name) for name in named if name is not None)


def _first_curve(metrics: "MetricSeries") -> str:
    from chatmemory.runs.metric_records import less_is_better

    name = next(filter(less_is_better, metrics), next(iter(metrics), None))
    return "" if name is None else _drawn(metrics[name], CURVE)


def _drawn(curve: "MetricCurve", width: int) -> str:
    """A curve with its name and its last value."""
    from chatmemory.runs.metric_records import sparkline

    return f"{sparkline(curve.values, width)} {curve.name} {curve.values[-1]:.4g}"


@runs.command()
def compare(
    session_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The runs' ids, two or more.")],
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare runs: details, results and best metrics, side by side."""
    from chatmemory import SessionNotFoundError
    from chatmemory.cli.terminal import stdout, to_json

    with memory_on(postgres) as memory:
        try:
            compared = memory.tenant(tenant).sessions.compare(session_ids)
        except SessionNotFoundError:
            for id in session_ids:
                session_of(memory, tenant, id)  # which one, and where to look
            raise
    if as_json:
        print(to_json([{"id": run.info.id, **run.row()} for run in compared]))
    else:
        stdout().print(_side_by_side(compared))


def _side_by_side(compared: "Comparison") -> Any:
    """A column for each run; what differs between them stands out."""
    from rich.table import Table

    from chatmemory.cli.terminal import text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("")
    whole = [run.row() for run in compared]
    rows = [dict(_flat(row)) for row in whole]
    for run in compared:
        table.add_column(text(run.info.id, "cyan"), overflow="fold")
    parts = (_flat({name: row[name]}) for name in compared.columns for row in whole if name in row)
    for name in dict.fromkeys(name for part in parts for name, _ in part):
        shown = [_shown(row.get(name)) for row in rows]
        table.add_row(text(name, "dim"), *(text(cell, "bold" if len(set(shown)) > 1 else "") for cell in shown))
    return table


def _flat(row: "Mapping[str, Any]") -> "Iterator[tuple[str, Any]]":
    """The parameters in an object one by one: what differs is seen in lines, not inside of one."""
    for name, value in row.items():
        if isinstance(value, dict) and value:
            yield from _flat({f"{name}.{key}": inner for key, inner in value.items()})
        else:
            yield name, value


def _shown(value: object) -> str:
    import json

    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def run_facts(info: "SessionInfo") -> dict[str, str]:
    """What is known of a run beside what is known of any session."""
    if info.run_status is None:
        return {}
    progress = "" if info.progress is None else f"{info.progress:.4g} %"
    return {"run status": info.run_status, "progress": progress, "stage": info.stage or "", "error": info.error or ""}


def run_as_json(run: Run) -> dict[str, Any]:
    """The same for scripts: each move, and the points that the curves are drawn from."""
    metrics = {
        name: {"total": curve.total, "steps": curve.steps, "values": [_plain(value) for value in curve.values]}
        for name, curve in run.metrics.items()
    }
    return {"status_history": [asdict(change) for change in run.history], "metrics": metrics}


def _plain(value: float) -> float | str:
    """JSON has no NaN and no infinity."""
    return value if abs(value) < float("inf") else str(value)


def show_run(console: "Console", run: Run) -> None:
    """Its moves, and its curves."""
    from chatmemory.cli.terminal import clock, many, text

    if run.history:
        console.rule("status history", style="dim", align="left")
    for change in run.history:
        why = ", ".join(filter(None, [change.by and f"by {change.by}", change.reason]))
        moved = text(f"{change.old} → ") + text(change.new, STYLES.get(change.new, ""))
        console.print(text(clock(change.at), "dim"), moved, text(why, "dim"), soft_wrap=True)
    if run.metrics:
        console.rule("metrics", style="dim", align="left")
    for curve in run.metrics.values():
        seen = [value for value in curve.values if value == value] or curve.values  # NaN equals nothing
        points = f"{many(curve.total, 'point')}, least {min(seen):.4g}, greatest {max(seen):.4g}"
        console.print(text(_drawn(curve, LONG_CURVE)), text(points, "dim"), soft_wrap=True)
