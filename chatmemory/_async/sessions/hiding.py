"""Deleting (hiding) and restoring sessions; no row is removed."""

from datetime import datetime

from chatmemory._async.sessions.ending import AsyncEndings
from chatmemory._async.shared import AsyncShared
from chatmemory.sessions.records import SessionInfo, session_from_row
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found


async def async_hide(parts: AsyncShared, info: SessionInfo) -> None:
    """Hide a session everywhere, in one round trip; Redis forgets it before and after.

    Raises:
        SessionNotFoundError: The session is hidden already, or was erased.
    """
    params = {"session": info.id, "of": info.born_at}
    await parts.windows.forget(info)
    try:
        async with parts.database.transaction(info.tenant_id, info.id, patient=True) as transaction:
            [hidden] = await transaction.finish((queries.sessions.DELETE_SESSION, params))
    finally:
        await parts.windows.forget(info)
    if not hidden:
        raise not_found(info.id)


async def async_show(parts: AsyncShared, tenant_id: str, session_id: str, of: datetime | None = None) -> SessionInfo:
    """Show a hidden session again, in one round trip; with `of`, only the one that was born then.

    Raises:
        SessionLimitError: The session is active, and the user's limit is reached.
        SessionNotFoundError: The session is not hidden, or was erased.
    """
    params = (tenant_id, session_id, of, *parts.settings.session_limits())
    rows = await parts.database.call_once(queries.sessions.RESTORE_SESSION, params, subject=session_id)
    if not rows:
        raise not_found(session_id)
    info = session_from_row(rows[0][:-1])
    await parts.windows.forget(info)
    await AsyncEndings(tenant_id, parts).leave_results(rows)
    return info
