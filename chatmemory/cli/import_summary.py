"""The results of an import, counted and shown."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chatmemory import ImportedConversation


class Summary:
    """Counts of an import's results, and the grown and refused conversations themselves."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.messages = 0
        self.left_out: Counter[str] = Counter()
        self.shown: list[ImportedConversation] = []

    def add(self, result: "ImportedConversation") -> None:
        """Count a result."""
        self.counts[result.outcome] += 1
        self.messages += result.messages
        self.left_out.update(result.left_out)
        if result.outcome in ("grown", "refused"):
            self.shown.append(result)

    def of(self, outcome: str) -> "list[ImportedConversation]":
        """Return the grown or the refused ones."""
        return [result for result in self.shown if result.outcome == outcome]

    def as_json(self) -> dict[str, Any]:
        """Return the counts, and the grown and refused conversations."""
        counts = {outcome: self.counts[outcome] for outcome in ("imported", "unchanged", "empty")}
        shown = {outcome: [each.to_dict() for each in self.of(outcome)] for outcome in ("grown", "refused")}
        return {**counts, "messages": self.messages, "left_out": dict(self.left_out), **shown}


def show(summary: Summary, as_json: bool, *, failed: bool = False) -> None:
    """Print the results."""
    from chatmemory.cli.terminal import plain, stdout, to_json

    if as_json:
        print(to_json(summary.as_json()))
        return
    console = stdout()
    for line in _lines(summary, failed=failed or bool(summary.of("refused"))):
        console.print(plain(line), markup=False, soft_wrap=True)


def _lines(summary: Summary, *, failed: bool) -> Iterator[str]:
    from chatmemory.cli.terminal import many

    imported, unchanged, empty = (summary.counts[outcome] for outcome in ("imported", "unchanged", "empty"))
    grown = summary.of("grown")
    added = sum(each.messages for each in grown)
    if imported:
        yield f"Imported {many(imported, 'conversation')} with {many(summary.messages - added, 'message')}."
    if grown:
        yield f"Added {many(added, 'new message')} to {many(len(grown), 'conversation')} imported before."
    if not (imported or grown or failed):
        yield "Nothing new to import."
    if unchanged:
        yield f"Unchanged since the last import: {many(unchanged, 'conversation')}."
    if empty:
        yield f"Left out, without messages: {many(empty, 'conversation')}."
    if summary.left_out:
        yield "Left out: " + ", ".join(f"{name} ({count:,})" for name, count in summary.left_out.most_common()) + "."
    for refused in summary.of("refused"):
        yield f"{refused.id} could not be imported: {refused.reason}"


def after_failure(count: int) -> str:
    """Return what an import had stored when it failed; nothing if that is nothing."""
    if not count:
        return ""
    were = "conversation before it was" if count == 1 else "conversations before it were"
    return f" The {count:,} {were} imported. Importing again is safe: it adds only what is missing."
