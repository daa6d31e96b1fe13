"""`reembed`: vectors of another embedding model."""

from typing import TYPE_CHECKING, Annotated

import typer

from chatmemory.cli.options import DEFAULT_TENANT, JsonOption, PostgresOption, TenantOption, settings_for

if TYPE_CHECKING:
    from chatmemory import Settings

STEP = 1000  # memories between two lines of progress


def reembed(
    model: Annotated[str, typer.Option("--model", metavar="NAME", help="The embedding model to change to.")],
    dimensions: Annotated[
        int | None, typer.Option(min=1, max=16_000, show_default="its own", help="The length of its vectors.")
    ] = None,
    drop_old: Annotated[
        bool,
        typer.Option("--drop-old", help="At the end, remove the vectors of other models where there is a new one."),
    ] = False,
    tenant: TenantOption = DEFAULT_TENANT,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a tenant's memories vectors of another embedding model.

    Recall goes on with the old ones meanwhile. Stopped, it goes on where it was. Then set CHATMEMORY_EMBEDDING_MODEL
    to the new model, and run this once more with --drop-old: it embeds what was learnt in between. The model's
    server is CHATMEMORY_EMBEDDING_BASE_URL, else CHATMEMORY_LLM_BASE_URL.
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
    """The same settings with another embedding model."""
    if dimensions is None and model == settings.embedding_model:
        dimensions = settings.embedding_dimensions
    return type(settings).model_validate(
        {**settings.model_dump(), "embedding_model": model, "embedding_dimensions": dimensions}
    )
