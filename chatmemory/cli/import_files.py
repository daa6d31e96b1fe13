"""`import`: conversations out of a file, each into a session of its own that has ended."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from chatmemory.cli.options import DEFAULT_TENANT, JsonOption, PostgresOption, TenantOption

if TYPE_CHECKING:
    from chatmemory import ChatMemory, Session, Sessions
    from chatmemory.files.imports import Conversation, Measured, Refused
    from chatmemory.messages.records import NewMessage

BATCH_BYTES = 1_000_000
BATCH_MESSAGES = 500
NO_LIMIT = 1_000_000_000  # an import must not end the sessions its user is in


@dataclass
class Summary:
    """What an import did."""

    imported: int = 0
    messages: int = 0
    unchanged: int = 0
    empty: int = 0
    grown: list[dict[str, Any]] = field(default_factory=list)
    refused: list[dict[str, str]] = field(default_factory=list)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True)],
    tenant: TenantOption = DEFAULT_TENANT,
    user: Annotated[
        str | None,
        typer.Option(
            "--user",
            show_default="whose the file says they were, else CHATMEMORY_USER, else your login name",
            help="Whose sessions they become.",
        ),
    ] = None,
    postgres: PostgresOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import conversations from a file; running it twice adds nothing.

    Understood are ChatGPT's conversations.json, of which the active branch of each conversation is taken, and the
    JSON that `chatmemory export` writes. Each conversation becomes a session under its own id, and is ended; runs come
    with their metrics, and end as they had ended (one that had not, as cancelled).
    """
    from chatmemory.errors import ChatMemoryError

    summary = Summary()
    with _unlimited_memory(postgres) as memory, file.open("rb") as source:
        importer = Importer(memory, tenant, user, summary)
        try:
            importer.take(_with_progress(source))
        except ChatMemoryError as error:
            _show(summary, as_json, failed=True)
            raise type(error)(f"{file}: {error} {_after_failure(summary)}") from None
    _show(summary, as_json)
    if summary.refused:
        raise typer.Exit(1)


def _after_failure(summary: Summary) -> str:
    from chatmemory.cli.terminal import many

    stored = f"Imported before that, and kept: {many(summary.imported, 'conversation')}. " if summary.imported else ""
    return f"{stored}Importing again is safe: what is there is not added twice."


def _unlimited_memory(postgres: str | None) -> "ChatMemory":
    from chatmemory import ChatMemory
    from chatmemory.cli.options import settings_for

    settings = settings_for(postgres).model_copy(update={"max_sessions_per_user": NO_LIMIT})
    return ChatMemory.open(settings=settings)


def _with_progress(source: BinaryIO) -> "Iterator[Conversation | Refused]":
    """The conversations of a file, with a bar on stderr that follows the bytes read."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from chatmemory.cli.terminal import stderr
    from chatmemory.files.imports import conversations, size_of

    console = stderr()
    columns = (TextColumn("importing"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("importing", total=size_of(source))
        for conversation in conversations(source):
            progress.update(task, completed=source.tell())
            yield conversation


def measure(session: "Session", metrics: "Iterable[Measured]", *, again: bool) -> None:
    """Log what a run measured; of an import that was interrupted, what is not there yet."""
    stored = session.metrics() if again else {}
    known = {(curve.name, point.step, point.at) for curve in stored.values() for point in curve}
    for name, *columns in metrics:
        for step, value, at in zip(*columns, strict=True):
            if (name, step, at) not in known:
                session.log_metrics({name: value}, step=step, at=at)


def finish(session: "Session", conversation: "Conversation") -> None:
    """End a session as it had ended; a run that had not is cancelled, as nobody goes on with it here."""
    from chatmemory.kinds import find

    run, kind = conversation.run, find(conversation.kind)
    went_on = conversation.status == "active"
    end = conversation.status if not went_on else "cancelled" if session.info.run_status else "completed"
    session.update(stage=run.get("stage"), error=run.get("error"))
    if run.get("progress") is not None and session.info.progress is None:
        session.update(progress=run["progress"])
    if kind is not None and run.get("run_status") in kind.finals - {kind.endings.get(end)}:
        for status in kind.way_to(run["run_status"]):
            session.move(status, reason="imported")
    if end in ("expired", "cancelled"):
        session.update(results=conversation.results)
        session.expire(reason="imported") if end == "expired" else session.cancel(reason="imported")
    else:
        session.end(success=end != "failed", results=conversation.results)


class Importer:
    """Puts conversations into one tenant, and counts."""

    def __init__(self, memory: "ChatMemory", tenant: str, user: str | None, summary: Summary) -> None:
        self._sessions: Sessions = memory.tenant(tenant).sessions
        self._max_bytes = memory.settings.max_message_bytes
        self._user = user
        self._summary = summary

    def take(self, conversations: "Iterable[Conversation | Refused]") -> None:
        """Store each; what cannot be stored stops none of the others."""
        from chatmemory.errors import InvalidInputError, MessageConflictError
        from chatmemory.files.imports import Refused

        for conversation in conversations:
            if isinstance(conversation, Refused):
                self._refuse(conversation.id, conversation.reason)
                continue
            try:
                self._take(conversation)
            except (InvalidInputError, MessageConflictError) as error:
                if not isinstance(conversation.messages, list):  # the file itself may be what is wrong
                    raise
                self._refuse(conversation.id, str(error))

    def _refuse(self, id: str, reason: str) -> None:
        self._summary.refused.append({"id": id, "reason": reason})

    def _take(self, conversation: "Conversation") -> None:
        from chatmemory.validation import check_messages

        if isinstance(conversation.messages, list):
            check_messages(conversation.messages, self._max_bytes)  # all of it, before any of it is stored
            if not conversation.messages:
                self._summary.empty += 1
                return
        session = self._find(conversation.id)
        found = session is not None
        if session is not None and not _is_unfinished(session):
            self._compare(session, conversation)
        else:
            self._store(session or self._create(conversation), conversation, found=found)

    def _find(self, id: str) -> "Session | None":
        from chatmemory.errors import SessionNotFoundError

        try:
            return self._sessions.get(id)
        except SessionNotFoundError:
            return None

    def _create(self, conversation: "Conversation") -> "Session":
        from chatmemory.errors import InvalidInputError, SessionExistsError

        try:
            return self._sessions.create(
                user_id=self._user or conversation.user_id or _me(),
                session_id=conversation.id,
                kind=conversation.kind,
                title=conversation.title,
                metadata={**conversation.metadata, "imported": conversation.origin},
                details=conversation.details,
            )
        except SessionExistsError:
            raise InvalidInputError("it was deleted here; restore or erase that session first") from None

    def _store(self, session: "Session", conversation: "Conversation", *, found: bool) -> None:
        before = session.info.message_count
        for batch in _batches(conversation.messages):
            session.append_many(batch)
        self._summary.imported += 1
        self._summary.messages += session.info.message_count - before
        measure(session, conversation.metrics, again=found)
        finish(session, conversation)

    def _compare(self, session: "Session", conversation: "Conversation") -> None:
        """An ended session takes no more, so what a grown conversation has more is reported."""
        stored = {message.id for message in session.messages()}
        new = sum(message.message_id not in stored for message in conversation.messages)
        if new:
            grown = {"id": session.id, "title": session.info.title, "new_messages": new}
            self._summary.grown.append(grown)
        else:
            self._summary.unchanged += 1


def _is_unfinished(session: "Session") -> bool:
    """Whether an import that was interrupted left it."""
    return session.info.is_active and "imported" in session.info.metadata


def _me() -> str:
    import os

    from chatmemory.cli.options import user_or_me

    return user_or_me(os.environ.get("CHATMEMORY_USER"))


def _batches(messages: "Iterable[NewMessage]") -> "Iterator[list[NewMessage]]":
    """Messages to store together, within a bound of memory."""
    batch: list[NewMessage] = []
    size = 0
    for message in messages:
        batch.append(message)
        size += len(str(message.content))
        if size >= BATCH_BYTES or len(batch) >= BATCH_MESSAGES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _show(summary: Summary, as_json: bool, *, failed: bool = False) -> None:
    from chatmemory.cli.terminal import plain, stdout, to_json

    if as_json:
        print(to_json(asdict(summary)))
        return
    console = stdout()
    for line in _lines(summary, failed=failed or bool(summary.refused)):
        console.print(plain(line), markup=False, soft_wrap=True)


def _lines(summary: Summary, *, failed: bool) -> Iterator[str]:
    from chatmemory.cli.terminal import many

    if summary.imported:
        yield f"Imported {many(summary.imported, 'conversation')} with {many(summary.messages, 'message')}."
    elif not failed:
        yield "Nothing new to import."
    if summary.unchanged:
        yield f"{many(summary.unchanged, 'conversation')} already there, unchanged."
    if summary.empty:
        yield f"{many(summary.empty, 'conversation')} without a message left out."
    for grown in summary.grown:
        count = many(grown["new_messages"], "new message")
        name = f"{grown['id']} ({grown['title'] or 'untitled'})"
        yield f"{name} has new messages since it was imported: {count}, not added."
    for refused in summary.refused:
        yield f"{refused['id']} could not be imported: {refused['reason']}"
