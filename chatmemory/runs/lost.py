"""Runs whose process is gone: the signs, and the end that they get."""

from datetime import UTC, datetime, timedelta

from chatmemory.sessions.changes import Changes
from chatmemory.sessions.ending import End
from chatmemory.sessions.records import SessionInfo

LOST = "lost"  # the reason of the end
LOST_END = End("failed", Changes(reason=LOST, error="lost: its process has stopped beating"), by_user=False)


def looks_lost(info: SessionInfo) -> bool:
    """Return whether a run may be lost by this machine's clock; the database's clock decides."""
    if not info.is_active or info.lost_after_seconds is None:
        return False
    return datetime.now(UTC) - info.last_active_at > timedelta(seconds=info.lost_after_seconds)
