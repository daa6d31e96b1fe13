# Generated from chatmemory/_async/storage/redis_windows.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The windows and resumable sessions in Redis; without Redis, every read finds nothing and every write is skipped."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

from chatmemory import _exit, _forks
from chatmemory._concurrency import Guard, Pulse
from chatmemory.context.recent_messages import RecentMessages, completed
from chatmemory.context.window import Window
from chatmemory.messages.records import Message
from chatmemory.sessions.records import SessionInfo
from chatmemory.settings import Settings
from chatmemory.storage.recent_cache import RecentMessagesCache
from chatmemory.storage.redis_keys import sessions_key, window_key
from chatmemory.storage.redis_packing import (
    LIES,
    microseconds,
    pack,
    pack_session,
    pack_summary,
    packed_first,
    unpack_session,
    unpack_window,
)
from chatmemory.storage.unsent_messages import Unsent, joined

if TYPE_CHECKING:
    from chatmemory._sync.storage.redis import Cache

VISIT_SECONDS = 1800.0  # how long a session may be resumed from Redis, without Postgres noting its use
SHARE_OF_TIMEOUT = 0.1  # of session_timeout, the other bound of the same: a session in use must not look idle
FLUSH_SECONDS = 0.05  # the longest time from an append to its arrival in Redis


class Found(NamedTuple):
    """The result of a read from Redis.

    Attributes:
        window: The window; None: there is none, or it is too old.
        stubs: The seqs of its messages that are stored without content.
        lease: The lease to pass to store() after reading from Postgres.
    """

    window: Window | None
    stubs: set[int]
    lease: str


class Windows:
    """The windows of one memory. A window that does not reach the highest seq the reader has seen is not used."""

    def __init__(self, cache: "Cache | None", settings: Settings, recent: RecentMessagesCache) -> None:
        self._cache = cache
        self._recent = recent  # what is forgotten here is forgotten there too
        self._settings = settings
        self._ttl = round(settings.session_cache_ttl_seconds * 1000)
        self._unsent: dict[str, Unsent] = {}
        self._guard = Guard()  # for _unsent
        self._flusher = Pulse(FLUSH_SECONDS, self.flush)
        _forks.watch(self)
        _exit.watch(self)

    def forked(self) -> object:
        """Start without unsent messages in a forked child: the parent sends them."""
        parents = self._flusher
        self._unsent, self._guard = {}, Guard()
        self._flusher = Pulse(FLUSH_SECONDS, self.flush)
        return parents

    def read(self, info: SessionInfo, limit: int, seen: int, recent: RecentMessages | None = None) -> Found:
        """Read the newest messages; if there is no usable window, get a lease for storing one.

        Args:
            info: The session.
            limit: The number of messages at most.
            seen: The seq that the window must reach.
            recent: Messages that need not be read again.
        """
        if self._cache is None:
            return Found(None, set(), "")
        key, of, lease = window_key(info.tenant_id, info.id), microseconds(info.born_at), new_lease()
        unsent = self._take(key)
        since = recent.last_seq if recent is not None and recent.messages and limit else 0
        if unsent is not None and unsent.of == of:
            reply = self._write(key, unsent, limit, lease, since)
        else:
            if unsent is not None:
                self._write(key, unsent, -1)
            reply = self._cache.run("window", key, "read", of, self._ttl, limit, lease, since)
        if not reply:
            return Found(None, set(), lease)
        try:
            window, stubs, lease = unpack_window(reply, limit, since)
        except LIES:
            self._cache.drop_soon(key)
            return Found(None, set(), "")
        if window.last_seq < seen:
            return Found(None, set(), lease)
        if recent is not None and since:
            return Found(completed(recent, window, limit), stubs - {since}, lease)
        return Found(window, stubs, lease)

    def append(self, info: SessionInfo, messages: Sequence[Message], token_count: int) -> None:
        """Add messages that Postgres has just stored to the window, within FLUSH_SECONDS or with the next read.

        The caller does not wait for Redis: a reader that has seen these messages uses no window without them.
        """
        if self._cache is None or not messages:
            return
        self._put(window_key(info.tenant_id, info.id), Unsent(microseconds(info.born_at), messages, token_count))
        self._flusher.start()

    def _put(self, key: str, new: Unsent) -> None:
        with self._guard:  # concurrent appends may arrive in any order
            unsent = self._unsent.get(key)
            self._unsent[key] = new if unsent is None else joined(unsent, new)

    def _take(self, key: str) -> Unsent | None:
        with self._guard:
            return self._unsent.pop(key, None)

    def flush(self) -> bool:
        """Send unsent messages and drop stale keys; return whether there were any."""
        keys = list(self._unsent)
        for key in keys:
            unsent = self._take(key)
            if unsent is not None:
                self._write(key, unsent, -1)
        stale = self._cache is not None and self._cache.settle()
        return bool(keys) or stale

    def close(self) -> None:
        """Send unsent messages, and stop."""
        self._flusher.close()
        self.flush()

    def leave(self) -> None:
        """Send unsent messages when the interpreter exits, on a connection that needs no event loop."""
        self._flusher.leave()
        if self._unsent and self._cache is not None and self._cache.is_usable:
            from chatmemory._sync.storage.redis import Cache
            from chatmemory._sync.storage.redis_windows import Windows

            rest = Windows(Cache(self._cache.url, self._settings), self._settings, self._recent)
            rest._unsent, self._unsent = self._unsent, {}
            rest.flush()

    def _write(self, key: str, unsent: Unsent, limit: int, lease: str = "", since: int = 0) -> Any:
        assert self._cache is not None
        head = (unsent.of, self._ttl, limit, lease, since, *self._bounds(unsent.messages, unsent.token_count))
        try:
            reply = self._cache.run("window", key, "append", *head, *self._packed(unsent.messages))
        except BaseException:  # cancelled; sending them again does no harm
            self._put(key, unsent)
            raise
        if reply is None:  # perhaps not sent
            self._cache.remember(key)
        return reply

    def store(self, info: SessionInfo, window: Window, lease: str) -> None:
        """Store a window that was read from Postgres, unless the lease is gone or a newer seq is known."""
        if self._cache is None or not window.messages or window.messages[-1].seq < window.last_seq:
            return
        begins = packed_first(window)
        if len(begins) > self._settings.window_max_bytes:
            return
        newest = window.messages[-self._settings.window_max_messages :]
        head = (microseconds(info.born_at), self._ttl, -1, lease, 0, *self._bounds(newest, window.token_count))
        rest = (begins, pack_summary(window), new_lease(), *self._packed(newest))
        self._cache.run("window", window_key(info.tenant_id, info.id), "store", *head, *rest)

    def _bounds(self, messages: Sequence[Message], token_count: int) -> tuple[int, ...]:
        settings = self._settings
        return (messages[-1].seq, token_count, settings.window_max_messages, settings.window_max_bytes)

    def _packed(self, messages: Sequence[Message]) -> list[str]:
        return [pack(message, self._settings.window_message_bytes) for message in messages]

    @property
    def lag(self) -> float:
        """The longest time from an append to its arrival in Redis, in seconds; 0 if Redis is not in use."""
        return FLUSH_SECONDS if self._cache is not None and self._cache.is_usable else 0.0

    def forget_soon(self, tenant_id: str, session_id: str) -> None:
        """Forget a window in the background, after an append whose outcome is unknown."""
        self._recent.forget(tenant_id, session_id)
        if self._cache is not None:
            self._cache.drop_soon(window_key(tenant_id, session_id))

    def drop(self, tenant_id: str, session_id: str) -> None:
        """Forget a session's messages, in Redis and in this process, after its summary changed or it was removed."""
        self._recent.forget(tenant_id, session_id)
        if self._cache is not None:
            self._cache.drop(window_key(tenant_id, session_id))

    def forget(self, info: SessionInfo) -> None:
        """Forget a session's messages and the user's resumable sessions."""
        self._recent.forget(info.tenant_id, info.id)
        if self._cache is not None:
            key = window_key(info.tenant_id, info.id)
            self._take(key)
            self._cache.drop(key, sessions_key(info.tenant_id, info.user_id))

    @contextmanager
    def forgetting(self, infos: Iterable[SessionInfo]) -> Iterator[None]:
        """Forget these sessions before and after the block, even if it fails."""
        sessions: dict[str, list[SessionInfo]] = {}
        for info in infos:
            sessions.setdefault(info.tenant_id, []).append(info)
        self._forget_all(sessions)
        try:
            yield
        finally:
            self._forget_all(sessions)

    def _forget_all(self, sessions: Mapping[str, Sequence[SessionInfo]]) -> None:
        for tenant_id, infos in sessions.items():
            self.forget_sessions(tenant_id, [info.id for info in infos])
            self.forget_user(tenant_id, *{info.user_id for info in infos})

    def forget_sessions(self, tenant_id: str, session_ids: Sequence[str]) -> None:
        """Forget the messages of many sessions, in Redis and in this process, and their unsent messages."""
        for id in session_ids:
            self._recent.forget(tenant_id, id)
        if self._cache is not None and session_ids:
            keys = [window_key(tenant_id, id) for id in session_ids]
            for key in keys:
                self._take(key)
            self._cache.drop(*keys)

    def forget_user(self, tenant_id: str, *user_ids: str) -> None:
        """Forget the resumable sessions of these users."""
        if self._cache is not None and self._settings.enable_session_caching:
            self._cache.drop(*(sessions_key(tenant_id, id) for id in user_ids))

    def resumable(self, tenant_id: str, user_id: str, how: str, lease: str) -> SessionInfo | None:
        """Return the session that was resumed with the same arguments recently; if there is none, set the lease."""
        if self._cache is None or not self._settings.enable_session_caching:
            return None
        key = sessions_key(tenant_id, user_id)
        found = self._cache.run("sessions", key, "get", how, self._ttl, lease, self._good_for)
        if not found:
            return None
        try:
            info = unpack_session(found)
        except LIES:
            self._cache.drop_soon(key)
            return None
        return info if (info.tenant_id, info.user_id) == (tenant_id, user_id) else None

    def resumed(self, info: SessionInfo, how: str, lease: str) -> None:
        """Store a session that Postgres has resumed, if the lease is still set."""
        if self._cache is not None and self._settings.enable_session_caching:
            key = sessions_key(info.tenant_id, info.user_id)
            self._cache.run("sessions", key, "put", how, self._ttl, lease, pack_session(info))

    @property
    def _good_for(self) -> float:
        return min(VISIT_SECONDS, self._settings.session_timeout.total_seconds() * SHARE_OF_TIMEOUT)


def new_lease() -> str:
    """Return a new lease."""
    return uuid4().hex
