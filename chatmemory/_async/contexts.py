"""Reading what a context is made of, from Redis where that is new enough, else from Postgres."""

from chatmemory import queries
from chatmemory._async.database import Row
from chatmemory._async.parts import AsyncParts
from chatmemory._concurrency import Guard, async_in_thread
from chatmemory.context import MOST_READ, Request, Window, build, limit_of, needs_more, window_from_rows, window_of
from chatmemory.models import Appended, Context, SessionInfo, message_from_row
from chatmemory.tokens import Counter
from chatmemory.translation import not_found


class AsyncContexts:
    """The contexts of one session, none of them older than what its handle has seen."""

    def __init__(self, info: SessionInfo, parts: AsyncParts) -> None:
        self._tenant_id, self._id = info.tenant_id, info.id
        self._seen = info.last_seq
        self._guard = Guard()  # of what was seen
        self._database, self._windows, self._tokenizer = parts.database, parts.windows, parts.tokenizer

    def saw(self, seq: int) -> None:
        """The handle has seen this message."""
        with self._guard:
            self._seen = max(self._seen, seq)

    async def read(
        self, request: Request, info: SessionInfo, counts: Appended | SessionInfo, *, fresh: bool
    ) -> Context:
        """The context as it is now; fresh: from Postgres in any case."""
        counter = await self._counter(request)
        limit = limit_of(request, counts)
        found = await self._windows.read(info, 0 if fresh else limit, self._seen)
        if not fresh and found.window is not None and _will_do(found.window, found.stubs, request, counter):
            return await self._build(found.window, found.stubs, request, counter)
        params = (self._tenant_id, self._id, limit, None)
        rows = await self._database.call(queries.READ_WINDOW, params, subject=self._id)
        window = await self._extended(window_from_rows(rows), request, counter)
        await self._windows.store(info, window, found.lease)
        return await self._build(window, set(), request, counter)

    async def read_user(self, request: Request, info: SessionInfo) -> Context:
        """The newest messages of all the user's chats, as if they were one."""
        counter = await self._counter(request)
        params = {"user_id": info.user_id, "limit": min(limit_of(request, info), MOST_READ)}
        rows = await self._database.fetch(self._tenant_id, queries.RECENT_MESSAGES, params, subject=self._id)
        return build(window_of(list(map(message_from_row, reversed(rows)))), request, counter, info.user_id)

    async def of(self, rows: list[Row], request: Request) -> Context:
        """The context of what the schema's read_window gave."""
        counter = await self._counter(request)
        return await self._build(
            await self._extended(window_from_rows(rows), request, counter), set(), request, counter
        )

    async def _counter(self, request: Request) -> Counter:
        """The counter to trust: with a budget the exact one is worth waiting for."""
        if request.max_tokens is None:
            return self._tokenizer.at_hand()
        return await async_in_thread(self._tokenizer.best) if self._tokenizer.is_loading else self._tokenizer.best()

    async def _extended(self, window: Window, request: Request, counter: Counter) -> Window:
        """The window with all the messages that could belong in the context."""
        while needs_more(window, request, counter):
            params = (self._tenant_id, self._id, MOST_READ, window.messages[0].seq)
            rows = await self._database.call(queries.READ_WINDOW, params, subject=self._id)
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
            rows = await self._database.fetch(self._tenant_id, queries.READ_SEQS, params, subject=self._id)
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
