"""Figures for notebooks. Each function returns a figure and displays nothing itself."""

from collections.abc import Sequence
from datetime import UTC, datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

from chatmemory.context.records import Context
from chatmemory.errors import missing_extra
from chatmemory.memories.records import Memory
from chatmemory.records import shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = ("prompt", "system", "summary", "memories", "messages")
SIZE = (9.0, 4.0)


def plot_contexts(contexts: Sequence[Context]) -> "Figure":
    """Plot the tokens of each part of the prompt over the turns of a conversation, and the budget as a line.

    If messages are omitted without a summary, a second plot shows their number.

    Args:
        contexts: The context of each turn, oldest first.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure()
    turns = range(1, len(contexts) + 1)
    omitted = [context.omitted.count if context.omitted else 0 for context in contexts]
    axes, *rest = figure.subplots(
        1 + any(omitted), sharex=True, squeeze=False, height_ratios=(3, 1)[: 1 + any(omitted)]
    )[:, 0]
    parts = [part for part in PARTS if any(context.tokens_by_part.get(part) for context in contexts)]
    layers = [[context.tokens_by_part.get(part, 0) for context in contexts] for part in parts]
    if layers:
        axes.stackplot(turns, layers, labels=parts)
    budgets = [context.max_tokens for context in contexts if context.max_tokens is not None]
    if contexts and len(budgets) == len(contexts):
        axes.plot(turns, budgets, color="black", linestyle="--", label="budget")
    axes.set(ylabel="tokens", ylim=(0, None))
    for below in rest:
        below.fill_between(turns, omitted, color="gray", step="mid")
        below.set(ylabel="omitted", ylim=(0, None))
    figure.axes[-1].set_xlabel("turn")
    if contexts:
        figure.legend(loc="outside upper center", ncols=len(parts) + 1, frameon=False, fontsize="small")
    return figure


def plot_timeline(memories: Sequence[Memory]) -> "Figure":
    """Plot the validity of memories as bars, oldest on top.

    Args:
        memories: Facts and preferences, superseded ones included.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure = _figure()
    from matplotlib.dates import ConciseDateFormatter

    axes = figure.add_subplot()
    now = datetime.now(UTC)
    ordered = sorted(memories, key=lambda memory: memory.valid_from, reverse=True)
    for row, memory in enumerate(ordered):
        until = memory.valid_to or now
        style: dict[str, Any] = {"color": "tab:blue" if memory.valid_to is None else "lightgray", "height": 0.6}
        axes.barh(row, until - memory.valid_from, left=memory.valid_from, **style)  # type: ignore[arg-type]  # dates are accepted
    axes.set_yticks(range(len(ordered)), [_label(memory.text) for memory in ordered])
    axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))  # type: ignore[no-untyped-call]
    return figure


def _label(text: str) -> str:
    return shorten(text, 50).replace("$", r"\$")  # a dollar sign starts a formula


def _figure() -> "Figure":
    """Return an empty figure that a notebook displays without pyplot."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise missing_extra("A plot", "matplotlib", "notebook") from None

    class Shown(Figure):
        def _repr_png_(self) -> bytes:
            buffer = BytesIO()
            self.savefig(buffer, format="png", dpi=80)
            return buffer.getvalue()

    return Shown(figsize=SIZE, layout="constrained")
