# Generated from chatmemory/_async/sessions/copying.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Forks: a new session with the messages of another, in two round trips."""

from typing import Any

from chatmemory._sync.sessions.ending import Endings
from chatmemory._sync.shared import Shared
from chatmemory.errors import InvalidInputError
from chatmemory.kinds import declared
from chatmemory.records import to_json
from chatmemory.sessions.records import SessionInfo, session_from_row
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found
from chatmemory.validation import check_count, new_id


def fork(parts: Shared, info: SessionInfo, at_seq: int | None, user_id: str | None) -> tuple[SessionInfo, SessionInfo]:
    """Fork a session: copy the rows that the registry declares; return the session as it is now, and the new one.

    Raises:
        InvalidInputError: at_seq is greater than the newest seq.
        SessionNotFoundError: The session was deleted or erased.
    """
    new, owner = new_id(), user_id or info.user_id
    source = {"id": info.id, "user_id": None, "of": info.born_at}
    with parts.database.transaction(info.tenant_id, info.id, patient=True) as transaction:
        _, found = transaction.run(
            (queries.sessions.LOCK_USER, (info.tenant_id, owner)), (queries.sessions.FORKED_SESSION, source)
        )
        if not found:
            raise not_found(info.id)
        parent = session_from_row(found[0])
        copy = {"from": info.id, "to": new, "at_seq": _fork_point(parent, at_seq)}
        event = to_json({"into": new, "at_seq": copy["at_seq"]})
        created, *_, [row] = transaction.finish(
            (queries.sessions.CREATE_SESSION, _arguments(parts, parent, new, owner)),
            *((query, copy) for query in queries.ownership.COPY),
            (queries.messages.COUNT_COPIED, copy),
            (queries.sessions.FORKED, copy),
            (queries.sessions.ADD_EVENT, (info.tenant_id, info.id, "forked", event)),
            (queries.sessions.GET_SESSION, {"id": new, "user_id": None}),
        )
    parts.windows.forget_user(info.tenant_id, owner)
    Endings(info.tenant_id, parts).leave_results(created)
    return parent, session_from_row(row)


def _arguments(parts: Shared, parent: SessionInfo, new: str, owner: str) -> tuple[Any, ...]:
    """Return the arguments of create_session for a fork."""
    return (
        parent.tenant_id,
        new,
        owner,
        parent.kind,
        parent.title,
        to_json(parent.metadata),
        to_json(parent.details),
        None,
        *parts.settings.session_limits(),
        declared(parent.kind, parent.details, parts.settings.due_after, otherwise=parent.learns),
    )


def _fork_point(info: SessionInfo, at_seq: int | None) -> int:
    if at_seq is None:
        return info.last_seq
    if check_count(at_seq, "at_seq") > info.last_seq:
        raise InvalidInputError(f"at_seq is {at_seq}, but the last seq of session {info.id!r} is {info.last_seq}.")
    return at_seq
