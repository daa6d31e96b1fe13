"""The recent messages of all sessions that one open memory has read, within a bound of bytes.

The sessions that were used least recently go first. Every handle of the memory shares them, in all threads; nothing
in here waits.
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

SESSION_BYTES = 1000  # of a session in the cache without messages, about
Key = tuple[str, str]  # tenant id, session id


@dataclass(slots=True, eq=False)
class CachedSession:
    """One session in the cache.

    Attributes:
        born: When the session began: another session may have its id later.
        seen: The highest seq that this process has acknowledged or read.
        recent: Its newest messages.
        generation: How often connections had been replaced when they were read.
        appended_at: When an append by this process followed on them, by the monotonic clock.
        size: The memory it takes, in bytes, about.
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

    A reader takes its CachedSession before it reads, and hands it in with what it has read: where the session was
    forgotten meanwhile, nothing is kept.

    Args:
        settings: The bounds.
        generation: Returns how often connections were replaced: another server may answer since, which need not have
            all that was stored, so nothing from before is believed.
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
        """In a forked child: begin empty, with a guard that no thread of the parent holds."""
        parents = self._sessions
        self._sessions, self.guard, self.size = OrderedDict(), Guard(), 0
        return parents

    def session(self, tenant_id: str, session_id: str, born: datetime) -> CachedSession:
        """Get the session, as the one used last; a new one where there is none, or where it began at another time."""
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
        """Forget a session: it is being deleted, erased, restored or learnt from, or an append was cancelled."""
        with self.guard:
            self._remove((tenant_id, session_id))

    def recent(self, cached: CachedSession) -> RecentMessages | None:
        """The recent messages, where they can be believed; not necessarily all that others have appended."""
        return cached.recent if cached.generation == self.generation() else None

    def begin(self, cached: CachedSession) -> None:
        """Let the messages begin with the first append, of a session that has none yet."""
        with self.guard:
            if self.recent(cached) is None:
                self._keep(cached, recent_from_window(EMPTY_WINDOW, self._bounds))

    def read(self, cached: CachedSession, window: Window, generation: int) -> None:
        """Keep a window.

        Args:
            cached: The session, taken before the reading.
            window: The window.
            generation: That of the time before the reading.
        """
        with self.guard:
            cached.seen = max(cached.seen, window.last_seq)
            if generation == self.generation():
                self._keep(cached, after_reading(self.recent(cached), window, self._bounds))

    def appended(self, cached: CachedSession, appended: Appended, new: Sequence[Message]) -> None:
        """Let the messages go on with those that were appended."""
        with self.guard:
            cached.seen = max(cached.seen, appended.last_seq)
            recent = self.recent(cached)
            if recent is not None:
                self._keep(cached, self.with_appended(recent, appended, new))
                cached.appended_at = time.monotonic()

    def with_appended(
        self, recent: RecentMessages, appended: Appended, new: Sequence[Message]
    ) -> RecentMessages | None:
        """Recent messages with those that were appended; None where they do not follow."""
        return recent.with_appended(appended, new, self._bounds)

    def as_of_row(self, cached: CachedSession, info: SessionInfo) -> RecentMessages | None:
        """The recent messages, where they are as new as a row that Postgres has just given."""
        with self.guard:
            recent = as_of_row(self.recent(cached), info, self._bounds)
            if recent is not None:
                self._keep(cached, recent)
        return recent

    def _keep(self, cached: CachedSession, recent: RecentMessages | None) -> None:
        if self._sessions.get(cached.key) is cached:
            self._resize(cached, recent)

    def _resize(self, cached: CachedSession, recent: RecentMessages | None) -> None:
        """Set the recent messages of a session, and make room for them."""
        size = SESSION_BYTES + (recent.size if recent else 0)
        self.size += size - cached.size
        cached.recent, cached.generation, cached.size = recent, self.generation(), size
        while self.size > self._most and self._sessions:
            self._remove(next(iter(self._sessions)))

    def _remove(self, key: Key) -> None:
        cached = self._sessions.pop(key, None)
        if cached is not None:
            self.size -= cached.size
