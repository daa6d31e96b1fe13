"""`users`: listing, exporting and erasing users."""

from typing import Annotated

import typer

from chatmemory.cli.manage import LimitOption, OffsetOption, YesOption, confirm, names, receipt
from chatmemory.cli.options import DEFAULT_TENANT, JsonOption, PostgresOption, TenantOption, memory_on
from chatmemory.cli.sessions import OutputOption, write_lines

users = typer.Typer(help="List, export or erase users.", no_args_is_help=True)
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="The user's id.")]


@users.command(name="list")
def list_(
    limit: LimitOption = 100,
    offset: OffsetOption = 0,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the users of whom something is stored."""
    with memory_on(postgres) as memory:
        page = memory.tenant(tenant).users.list(limit=limit, offset=offset)
    rows = [(each.id, each.sessions, each.last_active_at) for each in page]
    names(page, rows, ("user", "sessions", "last active"), as_json=as_json)


@users.command()
def export(
    user: UserArgument,
    output: OutputOption = None,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
) -> None:
    """Write everything that is stored about a user, as JSON Lines: for the user, or for archives."""
    with memory_on(postgres) as memory:
        write_lines(memory.tenant(tenant).users.export(user), output)


@users.command()
def erase(
    user: UserArgument,
    yes: YesOption = False,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove everything that is stored about a user, for good."""
    confirm(f"Erase everything of user {user!r} in tenant {tenant!r} for good?", yes=yes)
    with memory_on(postgres) as memory:
        receipt(f"user {user}", memory.tenant(tenant).users.erase(user), as_json=as_json)
