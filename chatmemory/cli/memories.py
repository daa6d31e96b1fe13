"""`memories`: listing, showing, correcting, forgetting and pruning memories."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatmemory.cli.options import DEFAULT_TENANT, JsonOption, PostgresOption, TenantOption, elsewhere, memory_on

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.text import Text

    from chatmemory import Memory, MemorySource

CENTURY_DAYS = 36_500
MAX_PRUNED = 1_000_000
BESIDE_TEXT = 90  # columns for the id, the kind, the date and a user's name

MemoryArgument = Annotated[str, typer.Argument(metavar="ID", help="The memory's id.")]
UsersOption = Annotated[
    str | None, typer.Option("--user", show_default="all users", help="Only the memories of this user.")
]

memories = typer.Typer(help="List, show, correct, forget or prune memories.", no_args_is_help=True)


@memories.command(name="list")
def list_(
    user: UsersOption = None,
    kind: Annotated[
        str | None, typer.Option(show_default="all", help="Only episode, summary, fact, preference or result.")
    ] = None,
    closed: Annotated[bool, typer.Option("--closed", help="Include superseded memories.")] = False,
    limit: Annotated[int, typer.Option(help="How many to show.")] = 20,
    offset: Annotated[int, typer.Option(help="How many to skip.")] = 0,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """List memories, newest first."""
    from chatmemory.cli.terminal import many, stdout, text

    kinds: Any = [kind] if kind else None  # the library checks it
    with memory_on(postgres) as memory:
        page = memory.tenant(tenant).memories.list(
            user_id=user, kinds=kinds, include_closed=closed, limit=limit, offset=offset, with_total=True
        )
    if as_json:
        _print_json(page.to_dict())
        return
    if not page.total:
        stdout().print(text(f"No memories in tenant {tenant!r}{elsewhere(tenant)}."))
        return
    _show_list(list(page))
    more = f", shown: {offset + 1}-{offset + len(page)}" if 0 < len(page) < page.total else ""
    stdout().print(text(f"{many(page.total, 'memory')} in tenant {tenant!r}{elsewhere(tenant)}{more}", "dim"))


def _print_json(value: Any) -> None:
    from chatmemory.cli.terminal import to_json

    print(to_json(value))


def _show_list(found: "Sequence[Memory]") -> None:
    from chatmemory.cli.terminal import NARROW, listed, stdout, text

    console = stdout()
    if console.width >= NARROW:
        console.print(_table(found, console.width - BESIDE_TEXT))
        return
    for memory in found:
        about = text(f"{memory.kind} of {memory.user_id or 'all'}, {_span(memory)}", "dim")
        listed(console, memory.id, about, _styled_text(memory))


def _styled_text(memory: "Memory") -> "Text":
    from chatmemory.cli.terminal import text

    return text(" ".join(memory.text.split()), "strike" if memory.valid_to else "")


def _table(found: "Sequence[Memory]", room: int) -> Any:
    """Return a table with a line for each memory; ids are never truncated."""
    from rich.table import Table

    from chatmemory.cli.terminal import clock, text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    table.add_column("id", no_wrap=True)
    for name in ("user", "kind"):
        table.add_column(name, overflow="fold")
    table.add_column("since", no_wrap=True)
    has_closed = any(memory.valid_to for memory in found)
    if has_closed:
        table.add_column("until", no_wrap=True)
    table.add_column("text", overflow="ellipsis", no_wrap=True, max_width=room)
    for memory in found:
        cells = [text(memory.id, "cyan"), text(memory.user_id or "(all)"), text(memory.kind)]
        times = [memory.valid_from, memory.valid_to] if has_closed else [memory.valid_from]
        table.add_row(*cells, *(text(clock(at)) for at in times), _styled_text(memory))
    return table


@memories.command()
def show(
    memory_id: MemoryArgument,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a memory, its sources and its history.

    The history has the memories it superseded and those that superseded it.
    """
    with memory_on(postgres) as memory:
        of_tenant = memory.tenant(tenant).memories
        found, history = of_tenant.get(memory_id), of_tenant.history(memory_id)
    if as_json:
        _print_json({"memory": found.to_dict(), "history": [each.to_dict() for each in history]})
    else:
        _show_memory(found, history)


def _show_memory(memory: "Memory", history: "Sequence[Memory]") -> None:
    from rich.table import Table

    from chatmemory.cli.terminal import stdout, text

    console = stdout()
    console.print(text(memory.text, "bold"), soft_wrap=True)
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(memory).items():
        facts.add_row(text(name, "dim"), text(value))
    console.print(facts)
    if len(history) > 1:
        console.rule("history", style="dim", align="left")
        for each in history:
            mark = "→ " if each.id == memory.id else "  "
            console.print(text(mark + _span(each), "dim"), text(each.id, "cyan"), text(each.text), soft_wrap=True)


def _facts(memory: "Memory") -> dict[str, str]:
    from chatmemory.cli.terminal import clock, many

    facts = {
        "id": memory.id,
        "user": memory.user_id or "(all of the tenant)",
        "kind": memory.kind,
        "speaker": memory.speaker or "",
        "trust": memory.trust,
        "importance": f"{memory.importance:.2f}",
        "valid": _span(memory),
        "superseded by": memory.superseded_by or "",
        "sources": "\n".join(map(source_of, memory.sources)) or "the app",
        "confirmed": many(memory.confirmations, "time") if memory.confirmations else "",
        "recalled": f"{many(memory.recall_count, 'time')}, last {clock(memory.recalled_at)}"
        if memory.recall_count
        else "never",
    }
    return {name: value for name, value in facts.items() if value}


def _span(memory: "Memory") -> str:
    from chatmemory.cli.terminal import clock

    until = f"until {clock(memory.valid_to)}" if memory.valid_to else ""
    return " ".join(filter(None, [f"since {clock(memory.valid_from)}", until]))


def source_of(source: "MemorySource") -> str:
    """Format the source of a memory."""
    last = f" to {source.to_seq}" if source.to_seq != source.from_seq else ""
    noun = "messages" if last else "message"
    return f"session {source.session_id}, {noun} {source.from_seq}{last}"


@memories.command()
def correct(
    memory_id: MemoryArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The correct text.")],
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Replace a wrong memory by the correct text.

    The wrong memory is superseded and stays readable.
    """
    with memory_on(postgres) as memory:
        of_tenant = memory.tenant(tenant).memories
        found = of_tenant.correct(memory_id, text)
        history = of_tenant.history(found.id)
    if as_json:
        _print_json({"memory": found.to_dict(), "history": [each.to_dict() for each in history]})
    else:
        _show_memory(found, history)


@memories.command()
def forget(memory_id: MemoryArgument, tenant: TenantOption = DEFAULT_TENANT, postgres: PostgresOption = None) -> None:
    """Remove a memory for good."""
    with memory_on(postgres) as memory:
        memory.tenant(tenant).memories.forget(memory_id)
    print("forgotten")


@memories.command()
def prune(
    older_than: Annotated[
        float | None,
        typer.Option(
            "--older-than",
            metavar="DAYS",
            min=0,
            max=CENTURY_DAYS,
            help="At least this many days old; required unless --undo.",
        ),
    ] = None,
    max_importance: Annotated[
        float, typer.Option("--max-importance", metavar="X", min=0, max=1, help="Maximum importance, from 0 to 1.")
    ] = 0.5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show which memories would be closed.")] = False,
    undo: Annotated[bool, typer.Option("--undo", help="Reopen all memories that were ever pruned.")] = False,
    user: UsersOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Close old, unimportant memories; --undo reopens them.

    Only memories that were never recalled are closed. Nothing is removed. Use --dry-run first.
    """
    from chatmemory.cli.terminal import many

    if undo == (older_than is not None) or (undo and dry_run):
        raise typer.BadParameter("Give either --older-than, with or without --dry-run, or --undo.")
    with memory_on(postgres) as memory:
        of_tenant = memory.tenant(tenant).memories
        if older_than is None:
            opened = of_tenant.unprune(user)
            print(f'{{"opened": {opened}}}' if as_json else f"{many(opened, 'memory')} reopened")
            return
        found = of_tenant.prune(
            older_than=timedelta(days=older_than),
            max_importance=max_importance,
            user_id=user,
            dry_run=dry_run,
            limit=MAX_PRUNED,
        )
    if as_json:
        _print_json({"dry_run": dry_run, "memories": [each.to_dict() for each in found]})
        return
    if found:
        _show_list(found)
    print(f"{many(len(found), 'memory')} {'would be closed' if dry_run else 'closed'}")
