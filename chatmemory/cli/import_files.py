"""`import`: import the conversations of a file, each into a session of its own."""

import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from chatmemory.cli.options import DEFAULT_TENANT, JsonOption, PostgresOption, TenantOption, memory_on, user_or_me

if TYPE_CHECKING:
    from chatmemory import ImportedConversation


STDIN = "-"


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


def import_(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", help="Files to import; - is standard input."),
    ],
    tenant: TenantOption = DEFAULT_TENANT,
    user: Annotated[
        str | None,
        typer.Option(
            "--user",
            show_default="the user named in the file, else CHATMEMORY_USER, else your login name",
            help="The user who gets the sessions.",
        ),
    ] = None,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import conversations; a second import adds what is new.

    Accepts ChatGPT's and Claude's exports (the .zip as it is downloaded, or its conversations.json) and the JSON that
    `chatmemory export` writes. Of a conversation of ChatGPT's, the branch that was shown last is taken; what is left
    out is counted. Each conversation becomes a session under its own id, with its dates, and is ended; runs come with
    their metrics, and end as they had ended (one that had not, as cancelled).
    """
    from chatmemory.cli.terminal import complain
    from chatmemory.errors import ChatMemoryError, InvalidInputError

    for file in files:
        if str(file) != STDIN and not os.access(file, os.R_OK):
            raise typer.BadParameter(f"{file} does not exist, or may not be read.")
        if file.is_dir():
            raise typer.BadParameter(f"{file} is a directory.")
    summary = Summary()
    me = user_or_me(os.environ.get("CHATMEMORY_USER"))
    failures = 0
    with memory_on(postgres) as memory:
        for file in files:
            before = summary.counts["imported"]
            try:
                with _opened(file) as source:
                    results = memory.tenant(tenant).import_conversations(source, user_id=user, default_user_id=me)
                    for result in _with_progress(results, source):
                        summary.add(result)
            except ChatMemoryError as error:
                failure = f"{_name(file)}: {error} {_after_failure(summary.counts['imported'] - before)}"
                if not isinstance(error, InvalidInputError):  # the other files would fail, too
                    _show(summary, as_json, failed=True)
                    raise type(error)(failure) from None
                failures += 1
                complain(failure)
    _show(summary, as_json, failed=bool(failures))
    if failures or summary.of("refused"):
        raise typer.Exit(1)


def _name(file: Path) -> str:
    return "standard input" if str(file) == STDIN else str(file)


@contextmanager
def _opened(file: Path) -> Iterator[BinaryIO]:
    """Open a file; standard input is copied to a temporary one, since it cannot be read twice."""
    if str(file) != STDIN:
        with file.open("rb") as source:
            yield source
        return
    with TemporaryFile() as copy:
        shutil.copyfileobj(sys.stdin.buffer, copy)
        copy.seek(0)
        yield copy


def _after_failure(count: int) -> str:
    were = "conversation before it was" if count == 1 else "conversations before it were"
    stored = f"The {count:,} {were} imported. " if count else ""
    return f"{stored}Importing again is safe: it adds only what is missing."


def _with_progress(results: "Iterator[ImportedConversation]", source: BinaryIO) -> "Iterator[ImportedConversation]":
    """Yield the results, with a progress bar on stderr by bytes read."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from chatmemory.cli.terminal import stderr

    console = stderr()
    columns = (TextColumn("importing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("importing", total=os.fstat(source.fileno()).st_size)
        for result in results:
            progress.update(task, completed=source.tell())
            yield result


def _show(summary: Summary, as_json: bool, *, failed: bool = False) -> None:
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
        yield f"{many(unchanged, 'conversation')} already there, unchanged."
    if empty:
        yield f"{many(empty, 'conversation')} without a message left out."
    if summary.left_out:
        yield "Left out: " + ", ".join(f"{name} ({count:,})" for name, count in summary.left_out.most_common()) + "."
    for refused in summary.of("refused"):
        yield f"{refused.id} could not be imported: {refused.reason}"
