"""What the next prompt would get, and what each part of it costs."""

from typing import TYPE_CHECKING, Any

from chatmemory.cli.terminal import many, stdout, text

if TYPE_CHECKING:
    from chatmemory import Context

WIDTH = 40
STYLES = {"system": "yellow", "messages": "cyan", "free": "dim"}


def context_as_json(context: "Context") -> dict[str, Any]:
    """The context, and the messages a model would be sent."""
    return {**context.to_dict(), "openai": context.as_openai()}


def show_context(context: "Context") -> None:
    """Its parts as bars, what it holds, and what was left out."""
    from rich.table import Table

    console = stdout()
    console.rule("the next prompt", style="dim", align="left")
    whole = context.max_tokens or context.tokens or 1
    parts = {name: tokens for name, tokens in context.tokens_by_part.items() if tokens}
    if context.max_tokens is not None:
        parts["free"] = context.max_tokens - context.tokens
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    for name, tokens in parts.items():
        table.add_row(text(name), f"{tokens:,}", text(_bar(tokens, whole), STYLES.get(name, "")))
    console.print(table)
    console.print(text(_summary(context), "dim"))
    if context.omitted is not None:
        left_out = context.omitted
        console.print(
            text(f"left out: {many(left_out.count, 'message')}, seq {left_out.from_seq} to {left_out.to_seq}", "yellow")
        )
    if context.unpaired:
        seqs = ", ".join(map(str, context.unpaired))
        console.print(text(f"left out, a tool call or result without the other: seq {seqs}", "yellow"))


def _bar(tokens: int, whole: int) -> str:
    """A bar whose full width is the budget, or all of it where there is none."""
    return "█" * min(WIDTH, round(WIDTH * tokens / whole)) or "▏"


def _summary(context: "Context") -> str:
    budget = f" of {context.max_tokens:,}" if context.max_tokens is not None else ""
    counted = "counted" if context.exact_tokens else "not exact: the model's vocabulary is not known or not at hand"
    return (
        f"{many(len(context), 'message')}, {context.tokens:,}{budget} tokens ({counted}), "
        f"read from {context.source}, prefix {context.prefix_id}"
    )
