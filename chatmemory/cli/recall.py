"""`recall`: searching memories."""

from typing import TYPE_CHECKING, Annotated

import typer

from chatmemory.cli.memories import source_of
from chatmemory.cli.options import (
    DEFAULT_TENANT,
    JsonOption,
    PostgresOption,
    TenantOption,
    UserOption,
    elsewhere,
    memory_on,
    user_or_me,
)

if TYPE_CHECKING:
    from rich.console import Console

    from chatmemory import Recalled


def recall(
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="The question, in plain words.")],
    user: UserOption = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="Maximum number of memories.")] = 10,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show each memory's score, ranks, sources and trust.")
    ] = False,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recall a user's memories that answer a question, best first.

    The "lexical" rank is by words. The "vector" rank is by meaning and needs an embedder
    (CHATMEMORY_EMBEDDING_MODEL).
    """
    from chatmemory.cli.terminal import stdout, text, to_json

    user_id = user_or_me(user)
    with memory_on(postgres) as memory:
        recalled = memory.tenant(tenant).memories.recall(question, user_id=user_id, k=k)
    if as_json:
        print(to_json([each.to_dict() for each in recalled]))
        return
    console = stdout()
    if not recalled:
        console.print(text(f"No memory of user {user_id!r} in tenant {tenant!r} answers that{elsewhere(tenant)}."))
    for each in recalled:
        _show(console, each, explain=explain)


def _show(console: "Console", recalled: "Recalled", *, explain: bool) -> None:
    from chatmemory.cli.terminal import clock, text

    memory = recalled.memory
    head = text(clock(memory.valid_from), "dim") + text(f" {memory.speaker or memory.trust}: ", "bold cyan")
    console.print(head + text(" ".join(memory.text.split())), soft_wrap=True)
    if explain:
        ranks = ", ".join(f"{name} {rank}" for name, rank in recalled.ranks.items())
        sources = ", ".join(map(source_of, memory.sources)) or "the app"
        details = (
            f"{memory.kind} {memory.id}, score {recalled.score:.3f} ({ranks}), trust {memory.trust}, from {sources}"
        )
        console.print(text(f"  {details}", "dim"), soft_wrap=True)
