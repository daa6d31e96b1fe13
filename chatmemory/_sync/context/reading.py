# Generated from chatmemory/_async/context/reading.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Reading what a context is made of, from Redis where that is new enough, else from Postgres."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chatmemory._concurrency import in_thread
from chatmemory._sync.shared import Parts
from chatmemory._sync.storage.transaction import Row
from chatmemory.context.recent_messages import ALL_MESSAGES, RecentMessages
from chatmemory.context.records import Context
from chatmemory.context.request import Request
from chatmemory.context.trimming import build
from chatmemory.context.window import MOST_READ, Window, limit_of, needs_more, window_from_rows, window_of
from chatmemory.messages.records import Message, message_from_row
from chatmemory.messages.token_counts import Counter
from chatmemory.sessions.records import Appended, SessionInfo
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found
from chatmemory.storage.recent_cache import CachedSession, RecentMessagesCache

ROW_SECONDS = 0.05  # how long after a session's row was read a context need be no newer than it


class Plan(NamedTuple):
    """What a context after an append will be made of.

    Attributes:
        request: What is asked for.
        limit: How many messages to read where the recent ones are not enough.
        session: The session in the cache.
        generation: The cache's generation before the append.
        recent: The recent messages, where they are enough, also when messages were added.
    """

    request: Request
    limit: int
    session: CachedSession
    generation: int
    recent: RecentMessages | None

    @property
    def known(self) -> tuple[int, int]:
        """The seq that an append must get so that nothing is read, and the watermark that the session must have."""
        return (self.recent.last_seq + 1, self.recent.summary_seq) if self.recent else (0, 0)


class Contexts:
    """The contexts of one session, none of them older than what its handle, or another of its memory, has seen."""

    def __init__(self, info: SessionInfo, parts: Parts) -> None:
        self._tenant_id, self._id, self._born = info.tenant_id, info.id, info.created_at
        self._seen = info.last_seq
        self._row: SessionInfo | None = None  # from Postgres, until it is used
        self._row_at = -math.inf
        self._database, self._windows, self._tokenizer = parts.database, parts.windows, parts.tokenizer
        self._cache: RecentMessagesCache = parts.recent

    def saw(self, seq: int) -> None:
        """The handle has seen this message."""
        with self._cache.guard:
            self._seen = max(self._seen, seq)

    def saw_row(self, info: SessionInfo) -> None:
        """The handle has just read this row from Postgres: the next reading need be no newer, if it comes at once."""
        self.saw(info.last_seq)
        self._row, self._row_at = info, time.monotonic()

    def appended(self, appended: Appended, new: Sequence[Message]) -> None:
        """The handle has appended these messages."""
        self.saw(appended.last_seq)
        self._cache.appended(self._session(), appended, new)

    def _session(self) -> CachedSession:
        cached = self._cache.session(self._tenant_id, self._id, self._born)
        self.saw(cached.seen)
        return cached

    def as_of_row(self) -> RecentMessages | None:
        """The recent messages, where they are as new as the row that was read from Postgres a moment ago."""
        row, self._row = self._row, None
        if row is None or time.monotonic() - self._row_at >= ROW_SECONDS:
            return None
        recent = self._cache.as_of_row(self._session(), row)
        return recent if recent is not None and recent.last_seq >= self._seen else None

    def current(self) -> RecentMessages | None:
        """The recent messages, where a reading would find nothing newer.

        They are as new as the row that was read a moment ago; or this process has appended a moment ago, and Redis
        would know no more of the others' messages yet.
        """
        recent = self.as_of_row()
        if recent is not None:
            return recent
        cached = self._session()
        if time.monotonic() - cached.appended_at >= self._windows.lag:
            return None
        recent = self._cache.recent(cached)
        return recent if recent is not None and recent.last_seq >= self._seen else None

    def plan(self, request: Request, counts: Appended | SessionInfo) -> Plan:
        """Plan the context after an append: which recent messages are enough for it, and how many to read else."""
        cached, generation, limit = self._session(), self._cache.generation(), limit_of(request, counts)
        if self._seen == 0:
            self._cache.begin(cached)
        recent = self._cache.recent(cached)
        if recent is not None and not recent.covers(_most(request)):
            recent = None if needs_more(recent.window(limit), request, self._counter(request)) else recent
        return Plan(request, limit, cached, generation, recent)

    def read(
        self, request: Request, info: SessionInfo, counts: Appended | SessionInfo, recent: RecentMessages | None
    ) -> Context:
        """The context as it is now.

        Args:
            request: What is asked for.
            info: The session.
            counts: How many messages and tokens it has, about.
            recent: The current() messages: they are enough where they go back far enough.
        """
        counter, limit = self._counter(request), limit_of(request, counts)
        if recent is not None:
            window = recent.window(limit, "process")
            if not needs_more(window, request, counter):
                return self._build(window, set(), request, counter)
        cached, generation = self._session(), self._cache.generation()
        found = self._windows.read(info, limit, self._seen, self._cache.recent(cached))
        if found.window is not None and _will_do(found.window, found.stubs, request, counter):
            if not found.stubs:
                self._cache.read(cached, found.window, generation)
            return self._build(found.window, found.stubs, request, counter)
        return self._read_stored(request, info, limit, found.lease)

    def read_fresh(self, request: Request, info: SessionInfo, counts: Appended | SessionInfo) -> Context:
        """The context as Postgres has it now."""
        found = self._windows.read(info, 0, self._seen)
        return self._read_stored(request, info, limit_of(request, counts), found.lease)

    def _read_stored(self, request: Request, info: SessionInfo, limit: int, lease: str) -> Context:
        """The context as Postgres has it now; under the lease, Redis gets what was read."""
        counter = self._counter(request)
        window = self._read_window(limit, request, counter)
        self._windows.store(info, window, lease)
        return self._build(window, set(), request, counter)

    def _read_window(self, limit: int, request: Request, counter: Counter) -> Window:
        cached, generation = self._session(), self._cache.generation()
        window = self._extended(self._stretch(limit), request, counter)
        self._cache.read(cached, window, generation)
        return window

    def _stretch(self, limit: int, before_seq: int | None = None) -> Window:
        """The newest messages, or the newest before a seq."""
        params = (self._tenant_id, self._id, self._born, limit, before_seq)
        rows = self._database.call(queries.messages.READ_WINDOW, params, subject=self._id)
        return window_from_rows(rows, limit, before_seq)

    def read_user(self, request: Request, info: SessionInfo) -> Context:
        """The newest messages of all the user's chats, as if they were one."""
        counter = self._counter(request)
        params = {"user_id": info.user_id, "limit": min(limit_of(request, info), MOST_READ)}
        rows = self._database.fetch(self._tenant_id, queries.messages.RECENT_MESSAGES, params, subject=self._id)
        return build(window_of(list(map(message_from_row, reversed(rows)))), request, counter, info.user_id)

    def after(
        self, plan: Plan, appended: Appended, new: Sequence[Message], rows: Sequence[Row], info: SessionInfo
    ) -> Context:
        """The context after an append.

        Args:
            plan: The plan made before it.
            appended: What the append did.
            new: The messages it added.
            rows: What the schema's read_window gave; nothing where the append followed on the recent messages.
            info: The session.
        """
        counter = self._counter(plan.request)
        if rows:
            window = self._extended(window_from_rows(rows, plan.limit), plan.request, counter)
            self._cache.read(plan.session, window, plan.generation)
        else:
            recent = plan.recent and self._cache.with_appended(plan.recent, appended, new)
            found = recent and recent.window(limit_of(plan.request, appended))
            if found is None or needs_more(found, plan.request, counter):
                return self.read_fresh(plan.request, info, appended)
            window = found
        return self._build(window, set(), plan.request, counter)

    def history(self, limit: int, before_seq: int | None) -> list[Message]:
        """The newest messages, or the newest before a seq, oldest first."""
        recent = self.as_of_row() if before_seq is None else None
        if recent is not None and recent.covers(limit):
            return list(recent.window(limit).messages)
        cached, generation = self._session(), self._cache.generation()
        window = self._stretch(limit, before_seq)
        if before_seq is None:
            self._cache.read(cached, window, generation)
            self.saw(window.last_seq)
        return list(window.messages)

    def messages(self, batch_size: int) -> Iterator[Message]:
        """All messages, oldest first; so many are read at a time."""
        recent = self.as_of_row()
        whole = recent is not None and recent.is_complete
        window = recent.window(ALL_MESSAGES) if recent and whole else self._page(0, batch_size)
        seq = 0
        while True:
            for message in window.messages if seq else window.all_messages:
                seq = message.seq
                yield message
            if seq >= window.last_seq:
                return
            window = self._page(seq, min(batch_size, window.last_seq - seq))

    def _page(self, seq: int, size: int) -> Window:
        """So many messages after a seq; kept where they are all there are."""
        cached, generation = self._session(), self._cache.generation()
        window = self._stretch(size, seq + size + 1)
        if seq == 0 and window.last_seq <= size:
            self._cache.read(cached, window, generation)
        return window

    def _counter(self, request: Request) -> Counter:
        """The counter to trust: with a budget the exact one is worth waiting for."""
        if request.max_tokens is None:
            return self._tokenizer.at_hand()
        return in_thread(self._tokenizer.best) if self._tokenizer.is_loading else self._tokenizer.best()

    def _extended(self, window: Window, request: Request, counter: Counter) -> Window:
        """The window with all the messages that could belong in the context."""
        while needs_more(window, request, counter):
            older = self._stretch(MOST_READ, window.first_seq)
            messages = [*older.messages, *window.messages]
            window = window._replace(messages=messages, first=older.first, first_seq=older.first_seq)
        return window

    def _build(self, window: Window, stubs: set[int], request: Request, counter: Counter) -> Context:
        """The context, with the messages fetched that Redis holds without content."""
        self.saw(window.last_seq)
        name = f"{self._tenant_id}\n{self._id}"
        while True:
            context = build(window, request, counter, name)
            missing = sorted(stubs.intersection(message.seq for message in context.messages))
            if not missing:
                return context
            params = {"id": self._id, "born": self._born, "seqs": missing}
            rows = self._database.fetch(self._tenant_id, queries.messages.READ_SEQS, params, subject=self._id)
            whole = {message.seq: message for message in map(message_from_row, rows)}
            if len(whole) < len(missing):
                raise not_found(self._id)
            window = window._replace(messages=[whole.get(message.seq, message) for message in window.messages])
            stubs = stubs - whole.keys()


def _most(request: Request) -> int:
    return ALL_MESSAGES if request.max_messages is None else request.max_messages


def _will_do(window: Window, stubs: set[int], request: Request, counter: Counter) -> bool:
    """Whether a window from Redis is enough: it goes back far enough, and nothing must be counted that is not there."""
    if needs_more(window, request, counter):
        return False
    return all(message.seq not in stubs or message.token_encoding == counter.name for message in window.messages)
