"""A table of a context: the parts of the next prompt and their tokens."""

from typing import TYPE_CHECKING, Any

from chatmemory.cli.terminal import many, stdout, text

if TYPE_CHECKING:
    from chatmemory import Context

WIDTH = 40
STYLES = {"system": "yellow", "messages": "cyan", "free": "dim"}


def context_as_json(context: "Context") -> dict[str, Any]:
    """Return the context, and its messages in OpenAI's format."""
    return {**context.to_dict(), "openai": context.as_openai()}


def show_context(context: "Context") -> None:
    """Print the context's parts as bars, a summary, and the omitted messages."""
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
        omitted = context.omitted
        which = f"{many(omitted.count, 'message')}, seq {omitted.from_seq} to {omitted.to_seq}"
        console.print(text(f"omitted: {which}{_reason(context)}", "yellow"))
    if context.unpaired:
        seqs = ", ".join(map(str, context.unpaired))
        console.print(text(f"omitted, a tool call or result without the other: seq {seqs}", "yellow"))


def _reason(context: "Context") -> str:
    """Return why messages were left out, and what would hold more of them."""
    if context.max_tokens is None:
        return ""
    free = context.max_tokens - context.tokens
    kept = (
        f"; {free:,} tokens are left free, so that the prompt's beginning stays the same for many turns"
        if free > 0
        else ""
    )
    return f", to stay within {context.max_tokens:,} tokens (--max-tokens){kept}"


def _bar(tokens: int, whole: int) -> str:
    """Return a bar whose full width is the budget, or the whole context without one."""
    return "█" * min(WIDTH, round(WIDTH * tokens / whole)) or "▏"


def _summary(context: "Context") -> str:
    budget = f" of {context.max_tokens:,}" if context.max_tokens is not None else ""
    counted = "counted" if context.exact_tokens else "estimated: the model's vocabulary is unknown or not loaded"
    return (
        f"{many(len(context), 'message')}, {context.tokens:,}{budget} tokens ({counted}), "
        f"read from {context.source}, prefix {context.prefix_id}"
    )
