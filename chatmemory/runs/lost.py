"""The signs of a run whose process is gone."""

from datetime import UTC, datetime, timedelta

from chatmemory.sessions.records import SessionInfo


def looks_lost(info: SessionInfo) -> bool:
    """Return whether a run may be lost by this machine's clock; the database's clock decides."""
    if not info.is_active or info.lost_after_seconds is None:
        return False
    return datetime.now(UTC) - info.last_active_at > timedelta(seconds=info.lost_after_seconds)
