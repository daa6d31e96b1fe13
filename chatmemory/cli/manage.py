"""`tenants`, `rename`, `delete`, `restore`, `erase`: what there is, and what becomes of it."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chatmemory.cli.options import (
    DEFAULT_TENANT,
    JsonOption,
    PostgresOption,
    SessionArgument,
    TenantOption,
    elsewhere,
    memory_on,
    session_of,
)

if TYPE_CHECKING:
    from chatmemory import ChatMemory, Erasure

SessionsArgument = Annotated[list[str], typer.Argument(metavar="ID...", help="The sessions' ids.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
THINGS = {  # that an erasure counts
    "sessions": "session", "messages": "message", "events": "event", "memories": "memory", "spend": "expense",
    "metrics": "metric point", "items": "item",
}  # fmt: skip
LimitOption = Annotated[int, typer.Option(min=1, help="How many to show.")]
OffsetOption = Annotated[int, typer.Option(min=0, help="How many to skip.")]


def tenants(
    limit: LimitOption = 100, offset: OffsetOption = 0, postgres: PostgresOption = None, as_json: JsonOption = False
) -> None:
    """List the tenants that have sessions."""
    with memory_on(postgres) as memory:
        page = memory.tenants(limit=limit, offset=offset)
    names(page, [(each.id, each.last_active_at) for each in page], ("tenant", "last active"), as_json=as_json)


def names(page: Any, rows: list[tuple[Any, ...]], columns: tuple[str, ...], *, as_json: bool) -> None:
    """Print a page of tenants or users: its first column has ids, its last one a time."""
    from rich.table import Table

    from chatmemory.cli.terminal import ago, stdout, text, to_json

    if as_json:
        print(to_json(page.to_dict()))
        return
    console = stdout()
    if not rows:
        console.print(text(f"No {columns[0]}s."))
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for id, *between, at in rows:
        table.add_row(text(id, "cyan"), *(f"{count:,}" for count in between), text(ago(at) if at else "never"))
    console.print(table)
    if page.next:
        console.print(text("More follow: --offset.", "dim"))


def rename(
    session_id: SessionArgument,
    title: Annotated[str, typer.Argument(metavar="TITLE", help="The new title.")],
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
) -> None:
    """Give a session another title."""
    if not title.strip():
        raise typer.BadParameter("TITLE is empty; give a title.")
    with memory_on(postgres) as memory:
        session_of(memory, tenant, session_id).update(title=title)
    print(f"{session_id}: renamed")


def delete(
    session_ids: SessionsArgument, tenant: TenantOption = DEFAULT_TENANT, postgres: PostgresOption = None
) -> None:
    """Hide sessions everywhere, until they are restored."""
    with memory_on(postgres) as memory:
        each(session_ids, "deleted", lambda id: session_of(memory, tenant, id).delete())


def restore(
    session_ids: SessionsArgument, tenant: TenantOption = DEFAULT_TENANT, postgres: PostgresOption = None
) -> None:
    """Show deleted sessions again."""
    with memory_on(postgres) as memory:
        each(session_ids, "restored", lambda id: _restore(memory, tenant, id))


def _restore(memory: "ChatMemory", tenant: str, id: str) -> None:
    from chatmemory.errors import SessionNotFoundError

    try:
        memory.tenant(tenant).sessions.restore(id)
    except SessionNotFoundError:
        try:
            memory.tenant(tenant).sessions.get(id)
        except SessionNotFoundError:
            problem = f"There is no session {id!r} in tenant {tenant!r}{elsewhere(tenant)}, deleted or not: erased?"
        else:
            problem = f"Session {id!r} is not deleted; `chatmemory show` shows it."
        raise SessionNotFoundError(problem) from None


def erase(
    session_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="The sessions' ids.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Erase the whole tenant instead.")] = False,
    yes: YesOption = False,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove sessions, or the whole tenant, for good.

    Restore a deleted session before you erase it.
    """
    if bool(session_ids) == everything:
        raise typer.BadParameter("give the ids of sessions, or --all.")
    from chatmemory.cli.terminal import many

    these = f"{many(len(session_ids or ()), 'session')} with messages and memories"
    what = f"everything of tenant {tenant!r}" if everything else these
    confirm(f"Erase {what} for good?", yes=yes)
    with memory_on(postgres) as memory:
        if everything:
            receipt(f"tenant {tenant}", memory.tenant(tenant).erase(), as_json=as_json)
            return

        def gone(id: str) -> None:
            receipt(id, session_of(memory, tenant, id).erase(), as_json=as_json)

        each(session_ids or [], "", gone)


def each(ids: list[str], done: str, act: Callable[[str], object]) -> None:
    """Do something with each id; a failure of one stops none of the others, and the exit code is 1."""
    from chatmemory.cli.terminal import complain
    from chatmemory.errors import SessionError

    failed = False
    for id in ids:
        try:
            act(id)
        except SessionError as error:
            complain(str(error))
            failed = True
        else:
            if done:
                print(f"{id}: {done}")
    if failed:
        raise typer.Exit(1)


def confirm(question: str, *, yes: bool) -> None:
    """Ask before something is removed for good; without a terminal, --yes is needed."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise typer.BadParameter("this cannot be undone: give --yes.")
    typer.confirm(question, abort=True, err=True)


def receipt(what: str, erased: "Erasure", *, as_json: bool) -> None:
    """Print what an erasure has removed."""
    from chatmemory.cli.terminal import many, plain, to_json

    counts = erased.to_dict()
    if as_json:
        print(to_json({"erased": what, **counts}))
        return
    gone = ", ".join(many(count, THINGS[name]) for name, count in counts.items() if count) or "nothing"
    print(plain(f"{what}: erased {gone}"))
