"""Reopening an ended conversation, in one round trip."""

from chatmemory._async.sessions.ending import AsyncEndings
from chatmemory._async.shared import AsyncShared
from chatmemory.sessions.records import SessionInfo, session_from_row
from chatmemory.storage import queries


async def async_reopen(parts: AsyncShared, info: SessionInfo) -> SessionInfo:
    """Reopen a conversation; the user's session that was idle longest may end for it.

    Raises:
        SessionEndedError: It is a run.
        SessionLimitError: The user's limit is reached.
        SessionNotFoundError: The session is deleted, or was erased.
    """
    params = (info.tenant_id, info.id, info.born_at, *parts.settings.session_limits())
    rows = await parts.database.call(queries.sessions.REOPEN_SESSION, params, subject=info.id)
    await parts.windows.forget_user(info.tenant_id, info.user_id)
    await AsyncEndings(info.tenant_id, parts).leave_results(rows)
    return session_from_row(rows[0][:-1])
