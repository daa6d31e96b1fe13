"""Figures for notebooks."""

from dataclasses import replace
from datetime import timedelta

from chatmemory import Context, plot_contexts, plot_timeline
from chatmemory.context.trimming import build
from chatmemory.messages.token_counts import ESTIMATE
from tests.unit.conversations import message, request, whole
from tests.unit.test_display import WHEN, memory


def contexts_of(turns: int) -> list[Context]:
    """The contexts of a conversation that outgrows its budget."""
    said = [message(seq, "user", "word " * 20) for seq in range(1, turns + 1)]
    return [build(whole(said[:end]), request(200, system="Be brief."), ESTIMATE, "s") for end in range(1, turns + 1)]


def test_what_a_prompt_holds() -> None:
    """A layer for each part, the budget as a line, and below how many messages are left out."""
    figure = plot_contexts(contexts_of(20))
    tokens, omitted = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["prompt", "system", "messages", "budget"]
    assert list(tokens.lines[0].get_ydata()) == [200] * 20  # type: ignore[arg-type]
    assert (tokens.get_ylabel(), omitted.get_ylabel(), omitted.get_xlabel()) == ("tokens", "omitted", "turn")
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_nothing_omitted_and_nothing_at_all() -> None:
    """Without omitted messages there is one plot; without contexts or memories it is empty."""
    assert len(plot_contexts(contexts_of(2)).axes) == 1
    for figure in (plot_contexts([]), plot_timeline([])):
        assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_when_memories_hold() -> None:
    """A bar for each, the oldest on top, grey where it has ended; dollars begin no formula, markup is text."""
    old = replace(memory("It costs $5 or $6 <b>"), valid_to=WHEN + timedelta(days=20))
    new = replace(memory("A later one"), valid_from=WHEN + timedelta(days=9))
    figure = plot_timeline([old, new])
    [axes] = figure.axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["A later one", r"It costs \$5 or \$6 <b>"]
    assert axes.patches[1].get_path().get_extents(axes.patches[1].get_patch_transform()).width == 20
    assert axes.patches[0].get_facecolor() != axes.patches[1].get_facecolor()
    figure.canvas.draw()
    assert [label.get_text() for label in axes.get_xticklabels()][:1] != [""]
