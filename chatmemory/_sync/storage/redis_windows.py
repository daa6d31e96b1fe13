# Generated from chatmemory/_async/storage/redis_windows.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The window of each session in Redis, and the sessions a user may resume from there. Without Redis, nothing."""

from collections.abc import Iterable, Iterator, Sequence
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
from chatmemory.storage.unsent_messages import Late, joined

if TYPE_CHECKING:
    from chatmemory._sync.storage.redis import Cache

VISIT_SECONDS = 1800.0  # Postgres hears of a resumed session at least this often
SHARE_OF_TIMEOUT = 0.1  # and often enough that it does not take an active session for an idle one
FLUSH_SECONDS = 0.05  # how late Redis may hear of what was appended


class Found(NamedTuple):
    """What a reader found in Redis.

    Attributes:
        window: The window; None where Redis cannot tell.
        stubs: The seqs of the messages that are there without content.
        lease: Under which what is read from Postgres afterwards may be stored.
    """

    window: Window | None
    stubs: set[int]
    lease: str


class Windows:
    """All windows of one memory. A window is believed only as far as the reader can tell that it is not too old."""

    def __init__(self, cache: "Cache | None", settings: Settings, recent: RecentMessagesCache) -> None:
        self._cache = cache
        self._recent = recent  # forgets what is forgotten here
        self._settings = settings
        self._ttl = round(settings.session_cache_ttl_seconds * 1000)
        self._late: dict[str, Late] = {}
        self._guard = Guard()  # of what is late
        self._flusher = Pulse(FLUSH_SECONDS, self.flush)
        _forks.watch(self)
        _exit.watch(self)

    def forked(self) -> object:
        """In a forked child: what is late is the parent's to write."""
        parents = self._flusher
        self._late, self._guard = {}, Guard()
        self._flusher = Pulse(FLUSH_SECONDS, self.flush)
        return parents

    def read(self, info: SessionInfo, limit: int, seen: int, recent: RecentMessages | None = None) -> Found:
        """The newest messages; where there are none, a lease to store what Postgres says.

        Args:
            info: The session.
            limit: How many at most.
            seen: A window that does not reach this seq is too old.
            recent: Messages that need not be read again.
        """
        if self._cache is None:
            return Found(None, set(), "")
        key, of, lease = window_key(info.tenant_id, info.id), microseconds(info.created_at), new_lease()
        late = self._take(key)
        since = recent.last_seq if recent is not None and recent.messages and limit else 0
        if late is not None and late.of == of:
            reply = self._write(key, late, limit, lease, since)
        else:
            if late is not None:
                self._write(key, late, -1)
            reply = self._cache.run("window", key, "read", of, self._ttl, limit, lease, since)
        if not reply:
            return Found(None, set(), lease)
        try:
            window, stubs, lease = unpack_window(reply)
        except LIES:
            self._cache.drop_soon(key)
            return Found(None, set(), "")
        if window.last_seq < seen:
            return Found(None, set(), lease)
        if recent is not None and since:
            return Found(completed(recent, window, limit), stubs - {since}, lease)
        return Found(window, stubs, lease)

    def append(self, info: SessionInfo, messages: Sequence[Message], token_count: int) -> None:
        """Let the window go on with messages that Postgres has just stored: a little later, or with the next read.

        The caller need not wait for Redis: whoever has seen these messages believes no window without them.
        """
        if self._cache is None or not messages:
            return
        self._put(window_key(info.tenant_id, info.id), Late(microseconds(info.created_at), messages, token_count))
        self._flusher.start()

    def _put(self, key: str, new: Late) -> None:
        with self._guard:  # appends at once may tell of themselves in any order
            late = self._late.get(key)
            self._late[key] = new if late is None else joined(late, new)

    def _take(self, key: str) -> Late | None:
        with self._guard:
            return self._late.pop(key, None)

    def flush(self) -> bool:
        """Write what is late, and forget what is stale; tell whether there was something."""
        keys = list(self._late)
        for key in keys:
            late = self._take(key)
            if late is not None:
                self._write(key, late, -1)
        stale = self._cache is not None and self._cache.settle()
        return bool(keys) or stale

    def close(self) -> None:
        """Write what is late, and stop."""
        self._flusher.close()
        self.flush()

    def leave(self) -> None:
        """At the end of the interpreter: write what is late on a connection of its own, which needs no event loop."""
        self._flusher.leave()
        if self._late and self._cache is not None and self._cache.is_usable:
            from chatmemory._sync.storage.redis import Cache
            from chatmemory._sync.storage.redis_windows import Windows

            rest = Windows(Cache(self._cache.url, self._settings), self._settings, self._recent)
            rest._late, self._late = self._late, {}
            rest.flush()

    def _write(self, key: str, late: Late, limit: int, lease: str = "", since: int = 0) -> Any:
        assert self._cache is not None
        head = (late.of, self._ttl, limit, lease, since, *self._bounds(late.messages, late.token_count))
        try:
            reply = self._cache.run("window", key, "append", *head, *self._packed(late.messages))
        except BaseException:  # cancelled; writing it again does no harm
            self._put(key, late)
            raise
        if reply is None:  # perhaps nobody tried
            self._cache.remember(key)
        return reply

    def store(self, info: SessionInfo, window: Window, lease: str) -> None:
        """Keep what was read from Postgres, unless the lease is gone, or something newer is known of."""
        if self._cache is None or not window.messages or window.messages[-1].seq < window.last_seq:
            return
        begins = packed_first(window)
        if len(begins) > self._settings.window_max_bytes:
            return
        newest = window.messages[-self._settings.window_max_messages :]
        head = (microseconds(info.created_at), self._ttl, -1, lease, 0, *self._bounds(newest, window.token_count))
        rest = (begins, pack_summary(window), new_lease(), *self._packed(newest))
        self._cache.run("window", window_key(info.tenant_id, info.id), "store", *head, *rest)

    def _bounds(self, messages: Sequence[Message], token_count: int) -> tuple[int, ...]:
        settings = self._settings
        return (messages[-1].seq, token_count, settings.window_max_messages, settings.window_max_bytes)

    def _packed(self, messages: Sequence[Message]) -> list[str]:
        return [pack(message, self._settings.window_message_bytes) for message in messages]

    @property
    def lag(self) -> float:
        """How much later than Postgres a reader may hear of an append, in seconds; 0 where no Redis is in use."""
        return FLUSH_SECONDS if self._cache is not None and self._cache.is_usable else 0.0

    def forget_soon(self, tenant_id: str, session_id: str) -> None:
        """Forget the window beside the caller's work: nobody knows what was stored."""
        self._recent.forget(tenant_id, session_id)
        if self._cache is not None:
            self._cache.drop_soon(window_key(tenant_id, session_id))

    def drop(self, tenant_id: str, session_id: str) -> None:
        """Forget a session's messages, in Redis and in this process: its summary is another now, or it is gone."""
        self._recent.forget(tenant_id, session_id)
        if self._cache is not None:
            self._cache.drop(window_key(tenant_id, session_id))

    def forget(self, info: SessionInfo) -> None:
        """Forget a session: its window, and that it may be resumed."""
        self._recent.forget(info.tenant_id, info.id)
        if self._cache is not None:
            key = window_key(info.tenant_id, info.id)
            self._take(key)
            self._cache.drop(key, sessions_key(info.tenant_id, info.user_id))

    @contextmanager
    def forgetting(self, infos: Iterable[SessionInfo]) -> Iterator[None]:
        """Leave nothing of these sessions in Redis, neither when their end begins nor after it, whatever happens."""
        infos = list(infos)
        for info in infos:
            self.forget(info)
        try:
            yield
        finally:
            for info in infos:
                self.forget(info)

    def forget_sessions(self, tenant_id: str, session_ids: Sequence[str]) -> None:
        """Forget the windows of many sessions, also in this process, and what is still to be written to them."""
        for id in session_ids:
            self._recent.forget(tenant_id, id)
        if self._cache is not None and session_ids:
            keys = [window_key(tenant_id, id) for id in session_ids]
            for key in keys:
                self._take(key)
            self._cache.drop(*keys)

    def forget_user(self, tenant_id: str, *user_ids: str) -> None:
        """Forget which sessions these users may resume."""
        if self._cache is not None and self._settings.enable_session_caching:
            self._cache.drop(*(sessions_key(tenant_id, id) for id in user_ids))

    def resumable(self, tenant_id: str, user_id: str, how: str, lease: str) -> SessionInfo | None:
        """The session that was resumed in this way a short while ago; else the lease is taken to say which it is."""
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
        """Keep what Postgres said, if the lease still stands."""
        if self._cache is not None and self._settings.enable_session_caching:
            key = sessions_key(info.tenant_id, info.user_id)
            self._cache.run("sessions", key, "put", how, self._ttl, lease, pack_session(info))

    @property
    def _good_for(self) -> float:
        return min(VISIT_SECONDS, self._settings.session_timeout.total_seconds() * SHARE_OF_TIMEOUT)


def new_lease() -> str:
    """A lease of one's own."""
    return uuid4().hex
