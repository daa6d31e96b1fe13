"""`reembed`: replacing vectors by those of another embedding model."""

from typing import TYPE_CHECKING, Annotated

import typer

from chatmemory.cli.options import DEFAULT_TENANT, JsonOption, PostgresOption, TenantOption, settings_for

if TYPE_CHECKING:
    from chatmemory import Settings

STEP = 1000  # memories per line of progress


def reembed(
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="The new embedding model.")],
    dimensions: Annotated[
        int | None, typer.Option(min=1, max=16_000, show_default="the model's default", help="Length of the vectors.")
    ] = None,
    drop_old: Annotated[
        bool,
        typer.Option("--drop-old", help="Remove vectors of other models from memories that have a new one."),
    ] = False,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Embed a tenant's memories with another embedding model.

    Recall uses the old vectors meanwhile. An interrupted run continues where it stopped. Afterwards set
    CHATMEMORY_EMBEDDING_MODEL to the new model and run this again with --drop-old, which also embeds the memories
    learnt in between. The server is CHATMEMORY_EMBEDDING_BASE_URL, else CHATMEMORY_LLM_BASE_URL.
    """
    from chatmemory import ChatMemory, Reembedded
    from chatmemory.cli.terminal import note, to_json

    done = dropped = 0
    with ChatMemory.open(settings=_with_model(settings_for(postgres), model, dimensions)) as memory:
        memories = memory.tenant(tenant).memories
        while True:
            step = memories.reembed(limit=STEP)
            done += step.embedded
            if not step.left or not step.embedded:
                break
            note(f"{done:,} memories embedded, {step.left:,} to go")
        if drop_old:
            dropped = memories.reembed(drop_old=True).dropped
    report = Reembedded(embedded=done, left=step.left, dropped=dropped)
    if as_json:
        print(to_json(report.to_dict()))
    else:
        print(f"embedded: {done:,}; left: {report.left:,}; vectors of other models removed: {dropped:,}")


def _with_model(settings: "Settings", model: str, dimensions: int | None) -> "Settings":
    """Return the settings with another embedding model."""
    if dimensions is None and model == settings.embedding_model:
        dimensions = settings.embedding_dimensions
    return type(settings).model_validate(
        {**settings.model_dump(), "embedding_model": model, "embedding_dimensions": dimensions}
    )
