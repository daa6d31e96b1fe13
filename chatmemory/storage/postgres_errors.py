"""Translation of psycopg's errors into this library's, without secrets and without the content of messages."""

import re
from collections.abc import Callable

import psycopg
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests

from chatmemory.errors import (
    ChatMemoryError,
    ConfigurationError,
    LlmError,
    MessageConflictError,
    MoveError,
    SessionEndedError,
    SessionExistsError,
    SessionLimitError,
    SessionNotFoundError,
    StorageError,
    StorageUnavailableError,
)
from chatmemory.storage.deadlines import NoAnswerError

_STALE_PLAN = ("42804", "0A000")  # datatype mismatch, "cached plan must not change result type"
DRIVER_ERRORS = (psycopg.Error, PoolTimeout, PoolClosed, TooManyRequests)

_UNPINNED = "CM425"
_UNKNOWN_NAME = "42704"
_PARENT_GONE = "23503"  # foreign key violation: the session was erased meanwhile
_STATEMENT_LOST = ("26000", "42P05")  # a prepared statement is missing, or exists already
_CHATTER = re.compile(r" Is the server running [^?]*\?")
_WENT_AWAY = ("08", "57P", "53300")  # connection exceptions, shutdown and crash, too many connections
_TOO_MANY = "53300"
_READ_ONLY = "25006"
_CONFLICT = "40001"  # with what a standby replays, or with another transaction
STORED = "Its changes may be stored, all of them or none; try again (with a message_id, appending is safe)."
NOT_STORED = "Nothing was written; try again."


def went_away(error: BaseException) -> bool:
    """Return whether a retry may help: a connection was lost, or nothing was done because of the connection's state.

    No answer within the time, and no free connection within the time, are final: the time is over.
    """
    cause = error.__cause__
    lost = isinstance(error, StorageUnavailableError) and isinstance(cause, psycopg.OperationalError)
    return was_refused(error) or (lost and not isinstance(cause, PoolTimeout | NoAnswerError))


def was_refused(error: BaseException) -> bool:
    """Return whether nothing was done, and the same may work at once: a migration was met, or a server's old state."""
    return met_migration(error) or (
        isinstance(error, StorageUnavailableError) and is_read_only(error.__cause__) and not error.may_be_stored
    )


def is_read_only(error: BaseException | None) -> bool:
    """Return whether a server, or one connection, takes no writes, as before a failover; nothing was done."""
    return isinstance(error, psycopg.Error) and (error.sqlstate == _READ_ONLY or _met_recovery(error))


def _met_recovery(error: psycopg.Error) -> bool:
    """Return whether a standby cancelled a statement to replay changes; the code alone does not say so."""
    return error.sqlstate == _CONFLICT and (error.diag.source_function or "").startswith("Process")


def is_lost(error: Exception) -> bool:
    """Return whether a connection and all others of its age have to be replaced."""
    if is_read_only(error):
        return True
    return isinstance(error, psycopg.OperationalError) and (
        error.sqlstate is None or (error.sqlstate.startswith(_WENT_AWAY) and error.sqlstate != _TOO_MANY)
    )


def may_pass(error: BaseException) -> bool:
    """Return whether to repeat a call more than once; a server that stays read-only is asked again only once."""
    return went_away(error) and not is_read_only(error.__cause__)


def unavailable(problem: str, *, may_be_stored: bool) -> StorageUnavailableError:
    """Return an error that says whether the changes of the call may be stored."""
    return StorageUnavailableError(f"{problem} {STORED if may_be_stored else NOT_STORED}", may_be_stored)


def uncertain(error: StorageUnavailableError, first: StorageUnavailableError) -> StorageUnavailableError:
    """Return the error of a later attempt, which does not know what the first one may have stored."""
    if error.may_be_stored or not first.may_be_stored:
        return error
    return unavailable(str(error).removesuffix(NOT_STORED).rstrip(), may_be_stored=True)


def met_migration(error: BaseException) -> bool:
    """Return whether a statement met a plan from before a migration, so that nothing of it was done."""
    return isinstance(error, StorageUnavailableError) and _has_stale_plan(error.__cause__)


def is_unpinned(error: Exception) -> bool:
    """Return whether a function refused to begin, as its transaction has not the settings of schema/pins.py."""
    return getattr(error, "sqlstate", None) == _UNPINNED


def _has_stale_plan(error: BaseException | None) -> bool:
    return isinstance(error, psycopg.Error) and error.sqlstate in _STALE_PLAN


def translated(error: Exception, subject: str, *, may_be_stored: bool = False) -> ChatMemoryError:
    """Return this library's error for a driver's error.

    Args:
        error: One of DRIVER_ERRORS.
        subject: The session's id, or a name for what was worked on; "": this call.
        may_be_stored: Whether a statement was sent that may have committed.
    """
    sqlstate = getattr(error, "sqlstate", None) or ""
    detail = error.diag.message_detail if isinstance(error, psycopg.Error) else None
    if isinstance(error, psycopg.Error) and sqlstate.startswith("CM"):
        return _FROM_SCHEMA[sqlstate](subject, detail or "")
    if sqlstate in _STATEMENT_LOST:
        return ConfigurationError(
            "A pooler between chatmemory and Postgres does not keep prepared statements; "
            "set prepared_statements=false (CHATMEMORY_PREPARED_STATEMENTS), or use PgBouncer 1.21 or later."
        )
    if sqlstate == _UNKNOWN_NAME and subject != "the schema":
        return ConfigurationError(
            "Postgres does not know a name it was given: set CHATMEMORY_LANGUAGE to a text search configuration of "
            "this server (`select cfgname from pg_ts_config` lists them)."
        )
    if sqlstate == _PARENT_GONE:
        return not_found(subject)
    if isinstance(error, PoolClosed):
        return ConfigurationError("This ChatMemory is closed; open a new one.")
    return _unavailable(error, sqlstate, subject or "this call", may_be_stored) or StorageError(
        f"Postgres rejected {subject or 'this call'}: {type(error).__name__} (SQLSTATE {sqlstate})."
    )


def _unavailable(error: Exception, sqlstate: str, at: str, may_be_stored: bool) -> StorageUnavailableError | None:
    if sqlstate in _STALE_PLAN:
        return unavailable(f"The schema was migrated while working on {at}.", may_be_stored=False)
    if isinstance(error, PoolTimeout | TooManyRequests):
        return unavailable(
            "No connection to Postgres became free in time: it is down, or busy beyond postgres_pool_max_size.",
            may_be_stored=False,
        )
    if isinstance(error, NoAnswerError):
        return unavailable(
            f"Postgres did not answer within postgres_timeout_seconds while working on {at}.",
            may_be_stored=may_be_stored,
        )
    if is_read_only(error):
        return unavailable(
            f"Postgres takes no writes at the moment, so {at} was refused (SQLSTATE {sqlstate}): it is a standby, or "
            "set to read only.",
            may_be_stored=False,
        )
    if sqlstate.startswith(_WENT_AWAY) or (isinstance(error, psycopg.OperationalError) and not sqlstate):
        return unavailable(f"The connection to Postgres was lost while working on {at}.", may_be_stored=may_be_stored)
    return None


def changed_meanwhile(error: BaseException) -> bool:
    """Return whether nothing was written because a row changed after it was read."""
    cause = error.__cause__
    met = isinstance(cause, psycopg.errors.SerializationFailure) and not _met_recovery(cause)
    return isinstance(error, StorageError) and met


def cause_of(error: Exception) -> Exception | None:
    """Return the error to chain as the cause; None for errors that can hold the content of a message."""
    harmless = isinstance(error, psycopg.OperationalError) or _has_stale_plan(error) or is_read_only(error)
    return error if harmless else None


def said_by(error: psycopg.OperationalError) -> str:
    """Return why a connection failed, without the phrases that psycopg and libpq put around it."""
    reason = " ".join(str(error).split()).removeprefix("connection failed: ")
    return _CHATTER.sub("", reason).rstrip(".?")


def not_found(session_id: str) -> SessionNotFoundError:
    """Return the error for missing, deleted and foreign sessions, which are indistinguishable."""
    return SessionNotFoundError(
        f"There is no session {session_id!r} here; use resume_or_create() to create one, or list() to find it."
    )


def _conflict(session_id: str, message_id: str) -> MessageConflictError:
    return MessageConflictError(
        f"Session {session_id!r} has a message {message_id!r} with other content; "
        "use a new message_id for a new message."
    )


def _ended(session_id: str, detail: str) -> SessionEndedError:
    status, _, run = detail.partition(" ")
    if run:
        return SessionEndedError(
            f"Session {session_id!r} is {status}, and a run that has ended is not reopened; create() a new one, or "
            "fork() it."
        )
    return SessionEndedError(
        f"Session {session_id!r} is {status} and takes no more messages; reopen() it, or continue with "
        'resume_or_create(…, on_expired="reopen") or fork().'
    )


def _exists(session_id: str, _: str) -> SessionExistsError:
    return SessionExistsError(
        f"A session {session_id!r} exists already; use resume_or_create(), or leave session_id out."
    )


def _other_dimension(_: str, detail: str) -> LlmError:
    was, came = detail.split()
    return LlmError(
        f"The embedder returned {came} dimensions, but this user's vectors of the same model have {was}; "
        "use the model that made them, or give the new model another name."
    )


def _limited(_: str, limit: str) -> SessionLimitError:
    return SessionLimitError(
        f"The user has {limit} active sessions of this kind, the limit (max_sessions_per_user); "
        'end some, or set session_limit_policy="end_oldest".'
    )


def _unpinned(_: str, __: str) -> ConfigurationError:
    return ConfigurationError(
        "Postgres does not apply the settings that chatmemory begins a transaction with; is a proxy rewriting "
        "statements in between? `chatmemory doctor` lists the settings."
    )


def ended_otherwise(session_id: str, detail: str) -> MoveError:
    """Return the error for a run that has ended with another final status.

    Args:
        session_id: The run's session.
        detail: Its status and the requested one, separated by a space, from end_sessions.
    """
    was, asked = detail.split()
    return MoveError(f"Session {session_id!r} is {was}, which is final, and cannot end as {asked}.")


# The error codes of the schema's functions; each maker gets the session's id and the error's detail.
_FROM_SCHEMA: dict[str, Callable[[str, str], ChatMemoryError]] = {
    "CM404": lambda session_id, _: not_found(session_id),
    "CM409": _conflict,
    "CM410": _ended,
    "CM412": ended_otherwise,
    "CM422": _other_dimension,
    "CM423": _exists,
    _UNPINNED: _unpinned,
    "CM429": _limited,
}
