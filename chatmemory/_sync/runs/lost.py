# Generated from chatmemory/_async/runs/lost.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Ending of lost runs by whoever reads one."""

from collections.abc import Iterable

from chatmemory._sync.sessions.ending import Endings
from chatmemory._sync.shared import Shared
from chatmemory.runs.lost import LOST_END, looks_lost
from chatmemory.sessions.records import SessionInfo
from chatmemory.storage import queries


def end_lost(parts: Shared, tenant_id: str, read: Iterable[SessionInfo]) -> bool:
    """End the tenant's lost runs as failed if one of those just read looks lost; return whether to read again."""
    if not any(map(looks_lost, read)):
        return False
    rows = parts.database.fetch(tenant_id, queries.runs.LOST_RUNS, ())
    Endings(tenant_id, parts).end_many([id for (id,) in rows], LOST_END, if_unchanged=True)
    return bool(rows)
