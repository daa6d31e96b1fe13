# Generated from chatmemory/_async/sessions/state.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The state that all methods of one session's handle work on."""

from collections.abc import Sequence

from chatmemory._sync.context.reading import Contexts
from chatmemory._sync.runs.lost import end_lost
from chatmemory._sync.shared import Shared
from chatmemory._sync.storage.transaction import Row
from chatmemory.sessions.records import Appended, SessionInfo, after, session_from_row
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found


class SessionState:
    """The session as it was last read, its contexts, and the parts of the memory.

    Args:
        info: The session.
        parts: The memory's parts.
        is_current: Whether info was read from Postgres just now.
    """

    def __init__(self, info: SessionInfo, parts: Shared, *, is_current: bool = True) -> None:
        self.id, self.tenant_id, self.parts = info.id, info.tenant_id, parts
        self._info = info
        self._appended: Appended | None = None
        self.contexts = Contexts(info, parts)
        if is_current:
            self.contexts.saw_row(info)

    @property
    def info(self) -> SessionInfo:
        """The session with all that this handle has read or appended."""
        if self._appended is not None:
            self._info = after(self._appended, self._info)
            self._appended = None
        return self._info

    @property
    def origin(self) -> SessionInfo:
        """The session without the newest appends: for what never changes, at no cost."""
        return self._info

    @property
    def counts(self) -> Appended | SessionInfo:
        """The newest counts of messages and tokens."""
        return self._appended or self._info

    @property
    def has_title(self) -> bool:
        """True if the session is known to have a title."""
        return bool(self._info.title or (self._appended and self._appended.title))

    def append(self, appended: Appended) -> None:
        """Take over what an append did to the session."""
        self._appended = appended

    def take(self, info: SessionInfo) -> SessionInfo:
        """Take over what was just read of the session."""
        self._appended, self._info = None, info
        self.contexts.saw_row(info)
        return info

    def take_row(self, rows: Sequence[Row]) -> SessionInfo:
        """Take over the session from its row.

        Raises:
            SessionNotFoundError: There is no row, or another session has the id of an erased one.
        """
        info = session_from_row(rows[0]) if rows else None
        if info is None or info.born_at != self._info.born_at:
            raise not_found(self.id)
        return self.take(info)

    def refresh(self) -> SessionInfo:
        """Read the session again.

        Raises:
            SessionNotFoundError: It was deleted or erased.
        """
        info = self._read()
        return self._read() if end_lost(self.parts, self.tenant_id, [info]) else info

    def _read(self) -> SessionInfo:
        params = {"id": self.id, "user_id": None}
        query = queries.sessions.GET_SESSION
        return self.take_row(self.parts.database.fetch(self.tenant_id, query, params, subject=self.id))
