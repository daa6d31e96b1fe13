# Generated from chatmemory/_async/users.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""One tenant's users: what belongs to each of them, over all sessions."""

from collections.abc import Iterator
from dataclasses import asdict

from chatmemory._public import public
from chatmemory._sync.shared import Parts
from chatmemory._sync.storage.transaction import Row, Statement
from chatmemory.files import exports
from chatmemory.files.exports import to_line
from chatmemory.items.records import item_from_row
from chatmemory.memories.records import Memory, Profile, memory_from_row
from chatmemory.messages.records import Message, message_from_row
from chatmemory.records import JsonObject
from chatmemory.sessions.records import Erasure, session_from_row
from chatmemory.storage import queries
from chatmemory.validation import check_count, check_id

MOST_IN_PROFILE = 200
HAPPENED = ("session_id", "at", "event", "data")
SPENT = ("at", "session_id", "purpose", "model", "input_tokens", "output_tokens")


@public
class Users:
    """What is known of users, and how it is handed out or removed."""

    def __init__(self, tenant_id: str, parts: Parts) -> None:
        self._tenant_id = tenant_id
        self._database, self._windows, self._metrics = parts.database, parts.windows, parts.metrics

    def recent(self, user_id: object, limit: int = 30) -> list[Message]:
        """The newest messages of all the user's chats, oldest first; their seqs count within each session.

        Args:
            user_id: Whose.
            limit: How many at most, 0 or more.
        """
        params = {"user_id": check_id(user_id, "user_id"), "limit": check_count(limit, "limit")}
        rows = self._database.fetch(self._tenant_id, queries.messages.RECENT_MESSAGES, params)
        return [message_from_row(row) for row in reversed(rows)]

    def profile(self, user_id: object) -> Profile:
        """The facts and preferences that hold now, the most important first."""
        user = check_id(user_id, "user_id")
        query = queries.memories.list_memories(of_user=True, valid=True, after=False)
        params = {"user_id": user, "at": None, "limit": MOST_IN_PROFILE, "offset": 0}
        listing: list[Statement] = [(query, {**params, "kinds": [kind]}) for kind in ("fact", "preference")]
        facts, preferences = map(_most_important_first, self._database.run(self._tenant_id, *listing))
        return Profile(user_id=user, facts=facts, preferences=preferences)

    def erase(self, user_id: object) -> Erasure:
        """Remove everything held about a user, for good.

        That is sessions, messages, memories, items, events, spend and keys in Redis.

        Returns:
            How much is gone; nothing where the user is unknown.
        """
        user = check_id(user_id, "user_id")
        self._windows.forget_user(self._tenant_id, user)
        counts = {"sessions": 0, "messages": 0, "events": 0, "memories": 0, "metrics": 0, "spend": 0, "items": 0}
        self._metrics.flush()
        with self._database.transaction(self._tenant_id) as connection:
            connection.execute(queries.sessions.LOCK_USER, (self._tenant_id, user))
            connection.execute(queries.users.LOCK_TO_FORGET, {"user_id": user, "session_id": None})
            connection.execute(queries.memories.LOCK_MEMORIES, (self._tenant_id, user))
            rows = connection.execute(queries.users.SESSIONS_OF_USER, (user,)).fetchall()
            sessions = [id for (id,) in rows]
            for id in sessions:  # also those that Redis may still hold: nothing is read from there while we erase
                self._windows.drop(self._tenant_id, id)
            of_user = {"user_id": user, "sessions": sessions}
            rows = connection.execute(queries.users.MEMORIES_OF_USER, of_user).fetchall()
            counts["memories"] = len(rows)
            connection.execute(queries.memories.REMOVE_MEMORIES, (self._tenant_id, [id for (id,) in rows]))
            for id in sessions:
                [(metrics,)] = connection.execute(queries.runs.ERASE_METRICS, (id,)).fetchall()
                counts["metrics"] += metrics
                for name, query in (
                    ("messages", queries.sessions.ERASE_MESSAGES),
                    ("events", queries.sessions.ERASE_EVENTS),
                    ("sessions", queries.sessions.ERASE_SESSION),
                ):
                    counts[name] += connection.execute(query, (id,)).rowcount
            counts["spend"] = connection.execute(queries.users.ERASE_SPEND_OF_USER, (user,)).rowcount
            counts["items"] = connection.execute(queries.items.ERASE_ITEMS_OF_USER, (user,)).rowcount
            connection.execute(queries.users.ERASE_MEMORY_USER, (user,))
        for id in sessions:
            self._metrics.forget(self._tenant_id, id)
            self._windows.drop(self._tenant_id, id)
        self._windows.forget_user(self._tenant_id, user)
        return Erasure(**counts)

    def export(self, user_id: object) -> Iterator[str]:
        """Everything held about a user as JSON Lines: sessions and what belongs to them, memories, items, spend.

        With a session come its messages, events and metrics. Deleted sessions are held too, and marked. With the
        user's memories comes what the tenant shares of what the user said.
        """
        user = check_id(user_id, "user_id")
        self._metrics.flush()
        rows = self._database.fetch(self._tenant_id, queries.users.ALL_SESSIONS_OF_USER, (user,))
        for *row, deleted_at in rows:
            info = session_from_row(row)
            yield to_line("session", {**asdict(info), "deleted_at": deleted_at})
            for type, record in self._of_session(info.id):
                yield to_line(type, record)
        of_user = {"user_id": user}
        for remembered in self._database.fetch(self._tenant_id, queries.users.ALL_MEMORIES_OF_USER, of_user):
            yield to_line("memory", asdict(memory_from_row(remembered)))
        for spent in self._database.fetch(self._tenant_id, queries.users.SPEND_TO_EXPORT, (user,)):
            yield to_line("spend", dict(zip(SPENT, spent, strict=True)))
        for kept in self._database.fetch(self._tenant_id, queries.items.ITEMS_OF_USER, (user,)):
            yield to_line("item", asdict(item_from_row(kept)))

    def _of_session(self, id: str) -> Iterator[tuple[str, JsonObject]]:
        """What belongs to a session, each with its type."""
        seq = 0
        while True:
            params = {"id": id, "seq": seq}
            stored = self._database.fetch(self._tenant_id, queries.users.MESSAGES_TO_EXPORT, params)
            for each in stored:
                yield "message", {"session_id": id, **asdict(message_from_row(each))}
            if not stored:
                break
            seq = stored[-1][0]
        for event in self._database.fetch(self._tenant_id, queries.users.EVENTS_TO_EXPORT, (id,)):
            yield "event", dict(zip(HAPPENED, (id, *event), strict=True))
        for packed in self._database.fetch(self._tenant_id, queries.runs.METRICS_TO_EXPORT, (id,)):
            yield "metrics", {"session_id": id, **exports.points(packed)}

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of tenant {self._tenant_id!r}>"


def _most_important_first(rows: list[Row]) -> tuple[Memory, ...]:
    return tuple(sorted(map(memory_from_row, rows), key=lambda memory: -memory.importance))
