"""The end of lost runs, by whoever reads one; a worker makes their results."""

from collections.abc import Iterable

from chatmemory._async.shared import AsyncShared
from chatmemory.runs.lost import looks_lost
from chatmemory.sessions.records import SessionInfo
from chatmemory.storage import queries

BATCH = 1000  # runs that end in one call


async def async_end_lost(parts: AsyncShared, tenant_id: str, read: Iterable[SessionInfo]) -> bool:
    """End as failed the runs among those just read that are lost; return whether to read again."""
    lost = [info for info in read if looks_lost(info)]
    if not lost:
        return False
    params = (tenant_id, [info.id for info in lost], BATCH)
    async with parts.windows.forgetting(lost):
        [(ended,)] = await parts.database.call(queries.runs.END_LOST, params)
    return bool(ended)


async def async_end_all_lost(parts: AsyncShared, tenant_id: str) -> None:
    """End as failed the tenant's runs that are lost."""
    await parts.database.call(queries.runs.END_LOST, (tenant_id, None, BATCH))
