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

_STALE_PLAN = ("42804", "0A000")  # datatype mismatch, "cached plan must not change result type"
DRIVER_ERRORS = (psycopg.Error, PoolTimeout, PoolClosed, TooManyRequests)

_UNPINNED = "CM425"
_UNKNOWN_NAME = "42704"
_PARENT_GONE = "23503"  # foreign key violation: the session was erased meanwhile
_STATEMENT_LOST = ("26000", "42P05")  # a prepared statement is missing, or exists already
_CHATTER = re.compile(r" Is the server running [^?]*\?")
_WENT_AWAY = ("08", "57P", "53300")  # connection exceptions, shutdown and crash, too many connections


def went_away(error: BaseException) -> bool:
    """Return whether a retry may help: a connection was lost, and not by the pool's timeout, or a migration was met."""
    lost = isinstance(error, StorageUnavailableError) and isinstance(error.__cause__, psycopg.OperationalError)
    return met_migration(error) or (lost and not isinstance(error.__cause__, PoolTimeout))


def met_migration(error: BaseException) -> bool:
    """Return whether a statement met a plan from before a migration, so that nothing of it was done."""
    return isinstance(error, StorageUnavailableError) and _has_stale_plan(error.__cause__)


def is_unpinned(error: Exception) -> bool:
    """Return whether a function refused to begin, as its transaction has not the settings of schema/pins.py."""
    return getattr(error, "sqlstate", None) == _UNPINNED


def _has_stale_plan(error: BaseException | None) -> bool:
    return isinstance(error, psycopg.Error) and error.sqlstate in _STALE_PLAN


def translated(error: Exception, subject: str) -> ChatMemoryError:
    """Return this library's error for a driver's error.

    Args:
        error: One of DRIVER_ERRORS.
        subject: The session's id, or a name for what was worked on; "": this call.
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
    if sqlstate in _STALE_PLAN:
        return StorageUnavailableError(
            f"The schema was migrated while working on {subject or 'this call'}. Nothing was written; try again."
        )
    if isinstance(error, PoolTimeout | TooManyRequests):
        return StorageUnavailableError(
            "No connection to Postgres became free in time: it is down, or busy beyond postgres_pool_max_size."
        )
    if isinstance(error, PoolClosed):
        return ConfigurationError("This ChatMemory is closed; open a new one.")
    if sqlstate.startswith(_WENT_AWAY) or (isinstance(error, psycopg.OperationalError) and not sqlstate):
        return StorageUnavailableError(
            f"The connection to Postgres was lost while working on {subject or 'this call'}. "
            "Nothing is half-written; try again (with a message_id, appending again is safe)."
        )
    return StorageError(f"Postgres rejected {subject or 'this call'}: {type(error).__name__} (SQLSTATE {sqlstate}).")


def changed_meanwhile(error: BaseException) -> bool:
    """Return whether nothing was written because a row changed after it was read."""
    return isinstance(error, StorageError) and isinstance(error.__cause__, psycopg.errors.SerializationFailure)


def cause_of(error: Exception) -> Exception | None:
    """Return the error to chain as the cause; None for errors that can hold the content of a message."""
    return error if isinstance(error, psycopg.OperationalError) or _has_stale_plan(error) else None


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


def _ended(session_id: str, status: str) -> SessionEndedError:
    return SessionEndedError(
        f"Session {session_id!r} is {status} and takes no more messages; continue with resume_or_create() or fork()."
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
