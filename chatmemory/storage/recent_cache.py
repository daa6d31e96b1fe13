"""The cache of recent messages in this process: one for each open memory, bounded in bytes over all sessions.

The least recently used sessions are evicted first. All handles of the memory share it, in all threads; nothing in here
waits for I/O.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from chatmemory import _forks
from chatmemory._concurrency import Guard
from chatmemory.context.recent_messages import (
    EMPTY_WINDOW,
    Bounds,
    RecentMessages,
    after_reading,
    as_of_row,
    recent_from_window,
)
from chatmemory.context.window import Window
from chatmemory.messages.records import Message
from chatmemory.sessions.records import Appended, SessionInfo
from chatmemory.settings import Settings

SESSION_BYTES = 1000  # about what a session without messages takes
Key = tuple[str, str]  # tenant id, session id


@dataclass(slots=True, eq=False)
class CachedSession:
    """One session in the cache.

    Attributes:
        born: When the session was stored: a later session may have the same id.
        seen: The highest seq that this process has acknowledged or read.
        recent: Its newest messages; None: none are cached.
        generation: The value of generation() when they were read.
        appended_at: The time of this process's last append to them, by the monotonic clock, in seconds.
        size: Its memory, in bytes, roughly.
    """

    key: Key
    born: datetime
    seen: int = 0
    recent: RecentMessages | None = None
    generation: int = 0
    appended_at: float = float("-inf")
    size: int = 0


class RecentMessagesCache:
    """The recent messages of each session, for all handles of one memory.

    A reader gets the CachedSession before it reads, and hands it back with the messages: if the session was forgotten
    in between, nothing is stored.

    Args:
        settings: The bounds.
        generation: Returns how often connections were replaced. After that another server may answer, which may lack
            commits, so older entries are not used.
    """

    def __init__(self, settings: Settings, generation: Callable[[], int]) -> None:
        self.guard = Guard()  # of the sessions, and of what their handles have seen
        self.generation = generation
        self.size = 0  # bytes
        self._most = settings.recent_messages_bytes
        self._bounds = Bounds(settings.window_max_messages, settings.window_max_bytes)
        self._sessions: OrderedDict[Key, CachedSession] = OrderedDict()
        _forks.watch(self)

    def forked(self) -> object:
        """Start empty in a forked child, with a new lock: a thread of the parent may have held the old one."""
        parents = self._sessions
        self._sessions, self.guard, self.size = OrderedDict(), Guard(), 0
        return parents

    def session(self, tenant_id: str, session_id: str, born: datetime) -> CachedSession:
        """Return the entry of a session and mark it as used last; a new one if there is none for this time of birth."""
        key = tenant_id, session_id
        with self.guard:
            cached = self._sessions.get(key)
            if cached is not None and cached.born == born:
                self._sessions.move_to_end(key)
                return cached
            self._remove(key)
            cached = self._sessions[key] = CachedSession(key, born)
            self._resize(cached, None)
            return cached

    def forget(self, tenant_id: str, session_id: str) -> None:
        """Remove a session that is deleted, erased, restored or learnt from, or whose append was cancelled."""
        with self.guard:
            self._remove((tenant_id, session_id))

    def recent(self, cached: CachedSession) -> RecentMessages | None:
        """Return the recent messages if they are from this generation; appends of other processes may be missing."""
        return cached.recent if cached.generation == self.generation() else None

    def begin(self, cached: CachedSession) -> None:
        """Store that a session has no messages yet, so that its first append can be added."""
        with self.guard:
            if self.recent(cached) is None:
                self._keep(cached, recent_from_window(EMPTY_WINDOW, self._bounds))

    def read(self, cached: CachedSession, window: Window, generation: int) -> None:
        """Store a window that was read.

        Args:
            cached: The session's entry from before the read.
            window: The window.
            generation: The value of generation() from before the read.
        """
        with self.guard:
            cached.seen = max(cached.seen, window.last_seq)
            if generation == self.generation():
                self._keep(cached, after_reading(self.recent(cached), window, self._bounds))

    def appended(self, cached: CachedSession, appended: Appended, new: Sequence[Message]) -> None:
        """Add messages that were appended."""
        with self.guard:
            cached.seen = max(cached.seen, appended.last_seq)
            recent = self.recent(cached)
            if recent is not None:
                self._keep(cached, self.with_appended(recent, appended, new))
                cached.appended_at = time.monotonic()

    def with_appended(
        self, recent: RecentMessages, appended: Appended, new: Sequence[Message]
    ) -> RecentMessages | None:
        """Return recent messages with appended ones; None if those do not follow directly."""
        return recent.with_appended(appended, new, self._bounds)

    def as_of_row(self, cached: CachedSession, info: SessionInfo) -> RecentMessages | None:
        """Return the recent messages if they are as new as a row just read from Postgres, else None."""
        with self.guard:
            recent = as_of_row(self.recent(cached), info, self._bounds)
            if recent is not None:
                self._keep(cached, recent)
        return recent

    def _keep(self, cached: CachedSession, recent: RecentMessages | None) -> None:
        if self._sessions.get(cached.key) is cached:
            self._resize(cached, recent)

    def _resize(self, cached: CachedSession, recent: RecentMessages | None) -> None:
        """Set the recent messages of a session, and evict other sessions beyond the bound."""
        size, generation = SESSION_BYTES + (recent.size if recent else 0), self.generation()
        # An interrupt between these would leave the sum wrong; it comes only after a call.
        self.size += size - cached.size
        cached.recent, cached.generation, cached.size = recent, generation, size
        while self.size > self._most and self._sessions:
            self._remove(next(iter(self._sessions)))

    def _remove(self, key: Key) -> None:
        cached = self._sessions.get(key)
        if cached is not None:
            self.size -= cached.size
            del self._sessions[key]
