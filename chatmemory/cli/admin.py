"""`migrate` and `doctor`: upgrade the schema, examine the installation."""

from typing import TYPE_CHECKING, Annotated

import typer

from chatmemory.cli.options import JsonOption, PostgresOption, memory_on

if TYPE_CHECKING:
    from chatmemory import Examination


def migrate(
    print_: Annotated[
        bool, typer.Option("--print", help="Print the SQL for an administrator instead, without connecting.")
    ] = False,
    login: Annotated[
        str | None,
        typer.Option(
            show_default="the user in the URL, else postgres",
            help="With --print: the database user the application connects as.",
        ),
    ] = None,
    postgres: PostgresOption = None,
) -> None:
    """Bring the database's schema up to date."""
    with memory_on(postgres) as memory:
        if print_:
            from chatmemory.cli.terminal import write

            write(memory.migration_script(login))
            return
        applied = memory.migrate().applied
    print("\n".join(applied) if applied else "up to date")


def doctor(
    tenant: Annotated[
        str | None, typer.Option("--tenant", show_default="none", help="Also report what this tenant spent today.")
    ] = None,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check Postgres, Redis, the schema and the isolation of tenants.

    Also report the sessions due for learning, and the features limited because something is not configured.

    Each configured model is asked one short question, which costs a few tokens. Exit with 1 if a check fails. Nothing
    is changed: a session is written to check that no other tenant can read it, and rolled back.
    """
    with memory_on(postgres) as memory:
        found = memory.examine(tenant_id=tenant)
    if as_json:
        from chatmemory.cli.terminal import to_json

        print(to_json(found.to_dict()))
    else:
        _show(found)
    if not found.ok:
        raise typer.Exit(1)


def _show(found: "Examination") -> None:
    """Print an examination for a reader."""
    from rich.table import Table

    from chatmemory.admin.installation import settings_changed
    from chatmemory.cli.terminal import stdout, text

    console = stdout()
    for check in found.checks:
        mark = text("✓ ", "green") if check.ok else text("✗ ", "bold red")
        console.print(mark + text(f"{check.name}: ", "bold") + text(check.detail), soft_wrap=True)
        if check.unchecked:
            console.print(text(f"  skipped because it failed: {', '.join(check.unchecked)}", "dim"), soft_wrap=True)
    for title, values in (
        ("server", found.server),
        ("long-term memory", found.learning),
        ("versions", found.versions),
        ("settings other than defaults (--json has all)", settings_changed(found.settings)),
    ):
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, value in values.items():
            table.add_row(text(name, "dim"), text("none" if value is None else value))
        if values:
            console.print(text(title, "italic"))
            console.print(table)
    for fallback in found.fallbacks:
        console.print(text("· ", "yellow") + text(fallback), soft_wrap=True)
    verdict = text("All is well.", "bold green") if found.ok else text("Something is wrong.", "bold red")
    console.print(verdict)
