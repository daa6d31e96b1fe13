"""Reading what a context is made of, from Redis where that is new enough, else from Postgres."""

import math
import time
from collections.abc import Sequence

from chatmemory._async.shared import AsyncParts
from chatmemory._async.storage.transaction import Row
from chatmemory._concurrency import Guard, async_in_thread
from chatmemory.context.recent_messages import EVERY, NOTHING, Held, after_reading
from chatmemory.context.records import Context
from chatmemory.context.request import Request
from chatmemory.context.trimming import build
from chatmemory.context.window import MOST_READ, Window, limit_of, needs_more, window_from_rows, window_of
from chatmemory.messages.records import Message, message_from_row
from chatmemory.messages.token_counts import Counter
from chatmemory.sessions.records import Appended, SessionInfo
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found


class AsyncContexts:
    """The contexts of one session, none of them older than what its handle has seen."""

    def __init__(self, info: SessionInfo, parts: AsyncParts) -> None:
        self._tenant_id, self._id, self._of = info.tenant_id, info.id, info.created_at
        self._seen = info.last_seq
        self._held: Held | None = None  # from the first context on
        self._healed = 0  # what was held before connections were replaced is not believed
        self._current = -math.inf, 0  # when an append followed on what is held; what had been forgotten by then
        self._guard = Guard()  # of what was seen, and is held
        self._database, self._windows, self._tokenizer = parts.database, parts.windows, parts.tokenizer
        self._most = (parts.settings.window_max_messages, parts.settings.window_max_bytes)

    def saw(self, seq: int) -> None:
        """The handle has seen this message."""
        with self._guard:
            self._seen = max(self._seen, seq)

    def appended(self, appended: Appended, new: Sequence[Message]) -> None:
        """The handle has appended these messages."""
        self.saw(appended.last_seq)
        with self._guard:
            if self._held is not None:
                self._held = self._held.with_appended(appended, new, *self._most)
                self._current = time.monotonic(), self._windows.dropped

    def held(self) -> Held | None:
        """What is held, as far as it can be believed."""
        with self._guard:
            if self._healed != self._database.healed:
                self._held, self._healed = None, self._database.healed
            return self._held

    def _just_appended(self, limit: int) -> Window | None:
        """What is held, where the handle has appended a moment ago: Redis knows no more of the others, or less."""
        at, dropped = self._current
        if time.monotonic() - at >= self._windows.lag or dropped != self._windows.dropped:
            return None
        held = self.held()
        return held and held.window(limit, "postgres")

    def _hold(self, window: Window) -> None:
        with self._guard:
            self._held = after_reading(self._held, window, *self._most)

    async def held_for(self, request: Request, limit: int) -> Held | None:
        """What is held, if it is enough for such a context, also when messages were added."""
        if self._seen == 0:
            self._hold(NOTHING)
        held = self.held()
        if held is None or held.covers(EVERY if request.max_messages is None else request.max_messages):
            return held
        return None if needs_more(held.window(limit, "postgres"), request, await self._counter(request)) else held

    async def read(
        self, request: Request, info: SessionInfo, counts: Appended | SessionInfo, *, fresh: bool
    ) -> Context:
        """The context as it is now; fresh: from Postgres in any case."""
        counter = await self._counter(request)
        limit = limit_of(request, counts)
        window = None if fresh else self._just_appended(limit)
        if window is not None and not needs_more(window, request, counter):
            return await self._build(window, set(), request, counter)
        held = self.held()
        found = await self._windows.read(info, 0 if fresh else limit, self._seen, None if fresh else held)
        if not fresh and found.window is not None and _will_do(found.window, found.stubs, request, counter):
            if not found.stubs:
                self._hold(found.window)
            return await self._build(found.window, found.stubs, request, counter)
        params = (self._tenant_id, self._id, self._of, limit, None)
        rows = await self._database.call(queries.messages.READ_WINDOW, params, subject=self._id)
        window = await self._extended(window_from_rows(rows), request, counter)
        self._hold(window)
        await self._windows.store(info, window, found.lease)
        return await self._build(window, set(), request, counter)

    async def read_user(self, request: Request, info: SessionInfo) -> Context:
        """The newest messages of all the user's chats, as if they were one."""
        counter = await self._counter(request)
        params = {"user_id": info.user_id, "limit": min(limit_of(request, info), MOST_READ)}
        rows = await self._database.fetch(self._tenant_id, queries.messages.RECENT_MESSAGES, params, subject=self._id)
        return build(window_of(list(map(message_from_row, reversed(rows)))), request, counter, info.user_id)

    async def after(self, appended: Appended, rows: list[Row], request: Request, info: SessionInfo) -> Context:
        """The context after an append.

        Args:
            appended: What the append did.
            rows: What the schema's read_window gave; nothing where the append followed on what is held.
            request: What is asked for.
            info: The session.
        """
        counter = await self._counter(request)
        if rows:
            window = await self._extended(window_from_rows(rows), request, counter)
            self._hold(window)
        else:
            held = self.held()
            if held is None or held.last_seq < appended.last_seq:  # dropped by another task meanwhile
                return await self.read(request, info, appended, fresh=True)
            window = held.window(limit_of(request, appended), "postgres")
            if needs_more(window, request, counter):
                return await self.read(request, info, appended, fresh=True)
        return await self._build(window, set(), request, counter)

    async def _counter(self, request: Request) -> Counter:
        """The counter to trust: with a budget the exact one is worth waiting for."""
        if request.max_tokens is None:
            return self._tokenizer.at_hand()
        return await async_in_thread(self._tokenizer.best) if self._tokenizer.is_loading else self._tokenizer.best()

    async def _extended(self, window: Window, request: Request, counter: Counter) -> Window:
        """The window with all the messages that could belong in the context."""
        while needs_more(window, request, counter):
            params = (self._tenant_id, self._id, self._of, MOST_READ, window.messages[0].seq)
            rows = await self._database.call(queries.messages.READ_WINDOW, params, subject=self._id)
            older = window_from_rows(rows)
            window = window._replace(messages=[*older.messages, *window.messages], first=older.first)
        return window

    async def _build(self, window: Window, stubs: set[int], request: Request, counter: Counter) -> Context:
        """The context, with the messages fetched that Redis holds without content."""
        self.saw(window.last_seq)
        name = f"{self._tenant_id}\n{self._id}"
        while True:
            context = build(window, request, counter, name)
            missing = sorted(stubs.intersection(message.seq for message in context.messages))
            if not missing:
                return context
            params = {"id": self._id, "seqs": missing}
            rows = await self._database.fetch(self._tenant_id, queries.messages.READ_SEQS, params, subject=self._id)
            whole = {message.seq: message for message in map(message_from_row, rows)}
            if len(whole) < len(missing):
                raise not_found(self._id)
            window = window._replace(messages=[whole.get(message.seq, message) for message in window.messages])
            stubs = stubs - whole.keys()


def _will_do(window: Window, stubs: set[int], request: Request, counter: Counter) -> bool:
    """Whether a window from Redis is enough: it goes back far enough, and nothing must be counted that is not there."""
    if needs_more(window, request, counter):
        return False
    return all(message.seq not in stubs or message.token_encoding == counter.name for message in window.messages)
