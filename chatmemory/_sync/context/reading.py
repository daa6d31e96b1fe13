# Generated from chatmemory/_async/context/reading.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Reading the messages of a context: from this process or Redis if they are recent enough, else from Postgres."""

import math
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chatmemory._concurrency import in_thread
from chatmemory._sync.shared import Shared
from chatmemory._sync.storage.transaction import Row
from chatmemory.context.recent_messages import ALL_MESSAGES, RecentMessages
from chatmemory.context.records import Context
from chatmemory.context.request import Request
from chatmemory.context.trimming import build
from chatmemory.context.window import MAX_READ, Window, limit_of, needs_more, window_from_rows, window_of
from chatmemory.messages.records import Message, message_from_row
from chatmemory.messages.token_counts import Counter
from chatmemory.sessions.records import Appended, SessionInfo
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found
from chatmemory.storage.recent_cache import CachedSession, RecentMessagesCache

LAST_SEQ = 2**63 - 2
ROW_SECONDS = 0.05  # how long a context need not be newer than a row just read from Postgres


class Plan(NamedTuple):
    """The plan for a context after an append.

    Attributes:
        request: The request.
        limit: The number of messages to read if the recent ones are not enough.
        session: The session in the cache.
        generation: The cache's generation before the append.
        recent: The recent messages if they will be enough; None: read.
    """

    request: Request
    limit: int
    session: CachedSession
    generation: int
    recent: RecentMessages | None

    @property
    def known(self) -> tuple[int, int]:
        """The first seq of an append after which nothing need be read, and the watermark that must still hold."""
        return (self.recent.last_seq + 1, self.recent.summary_seq) if self.recent else (0, 0)


class Contexts:
    """Builds the contexts of one session, none older than what any handle of this memory has seen."""

    def __init__(self, info: SessionInfo, parts: Shared) -> None:
        self._tenant_id, self._id, self._born = info.tenant_id, info.id, info.born_at
        self._seen = info.last_seq
        self._continues = info.parent_id is not None
        self._prior_summary = info.prior_summary
        self._row: SessionInfo | None = None  # just read from Postgres; used once
        self._row_of: CachedSession | None = None  # a session that was forgotten since is another one
        self._row_at = -math.inf
        self._database, self._windows, self._tokenizer = parts.database, parts.windows, parts.tokenizer
        self._cache: RecentMessagesCache = parts.recent

    def saw(self, seq: int) -> None:
        """Note that the handle has seen this seq."""
        with self._cache.guard:
            self._seen = max(self._seen, seq)

    def saw_row(self, info: SessionInfo) -> None:
        """Note that the handle has just read this row: a context within ROW_SECONDS need not be newer."""
        self._row_of = self._session()
        self.saw(info.last_seq)
        self._prior_summary = info.prior_summary
        self._row, self._row_at = info, time.monotonic()

    def appended(self, appended: Appended, new: Sequence[Message]) -> None:
        """Note that the handle has appended these messages."""
        self.saw(appended.last_seq)
        self._cache.appended(self._session(), appended, new)

    def _session(self) -> CachedSession:
        cached = self._cache.session(self._tenant_id, self._id, self._born)
        self.saw(cached.seen)
        return cached

    def as_of_row(self) -> RecentMessages | None:
        """Return the recent messages if they are as new as a row read within ROW_SECONDS, else None."""
        row, self._row = self._row, None
        if row is None or time.monotonic() - self._row_at >= ROW_SECONDS:
            return None
        cached = self._session()
        recent = self._cache.as_of_row(cached, row) if cached is self._row_of else None
        return recent if recent is not None and recent.last_seq >= self._seen else None

    def current(self) -> RecentMessages | None:
        """Return the recent messages if a read would find nothing newer, else None.

        That is so if they are as new as a row just read, or if this process has appended within the time in which
        another process's append may not have reached Redis either, so that Redis would be no newer.
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
        """Plan the context after an append: whether the recent messages are enough, and how many to read if not."""
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
        """Build the current context.

        Args:
            request: The request.
            info: The session.
            counts: Its numbers of messages and tokens, perhaps a little old.
            recent: The messages from current(), used if they go back far enough.
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
        """Build the context from Postgres."""
        found = self._windows.read(info, 0, self._seen)
        return self._read_stored(request, info, limit_of(request, counts), found.lease)

    def _read_stored(self, request: Request, info: SessionInfo, limit: int, lease: str) -> Context:
        """Build the context from Postgres, and store the window in Redis under the lease."""
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
        """Read the newest messages, or the newest before a seq."""
        params = (self._tenant_id, self._id, self._born, limit, before_seq)
        rows = self._database.call(queries.messages.READ_WINDOW, params, subject=self._id)
        return window_from_rows(rows, limit, before_seq)

    def read_user(self, request: Request, info: SessionInfo) -> Context:
        """Build a context from the newest messages of all the user's conversations."""
        counter = self._counter(request)
        params = {"user_id": info.user_id, "limit": min(limit_of(request, info), MAX_READ)}
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
        """Return the newest messages, or the newest before a seq, oldest first."""
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
        """Yield all messages, oldest first; `batch_size` are read at a time."""
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
        """Read `size` messages after a seq; they are cached if they are the whole session."""
        cached, generation = self._session(), self._cache.generation()
        window = self._stretch(size, min(seq + size, LAST_SEQ) + 1)
        if seq == 0 and window.last_seq <= size:
            self._cache.read(cached, window, generation)
        return window

    def _counter(self, request: Request) -> Counter:
        """Return the counter; with a budget, wait for the exact one to load."""
        if request.max_tokens is None:
            return self._tokenizer.at_hand()
        return in_thread(self._tokenizer.best) if self._tokenizer.is_loading else self._tokenizer.best()

    def _extended(self, window: Window, request: Request, counter: Counter) -> Window:
        """Read older messages until the window has all that could belong in the context."""
        while needs_more(window, request, counter):
            older = self._stretch(MAX_READ, window.first_seq)
            messages = [*older.messages, *window.messages]
            window = window._replace(messages=messages, first=older.first, first_seq=older.first_seq)
        return window

    def _build(self, window: Window, stubs: set[int], request: Request, counter: Counter) -> Context:
        """Build the context, and fetch its messages that Redis holds without content."""
        self.saw(window.last_seq)
        prior_summary = self._current_prior_summary()
        name = f"{self._tenant_id}\n{self._id}"
        while True:
            context = build(window, request, counter, name, prior_summary)
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

    def _current_prior_summary(self) -> str | None:
        """Return the summary of the session that this one continues: erased with that one, or made after this began.

        Neither the window nor Redis has it, so it is read each time.
        """
        if self._continues:
            params = {"id": self._id, "born": self._born}
            rows = self._database.fetch(self._tenant_id, queries.sessions.PRIOR_SUMMARY, params, subject=self._id)
            if not rows:
                raise not_found(self._id)
            [[self._prior_summary]] = rows
        return self._prior_summary


def _most(request: Request) -> int:
    return ALL_MESSAGES if request.max_messages is None else request.max_messages


def _will_do(window: Window, stubs: set[int], request: Request, counter: Counter) -> bool:
    """Return whether a window from Redis goes back far enough, and no stub in it has to be counted."""
    if needs_more(window, request, counter):
        return False
    return all(message.seq not in stubs or message.token_encoding == counter.name for message in window.messages)
