"""What a driver's errors and addresses mean, in our words; without a secret, and without a message's content."""

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

DRIVER_ERRORS = (psycopg.Error, PoolTimeout, PoolClosed, TooManyRequests)

_UNKNOWN_NAME = "42704"


_PARENT_GONE = "23503"  # foreign key violation: the session was erased meanwhile


_CHATTER = re.compile(r" Is the server running [^?]*\?")

_STATEMENT_LOST = ("26000", "42P05")  # a prepared statement is missing, or there already


_WENT_AWAY = ("08", "57P", "53300")  # connection exceptions, shutdown and crash, too many connections


def went_away(error: BaseException) -> bool:
    """Whether trying again may help: a connection was lost, and the pool's whole timeout is not spent yet."""
    lost = isinstance(error, StorageUnavailableError) and isinstance(error.__cause__, psycopg.OperationalError)
    return lost and not isinstance(error.__cause__, PoolTimeout)


def translated(error: Exception, subject: str) -> ChatMemoryError:
    """The error of ours that says what a driver's error means for the session `subject`."""
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
    return StorageError(
        f"Postgres refused to work on {subject or 'this call'}: {type(error).__name__} (SQLSTATE {sqlstate})."
    )


def changed_meanwhile(error: BaseException) -> bool:
    """Whether nothing was written, because a row is not what it was when it was read."""
    return isinstance(error, StorageError) and isinstance(error.__cause__, psycopg.errors.SerializationFailure)


def cause_of(error: Exception) -> Exception | None:
    """What may be shown as the cause: nothing that can hold a message's content."""
    return error if isinstance(error, psycopg.OperationalError) else None


def said_by(error: psycopg.OperationalError) -> str:
    """Why a connection failed, without what psycopg and libpq say around it."""
    said = " ".join(str(error).split()).removeprefix("connection failed: ")
    return _CHATTER.sub("", said).rstrip(".?")


def not_found(session_id: str) -> SessionNotFoundError:
    """What is said of missing, deleted and foreign sessions alike."""
    return SessionNotFoundError(
        f"There is no session {session_id!r} here; use resume_or_create() to begin one, or list() to find it."
    )


def _conflict(session_id: str, message_id: str) -> MessageConflictError:
    return MessageConflictError(
        f"Session {session_id!r} has a message {message_id!r} with other content; "
        "use a new message_id for a new message."
    )


def _ended(session_id: str, status: str) -> SessionEndedError:
    return SessionEndedError(
        f"Session {session_id!r} is {status} and takes no more messages; go on with resume_or_create() or fork()."
    )


def _exists(session_id: str, _: str) -> SessionExistsError:
    return SessionExistsError(
        f"A session {session_id!r} exists already; use resume_or_create(), or leave session_id out."
    )


def _other_dimension(_: str, detail: str) -> LlmError:
    was, came = detail.split()
    return LlmError(
        f"The embedder answers with {came} dimensions, where this user's vectors of the same model have {was}; "
        "use the model that made them, or give the new one a name of its own."
    )


def _limited(_: str, limit: str) -> SessionLimitError:
    return SessionLimitError(
        f"The user has {limit} active sessions of this kind, as many as max_sessions_per_user allows; "
        'end some, or set session_limit_policy="end_oldest".'
    )


def ended_otherwise(session_id: str, detail: str) -> MoveError:
    """Return what says that a run has ended otherwise.

    Args:
        session_id: The run's session.
        detail: The status it is in, and the one it was to get, as end_sessions names them.
    """
    was, asked = detail.split()
    return MoveError(f"Session {session_id!r} is {was}, which is final, and cannot end as {asked}.")


# What the schema's functions raise: the error's session, and its detail.
_FROM_SCHEMA: dict[str, Callable[[str, str], ChatMemoryError]] = {
    "CM404": lambda session_id, _: not_found(session_id),
    "CM409": _conflict,
    "CM410": _ended,
    "CM412": ended_otherwise,
    "CM422": _other_dimension,
    "CM423": _exists,
    "CM429": _limited,
}
