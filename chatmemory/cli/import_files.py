"""`import`: import the conversations of files or of another store, each into a session of its own."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from chatmemory.cli.import_stores import Mapping, StoreName, import_store
from chatmemory.cli.import_summary import Summary, after_failure, show
from chatmemory.cli.options import DEFAULT_TENANT, JsonOption, PostgresOption, TenantOption, memory_on, user_or_me

if TYPE_CHECKING:
    from chatmemory import ImportedConversation


STDIN = "-"


def import_(
    files: Annotated[
        list[str],
        typer.Argument(metavar="FILE…", help="Files to import; - is standard input. With --from, one URL or path."),
    ],
    tenant: TenantOption = DEFAULT_TENANT,
    user: Annotated[
        str | None,
        typer.Option(
            "--user",
            show_default="the user named in the file, else CHATMEMORY_USER, else your login name",
            help="The user who gets the sessions; with --from, those whose user is not named.",
        ),
    ] = None,
    source: Annotated[
        StoreName | None, typer.Option("--from", help="Import from another library's store instead of a file.")
    ] = None,
    ids: Annotated[
        str | None,
        typer.Option(
            metavar="REGEX",
            help="With --from: parts of the whole session id, as groups (?P<tenant>…), (?P<user>…), (?P<session>…).",
        ),
    ] = None,
    table: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --from: the table, if it has another name.")
    ] = None,
    prefix: Annotated[str | None, typer.Option(metavar="TEXT", help="With --from: the prefix of Redis' keys.")] = None,
    tenant_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --from: the column (or metadata key) of the tenant.")
    ] = None,
    user_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --from: the column (or metadata key) of the user.")
    ] = None,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import conversations; a second import adds what is new.

    Accepts ChatGPT's and Claude's exports (the .zip as it is downloaded, or its conversations.json) and the JSON and
    JSON Lines that `chatmemory export` writes, of the latter the sessions. Of a conversation of ChatGPT's, the branch
    that was shown last is taken; what is left out is counted. Each conversation becomes a session under its own id,
    with its dates, and is ended; runs come with their metrics, and end as they had ended (one that had not, as
    cancelled).

    With --from, accepts the store of another library: its conversations become sessions under their own ids, as if
    they had been idle since, and go on when the app returns to them (docs/migrate.md).
    """
    mapping = Mapping(tenant, user, ids, tenant_column, user_column)
    options = {"table": table, "prefix": prefix, "tenant_column": tenant_column, "user_column": user_column}
    if source is not None:
        import_store(source, files, mapping, options, postgres, as_json=as_json)
        return
    for name, value in {**options, "ids": ids}.items():
        if value is not None:
            raise typer.BadParameter(f"--{name.replace('_', '-')} needs --from.")
    for file in files:
        if file != STDIN and not os.access(file, os.R_OK):
            raise typer.BadParameter(f"{file} does not exist, or may not be read.")
        if Path(file).is_dir():
            raise typer.BadParameter(f"{file} is a directory.")
    _import_files([Path(file) for file in files], tenant, user, postgres, as_json=as_json)


def _import_files(files: list[Path], tenant: str, user: str | None, postgres: str | None, *, as_json: bool) -> None:
    from chatmemory.cli.terminal import complain
    from chatmemory.errors import ChatMemoryError, InvalidInputError

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
                failure = f"{_name(file)}: {error}{after_failure(summary.counts['imported'] - before)}"
                if not isinstance(error, InvalidInputError):  # the other files would fail, too
                    show(summary, as_json, failed=True)
                    raise type(error)(failure) from None
                failures += 1
                complain(failure)
    show(summary, as_json, failed=bool(failures))
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
