"""One tenant's users: what belongs to each of them, over all sessions."""

from collections.abc import AsyncIterator

from chatmemory._async.memories.memories import AsyncMemories
from chatmemory._async.shared import AsyncParts
from chatmemory._public import public
from chatmemory.files.exports import to_line
from chatmemory.items.records import item_from_row
from chatmemory.json_form import FORMAT, Record, plain
from chatmemory.memories.records import Profile, expense_from_row, memory_from_row
from chatmemory.messages.records import Message, message_from_row
from chatmemory.runs.metric_records import curve_from_row
from chatmemory.sessions.records import Erasure, event_from_row, session_from_row
from chatmemory.storage import queries
from chatmemory.validation import check_count, check_id

MOST_IN_PROFILE = 200


@public
class AsyncUsers:
    """What is known of users, and how it is handed out or removed."""

    def __init__(self, tenant_id: str, parts: AsyncParts) -> None:
        self._tenant_id = tenant_id
        self._database, self._windows, self._metrics = parts.database, parts.windows, parts.metrics
        self._memories = AsyncMemories(tenant_id, parts)

    async def recent(self, user_id: object, limit: int = 30) -> list[Message]:
        """The newest messages of all the user's chats, oldest first; their seqs count within each session.

        Args:
            user_id: Whose.
            limit: How many at most, 0 or more.
        """
        params = {"user_id": check_id(user_id, "user_id"), "limit": check_count(limit, "limit")}
        rows = await self._database.fetch(self._tenant_id, queries.messages.RECENT_MESSAGES, params)
        return [message_from_row(row) for row in reversed(rows)]

    async def profile(self, user_id: object) -> Profile:
        """The facts and preferences that hold now, the most important first."""
        user = check_id(user_id, "user_id")
        found = {}
        for kind in ("fact", "preference"):
            page = await self._memories.list(user_id=user, kinds=[kind], limit=MOST_IN_PROFILE)
            found[kind] = tuple(sorted(page, key=lambda memory: -memory.importance))
        return Profile(user_id=user, facts=found["fact"], preferences=found["preference"])

    async def erase(self, user_id: object) -> Erasure:
        """Remove everything held about a user, for good.

        That is sessions, messages, memories, items, events, spend and keys in Redis.

        Returns:
            How much is gone; nothing where the user is unknown.
        """
        user = check_id(user_id, "user_id")
        await self._windows.forget_user(self._tenant_id, user)
        counts = {"sessions": 0, "messages": 0, "events": 0, "memories": 0, "metrics": 0, "spend": 0, "items": 0}
        await self._metrics.flush()
        async with self._database.transaction(self._tenant_id) as connection:
            await connection.execute(queries.sessions.LOCK_USER, (self._tenant_id, user))
            await connection.execute(queries.users.LOCK_TO_FORGET, {"user_id": user, "session_id": None})
            await connection.execute(queries.memories.LOCK_MEMORIES, (self._tenant_id, user))
            rows = await (await connection.execute(queries.users.SESSIONS_OF_USER, (user,))).fetchall()
            sessions = [id for (id,) in rows]
            for id in sessions:  # also those that Redis may still hold: nothing is read from there while we erase
                await self._windows.drop(self._tenant_id, id)
            of_user = {"user_id": user, "sessions": sessions}
            rows = await (await connection.execute(queries.users.MEMORIES_OF_USER, of_user)).fetchall()
            counts["memories"] = len(rows)
            await connection.execute(queries.memories.REMOVE_MEMORIES, (self._tenant_id, [id for (id,) in rows]))
            for id in sessions:
                [(metrics,)] = await (await connection.execute(queries.runs.ERASE_METRICS, (id,))).fetchall()
                counts["metrics"] += metrics
                for name, query in (
                    ("messages", queries.sessions.ERASE_MESSAGES),
                    ("events", queries.sessions.ERASE_EVENTS),
                    ("sessions", queries.sessions.ERASE_SESSION),
                ):
                    counts[name] += (await connection.execute(query, (id,))).rowcount
            counts["spend"] = (await connection.execute(queries.users.ERASE_SPEND_OF_USER, (user,))).rowcount
            counts["items"] = (await connection.execute(queries.items.ERASE_ITEMS_OF_USER, (user,))).rowcount
            await connection.execute(queries.users.ERASE_MEMORY_USER, (user,))
        for id in sessions:
            await self._metrics.forget(self._tenant_id, id)
            await self._windows.drop(self._tenant_id, id)
        await self._windows.forget_user(self._tenant_id, user)
        return Erasure(**counts)

    async def export(self, user_id: object) -> AsyncIterator[str]:
        """Export everything held about a user as JSON Lines: sessions and what belongs to them, memories, items, spend.

        The first line names the format. Each line has under `record` what it is, and beside it what the record's
        to_dict() gives. With a session come its messages, events and metrics; with the user's memories come those
        that the tenant shares and that cite the user. Deleted sessions are exported too, with `deleted_at`.
        """
        user = check_id(user_id, "user_id")
        await self._metrics.flush()
        yield to_line("export", {"format": FORMAT, "tenant_id": self._tenant_id, "user_id": user})
        rows = await self._database.fetch(self._tenant_id, queries.users.ALL_SESSIONS_OF_USER, (user,))
        for *columns, deleted_at in rows:
            info = session_from_row(columns)
            yield to_line("session", {**info.to_dict(), "deleted_at": plain(deleted_at)})
            async for kind, record in self._of_session(info.id):
                yield to_line(kind, {"session_id": info.id, **record.to_dict()})
        for kind, query, params, build in (
            ("memory", queries.users.ALL_MEMORIES_OF_USER, {"user_id": user}, memory_from_row),
            ("spend", queries.users.SPEND_TO_EXPORT, (user,), expense_from_row),
            ("item", queries.items.ITEMS_OF_USER, (user,), item_from_row),
        ):
            for row in await self._database.fetch(self._tenant_id, query, params):
                yield to_line(kind, build(row).to_dict())

    async def _of_session(self, id: str) -> AsyncIterator[tuple[str, Record]]:
        """The records that belong to a session, each with its kind."""
        seq = 0
        while True:
            params = {"id": id, "seq": seq}
            stored = await self._database.fetch(self._tenant_id, queries.users.MESSAGES_TO_EXPORT, params)
            for row in stored:
                message = message_from_row(row)
                seq = message.seq
                yield "message", message
            if not stored:
                break
        for row in await self._database.fetch(self._tenant_id, queries.users.EVENTS_TO_EXPORT, (id,)):
            yield "event", event_from_row(row)
        for row in await self._database.fetch(self._tenant_id, queries.runs.METRICS_TO_EXPORT, (id,)):
            yield "metrics", curve_from_row(row)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of tenant {self._tenant_id!r}>"
