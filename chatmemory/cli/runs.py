"""`runs`, `runs compare`, and the part of `show` about runs."""

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

CURVE = 24  # width in characters
LONG_CURVE = 60
STYLES = {"completed": "green", "running": "cyan", "failed": "red", "timeout": "red", "cancelled": "yellow"}

runs = typer.Typer(invoke_without_command=True)


class Run(NamedTuple):
    """The history and the metrics of a run."""

    history: "list[StatusChange]"
    metrics: "MetricSeries"


def run_of(session: "Session", width: int = LONG_CURVE) -> Run:
    """Read a session's status history and metrics."""
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
    where: Annotated[
        str | None,
        typer.Option(
            show_default="all runs", help="Only runs for which this holds: \"best.loss < 0.3 and kind = 'training'\"."
        ),
    ] = None,
    order_by: Annotated[
        str | None, typer.Option(show_default="newest first", help='What to order by: "metrics.accuracy desc".')
    ] = None,
    limit: Annotated[int, typer.Option(help="How many to show.")] = 20,
    offset: Annotated[int, typer.Option(help="How many to skip.")] = 0,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """List runs, newest first, each with a curve; or compare some."""
    if context.invoked_subcommand is not None:
        return
    from chatmemory import Page
    from chatmemory.cli.terminal import NARROW, many, stdout, text, to_json

    with memory_on(postgres) as memory:
        sessions = memory.tenant(tenant).sessions
        if where is None and order_by is None:
            page = sessions.list(
                user_id=user, kind=kind, runs_only=True, order="created", limit=limit, offset=offset, with_total=True
            )
        else:
            matching = sessions.runs(where, order_by=order_by, user_id=user, kind=kind, limit=limit, offset=offset)
            page = Page(tuple(run.info for run in matching), limit, offset)
        found = [(info, sessions.get(info.id).metrics(max_points=2 * CURVE)) for info in page]
    if as_json:
        listed = [{**info.to_dict(), "metrics": sorted(metrics)} for info, metrics in found]
        print(to_json({**page.to_dict(), "items": listed}))
        return
    console = stdout()
    if not page and not page.total:
        which = "No runs" if where is None else "No matching runs"
        console.print(text(f"{which} in tenant {tenant!r}{elsewhere(tenant)}."))
        return
    if console.width < NARROW:
        _show_narrow(console, found)
    else:
        console.print(_run_table(found))
    total = len(page) if page.total is None else page.total
    more = f", shown: {offset + 1}-{offset + len(page)}" if 0 < len(page) < total else ""
    if page.total is None and len(page) == limit:
        more = "; there may be more (--limit, --offset)"
    console.print(text(f"{many(total, 'run')} in tenant {tenant!r}{elsewhere(tenant)}{more}", "dim"))


def _show_narrow(console: "Console", found: "list[tuple[SessionInfo, MetricSeries]]") -> None:
    from chatmemory.cli.terminal import ago, listed, text

    for info, metrics in found:
        progress = "" if info.progress is None else f", {info.progress:.0f} %"
        status = text(info.run_status or "", STYLES.get(info.run_status or "", ""))
        rest = text(f"{progress}, {ago(info.created_at)}", "dim")
        facts = text(f"{info.kind} of {info.user_id}, ", "dim") + status + rest
        listed(console, info.id, _run_title(info), facts, text(_first_curve(metrics)))


def _run_title(info: "SessionInfo") -> "Text":
    """Return the run's title, or its model and dataset if the title repeats the id."""
    from chatmemory.cli.terminal import text

    title = " ".join((info.title or "").split())
    return text(title if title and title != info.id else _subject(info))


def _run_table(found: "list[tuple[SessionInfo, MetricSeries]]") -> Any:
    """Return a table with a line for each run; ids are never truncated."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("id", overflow="fold", no_wrap=True)
    table.add_column("title", overflow="ellipsis", no_wrap=True, max_width=40)
    table.add_column("curve", no_wrap=True)
    for name in ("user", "kind", "run status", "progress", "begun"):
        table.add_column(name, overflow="fold")
    for info, metrics in found:
        table.add_row(*_run_cells(info, metrics))
    return table


def _run_cells(info: "SessionInfo", metrics: "MetricSeries") -> list[Any]:
    from chatmemory.cli.terminal import ago, text

    status = info.run_status or ""
    return [
        text(info.id, "cyan"),
        _run_title(info),
        text(_first_curve(metrics)),
        text(info.user_id),
        text(info.kind),
        text(status, STYLES.get(status, "")),
        text("" if info.progress is None else f"{info.progress:.0f} %"),
        text(ago(info.created_at)),
    ]


def _subject(info: "SessionInfo") -> str:
    """Return the run's model and dataset."""
    from chatmemory.kinds import find

    kind = find(info.kind)
    values = [info.details.get(name) for name in kind.key_details[:2]] if kind is not None else []
    return " on ".join(str(name) for name in values if name is not None)


def _first_curve(metrics: "MetricSeries") -> str:
    from chatmemory.runs.metric_records import less_is_better

    name = next(filter(less_is_better, metrics), next(iter(metrics), None))
    return "" if name is None else _curve_line(metrics[name], CURVE)


def _curve_line(curve: "MetricCurve", width: int) -> str:
    """Return a curve as a sparkline with its name and last value."""
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

    if len(set(session_ids)) < 2:
        raise typer.BadParameter(f"one run cannot be compared; `chatmemory show {session_ids[0]}` shows it.")
    with memory_on(postgres) as memory:
        try:
            compared = memory.tenant(tenant).sessions.compare(session_ids)
        except SessionNotFoundError:
            for id in session_ids:
                session_of(memory, tenant, id)  # raises with the missing id
            raise
    if as_json:
        print(to_json(compared.to_dict()))
    else:
        stdout().print(_side_by_side(compared))


def _side_by_side(compared: "Comparison") -> Any:
    """Return a table with a column for each run; different values are bold."""
    from rich.table import Table

    from chatmemory.cli.terminal import text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("", no_wrap=True, overflow="fold")
    nested = [run.row() for run in compared]
    rows = [dict(_flattened(row)) for row in nested]
    for run in compared:
        table.add_column(text(run.info.id, "cyan"), overflow="fold")
    titles = [_run_title(run.info) for run in compared]
    if any(titles):
        table.add_row(text("title", "dim"), *titles)
    parts = (_flattened({name: row[name]}) for name in compared.columns for row in nested if name in row)
    for name in dict.fromkeys(name for part in parts for name, _ in part):
        cells = [_formatted(row.get(name)) for row in rows]
        table.add_row(text(name, "dim"), *(text(cell, "bold" if len(set(cells)) > 1 else "") for cell in cells))
    return table


def _flattened(row: "Mapping[str, Any]") -> "Iterator[tuple[str, Any]]":
    """Yield nested values under dotted names, so that differences show in lines of their own."""
    for name, value in row.items():
        if isinstance(value, dict) and value:
            yield from _flattened({f"{name}.{key}": inner for key, inner in value.items()})
        else:
            yield name, value


def _formatted(value: object) -> str:
    import json

    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def run_facts(info: "SessionInfo") -> dict[str, str]:
    """Return the facts of a run that other sessions do not have."""
    if info.run_status is None:
        return {}
    progress = "" if info.progress is None else f"{info.progress:.4g} %"
    return {"run status": info.run_status, "progress": progress, "stage": info.stage or "", "error": info.error or ""}


def run_as_json(run: Run) -> dict[str, Any]:
    """Return the status history and the points of the curves as JSON values."""
    return {"status_history": [change.to_dict() for change in run.history], "metrics": run.metrics.to_dict()}


def show_run(console: "Console", run: Run) -> None:
    """Print the status history and the curves."""
    from chatmemory.cli.terminal import clock, many, text

    if run.history:
        console.rule("status history", style="dim", align="left")
    for change in run.history:
        details = ", ".join(filter(None, [change.by and f"by {change.by}", change.reason]))
        moved = text(f"{change.old} → ") + text(change.new, STYLES.get(change.new, ""))
        console.print(text(clock(change.at), "dim"), moved, text(details, "dim"), soft_wrap=True)
    if run.metrics:
        console.rule("metrics", style="dim", align="left")
    for curve in run.metrics.values():
        numbers = [value for value in curve.values if value == value] or curve.values  # NaN equals nothing
        points = f"{many(curve.total, 'point')}, least {min(numbers):.4g}, greatest {max(numbers):.4g}"
        console.print(text(_curve_line(curve, LONG_CURVE)), text(points, "dim"), soft_wrap=True)
