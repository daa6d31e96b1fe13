# Generated from chatmemory/_async/users.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""One tenant's users: what belongs to each of them, over all sessions."""

from collections.abc import Iterator
from typing import TypeAlias

from chatmemory._public import public
from chatmemory._sync.ownership.erasure import Eraser
from chatmemory._sync.ownership.export import Exporter
from chatmemory._sync.shared import Shared
from chatmemory._sync.storage.transaction import Row, Statement
from chatmemory.memories.records import Memory, Profile, memory_from_row
from chatmemory.messages.records import Message, message_from_row
from chatmemory.paging import check_page
from chatmemory.records import Page, UserInfo, name_key
from chatmemory.sessions.records import Erasure
from chatmemory.storage import queries
from chatmemory.validation import check_count, check_id

MAX_IN_PROFILE = 200
Messages: TypeAlias = list[Message]  # inside the class, `list` is the method
Statements: TypeAlias = list[Statement]


@public
class Users:
    """The data of users: read, exported, erased."""

    def __init__(self, tenant_id: str, parts: Shared) -> None:
        self._tenant_id = tenant_id
        self._parts, self._database = parts, parts.database

    def list(self, *, limit: int = 100, offset: int = 0, cursor: str | None = None) -> Page[UserInfo]:
        """List all users of whom something is stored, by their ids.

        Args:
            limit: How many users a page holds at most, 0 or more.
            offset: How many users to skip, at most 10,000.
            cursor: `next` of the page before; None: the first page.

        Raises:
            InvalidInputError: A value cannot be used, or the cursor belongs to another list.
        """
        request = check_page("users", {"tenant": self._tenant_id}, limit, offset, cursor)
        rows = self._database.fetch(self._tenant_id, queries.ownership.LIST_USERS, request.params)
        return request.page(rows, lambda row: UserInfo(*row), name_key)

    def recent(self, user_id: object, limit: int = 30) -> Messages:
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
        params = {"user_id": user, "at": None, "limit": MAX_IN_PROFILE, "offset": 0}
        listing: Statements = [(query, {**params, "kinds": [kind]}) for kind in ("fact", "preference")]
        facts, preferences = map(_most_important_first, self._database.run(self._tenant_id, *listing))
        return Profile(user_id=user, facts=facts, preferences=preferences)

    def erase(self, user_id: object) -> Erasure:
        """Remove everything held about a user, for good.

        That is sessions and what belongs to them, memories, items, spend and keys in Redis. Memories of others that
        cite the user's sessions go too. All of it is gone, or nothing is: it is one transaction.

        Returns:
            How much is gone; nothing where the user is unknown.
        """
        return Eraser(self._tenant_id, self._parts).users([check_id(user_id, "user_id")])

    def export(self, user_id: object) -> Iterator[str]:
        """Read everything that is stored about a user as JSON Lines.

        The first line names the format. Each line has under `record` what it is, and beside it what the record's
        to_dict() gives. With a session come its messages, events and metrics, as they stood at one moment; with the
        user's memories come those that the tenant shares and that cite the user. Memories of other users that cite the
        user's sessions are left out, though erase() removes them. Deleted sessions are exported too, with `deleted_at`.

        Returns:
            Lines without their ends, in bounded memory.
        """
        return Exporter(self._tenant_id, self._parts).user(check_id(user_id, "user_id"))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of tenant {self._tenant_id!r}>"


def _most_important_first(rows: list[Row]) -> tuple[Memory, ...]:
    return tuple(sorted(map(memory_from_row, rows), key=lambda memory: -memory.importance))
