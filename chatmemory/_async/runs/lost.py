"""Ending of lost runs by whoever reads one."""

from collections.abc import Iterable

from chatmemory._async.sessions.ending import AsyncEndings
from chatmemory._async.shared import AsyncShared
from chatmemory.runs.lost import LOST_END, looks_lost
from chatmemory.sessions.records import SessionInfo
from chatmemory.storage import queries


async def async_end_lost(parts: AsyncShared, tenant_id: str, read: Iterable[SessionInfo]) -> bool:
    """End the tenant's lost runs as failed if one of those just read looks lost; return whether to read again."""
    if not any(map(looks_lost, read)):
        return False
    rows = await parts.database.fetch(tenant_id, queries.runs.LOST_RUNS, ())
    await AsyncEndings(tenant_id, parts).end_many([id for (id,) in rows], LOST_END, if_unchanged=True)
    return bool(rows)
