"""`recall`: what of the past answers a question, and why."""

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
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="In plain words.")],
    user: UserOption = None,
    k: Annotated[int, typer.Option("-k", min=1, max=1000, help="How many memories at most.")] = 10,
    explain: Annotated[
        bool, typer.Option("--explain", help="Show why each came: its score, its ranks, its sources, its trust.")
    ] = False,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recall what a user's memories say to a question, best first.

    The ranks: "lexical" is the place by words, "vector" the place by meaning, which there is with an embedder
    (CHATMEMORY_EMBEDDING_MODEL) alone.
    """
    from chatmemory.cli.terminal import stdout, text, to_json

    whose = user_or_me(user)
    with memory_on(postgres) as memory:
        found = memory.tenant(tenant).memories.recall(question, user_id=whose, k=k)
    if as_json:
        print(to_json([each.to_dict() for each in found]))
        return
    console = stdout()
    if not found:
        console.print(text(f"Nothing that user {whose!r} of tenant {tenant!r} said answers that{elsewhere(tenant)}."))
    for each in found:
        _show(console, each, explain=explain)


def _show(console: "Console", recalled: "Recalled", *, explain: bool) -> None:
    from chatmemory.cli.terminal import clock, text

    memory = recalled.memory
    head = text(clock(memory.valid_from), "dim") + text(f" {memory.speaker or memory.trust}: ", "bold cyan")
    console.print(head + text(" ".join(memory.text.split())), soft_wrap=True)
    if explain:
        ranks = ", ".join(f"{name} {rank}" for name, rank in recalled.ranks.items())
        sources = ", ".join(map(source_of, memory.sources)) or "the app"
        why = f"{memory.kind} {memory.id}, score {recalled.score:.3f} ({ranks}), trust {memory.trust}, from {sources}"
        console.print(text(f"  {why}", "dim"), soft_wrap=True)
