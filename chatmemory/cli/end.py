"""`end`: ending sessions."""

from typing import Annotated

import typer

from chatmemory.cli.options import DEFAULT_TENANT, PostgresOption, TenantOption, memory_on, no_session


def end(
    session_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="The sessions' ids.")],
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
) -> None:
    """End sessions, so that a worker learns from them."""
    from chatmemory import ChatMemoryError, SessionNotFoundError
    from chatmemory.cli.terminal import complain, plain

    with memory_on(postgres) as memory:
        ended = memory.tenant(tenant).sessions.end_many(session_ids)
    for id, outcome in ended.items():
        if isinstance(outcome, ChatMemoryError):
            complain(no_session(id, tenant) if isinstance(outcome, SessionNotFoundError) else f"{id}: {outcome}")
        else:
            print(f"{plain(id)}: {outcome.status}")
    if any(isinstance(outcome, ChatMemoryError) for outcome in ended.values()):
        raise typer.Exit(1)
