# Generated from chatmemory/_async/runs/lost.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The end of lost runs, by whoever reads one; a worker makes their results."""

from collections.abc import Iterable

from chatmemory._sync.shared import Shared
from chatmemory.runs.lost import looks_lost
from chatmemory.sessions.records import SessionInfo
from chatmemory.storage import queries

BATCH = 1000  # runs that end in one call


def end_lost(parts: Shared, tenant_id: str, read: Iterable[SessionInfo]) -> bool:
    """End as failed the runs among those just read that are lost; return whether to read again."""
    lost = [info for info in read if looks_lost(info)]
    if not lost:
        return False
    params = (tenant_id, [info.id for info in lost], BATCH)
    with parts.windows.forgetting(lost):
        [(ended,)] = parts.database.call(queries.runs.END_LOST, params)
    return bool(ended)


def end_all_lost(parts: Shared, tenant_id: str) -> None:
    """End as failed the tenant's runs that are lost."""
    parts.database.call(queries.runs.END_LOST, (tenant_id, None, BATCH))
