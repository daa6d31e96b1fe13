# Generated from chatmemory/_async/files/importing.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Importing conversations from files and other stores, each into a session of its own that has ended."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path
from typing import BinaryIO, TypeAlias, TypeVar, cast

from chatmemory._concurrency import in_thread
from chatmemory._sync.sessions.session import Session
from chatmemory._sync.sessions.sessions import Sessions
from chatmemory._sync.shared import Shared
from chatmemory.errors import (
    InvalidInputError,
    MessageConflictError,
    SessionEndedError,
    SessionExistsError,
    SessionNotFoundError,
)
from chatmemory.files.archives import conversations
from chatmemory.files.conversations import Conversation, RefusedConversation, batches
from chatmemory.files.records import ImportedConversation, ImportOutcome
from chatmemory.files.storable import storable
from chatmemory.kinds import find
from chatmemory.records import shorten
from chatmemory.runs.metric_records import MetricCurve
from chatmemory.storage import queries
from chatmemory.validation import check_messages

T = TypeVar("T")
Conversations: TypeAlias = Iterable[Conversation | RefusedConversation]
Source: TypeAlias = BinaryIO | str | PathLike[str] | Conversations
NO_LIMIT = 1_000_000_000  # sessions a user may have: an import ends none of them
REASON = "imported"


class Importer:
    """Puts the conversations of one source into one tenant."""

    def __init__(self, tenant_id: str, parts: Shared, user_id: str | None, default_user_id: str | None) -> None:
        settings = parts.settings.model_copy(update={"max_sessions_per_user": NO_LIMIT})
        self._sessions = Sessions(tenant_id, parts._replace(settings=settings))
        self._tenant_id, self._database = tenant_id, parts.database
        self._max_bytes = settings.max_message_bytes
        self._user_id, self._default_user_id = user_id, default_user_id

    def take(self, source: Source) -> Iterator[ImportedConversation]:
        """Import each conversation; one that cannot be stored stops none of the others."""
        is_file = _is_file(source)
        with _opened(source, self._max_bytes) as found:
            for conversation in _in_thread(found):
                if isinstance(conversation, RefusedConversation):
                    yield ImportedConversation(id=conversation.id, outcome="refused", reason=conversation.reason)
                    continue
                claim = self._user_id or (None if is_file else conversation.user_id)
                try:
                    result = self._take(conversation, claim)
                except (InvalidInputError, MessageConflictError, SessionEndedError) as error:
                    if is_file and not conversation.is_whole:  # the file itself may be wrong
                        raise
                    result = ImportedConversation(
                        id=conversation.id, outcome="refused", title=conversation.title, reason=str(error)
                    )
                yield result

    def _take(self, conversation: Conversation, claim: str | None) -> ImportedConversation:
        """Import one conversation; `claim` is the user to whom the source or the caller says that it belongs."""
        id, title = conversation.id, conversation.title
        if conversation.tenant_id not in (None, self._tenant_id):
            raise InvalidInputError("it belongs to another tenant; import it there")
        if isinstance(conversation.messages, list):
            check_messages(conversation.messages, self._max_bytes)  # all of it, before any of it is stored
            if not conversation.messages:
                return ImportedConversation(id=id, outcome="empty", title=title, left_out=conversation.left_out)
        session = self._find(id)
        if session is not None:
            _refuse_others(session, claim)
        if session is not None and not _is_unfinished(session):
            return self._grow(session, conversation)
        stored = self._store(session or self._create(conversation), conversation, again=session is not None)
        return ImportedConversation(
            id=id, outcome="imported", title=title, messages=stored, left_out=conversation.left_out
        )

    def _find(self, id: str) -> Session | None:
        try:
            return self._sessions.get(id)
        except SessionNotFoundError:
            return None

    def _create(self, conversation: Conversation) -> Session:
        user_id = self._user_id or conversation.user_id or self._default_user_id
        if user_id is None:
            raise InvalidInputError("the source does not name its user; give user_id or default_user_id")
        try:
            return self._sessions.create(
                user_id=user_id,
                session_id=conversation.id,
                kind=conversation.kind,
                title=conversation.title,
                metadata={**conversation.metadata, REASON: conversation.origin},
                details=conversation.details,
                created_at=_past(conversation.created_at),
            )
        except SessionExistsError:
            raise InvalidInputError("it was deleted here; restore or erase that session first") from None

    def _store(self, session: Session, conversation: Conversation, *, again: bool) -> int:
        """Store what is not there yet, and end the session; return the number of messages that were stored."""
        before = session.info.message_count
        for batch in _in_thread(batches(conversation.messages)):
            session.append_many(batch)
        stored = session.info.message_count - before
        _log(session, conversation.metrics, again=again)
        _end(session, conversation)
        self._date(session, conversation)
        return stored

    def _date(self, session: Session, conversation: Conversation) -> None:
        """Set the time of the last activity where the messages do not say it."""
        if at := _past(conversation.last_active_at):
            params = {"id": session.id, "of": session.info.born_at, "at": at}
            self._database.run(self._tenant_id, (queries.sessions.KEEP_ACTIVITY, params))

    def _grow(self, session: Session, conversation: Conversation) -> ImportedConversation:
        """Add the messages that a session does not have; one that has ended is reopened for it, and ended again."""
        info, new = session.info, 0
        stored = {message.id for message in session.messages()}
        for batch in _in_thread(batches(conversation.messages)):
            missing = [message for message in batch if message.message_id not in stored]
            if missing and not new:
                _refuse_own(session)
                session.reopen()
            if missing:
                new += len(session.append_many(missing))
        if new and not info.is_active:
            _end(session, conversation)
            self._date(session, conversation)
        outcome: ImportOutcome = "grown" if new else "unchanged"
        left_out = conversation.left_out if new else {}
        return ImportedConversation(
            id=info.id, outcome=outcome, title=info.title, messages=new, new_messages=new, left_out=left_out
        )


def _refuse_others(session: Session, claim: str | None) -> None:
    if claim not in (None, session.info.user_id):
        raise InvalidInputError("a session with its id belongs to another user; nothing was added")


def _refuse_own(session: Session) -> None:
    if REASON not in session.info.metadata:
        raise InvalidInputError("a session with its id was begun here and has other messages; nothing was added")


def _log(session: Session, metrics: Iterable[MetricCurve], *, again: bool) -> None:
    """Log the points of a run; of an import that was interrupted, those that are not there yet."""
    stored = session.metrics() if again else {}
    there = {(curve.name, point.step, point.at) for curve in stored.values() for point in curve}
    for curve in _in_thread(iter(metrics)):
        for point in curve:
            if (curve.name, point.step, point.at) not in there:
                session.log_metrics({curve.name: point.value}, step=point.step, at=point.at)


def _end(session: Session, conversation: Conversation) -> None:
    """End a session as it had ended; a run that had not is cancelled, since nothing continues it here."""
    run, kind = conversation.run, find(conversation.kind)
    end = conversation.status
    if end == "active":
        end = "cancelled" if session.info.run_status else "completed"
    session.update(stage=run.get("stage"), error=run.get("error"))
    if run.get("progress") is not None and session.info.progress is None:
        session.update(progress=run["progress"])
    if kind is not None and run.get("run_status") in kind.finals - {kind.endings.get(end)}:
        for status in kind.way_to(run["run_status"]):
            session.move(status, reason=REASON)
    if end in ("expired", "cancelled"):
        session.update(results=conversation.results)
        (session.expire if end == "expired" else session.cancel)(reason=REASON)
    else:
        session.end(success=end != "failed", results=conversation.results)


def _is_unfinished(session: Session) -> bool:
    """Return whether an interrupted import left the session, which then has never ended."""
    if not session.info.is_active or REASON not in session.info.metadata:
        return False
    return not any(event.type in ("ended", "expired", "reopened") for event in session.events())


def _past(time: datetime | None) -> datetime | None:
    """Return a time of the source; None if it lies in the future, so that it cannot be right."""
    return time if time is None or time <= datetime.now(UTC) else None


def _is_file(source: object) -> bool:
    return isinstance(source, (str, PathLike)) or (hasattr(source, "read") and hasattr(source, "seek"))


@contextmanager
def _opened(source: Source, max_bytes: int) -> Iterator[Iterator[Conversation | RefusedConversation]]:
    """The conversations of a source; a file that the caller opened stays open."""
    if isinstance(source, (str, PathLike)):
        with _open(source) as file:
            yield conversations(file)
    elif _is_file(source):
        yield conversations(cast(BinaryIO, source))
    elif isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray, Mapping)):
        yield storable(cast(Conversations, source), max_bytes)
    else:
        raise InvalidInputError(
            f"file must be a path, a binary file that can seek, or an iterable of conversations, "
            f"not {type(source).__name__}."
        )


def _open(path: str | PathLike[str]) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except (OSError, ValueError) as error:  # ValueError: no file has such a name
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInputError(f"The file {shorten(str(path), 200)!r} cannot be read: {reason}.") from None


def _in_thread(values: Iterator[T]) -> Iterator[T]:
    """Iterate in a thread, so that reading and parsing do not hold up an event loop."""
    end = object()
    while (value := in_thread(lambda: next(values, end))) is not end:
        yield value  # type: ignore[misc]  # it is not the end
