"""One organisation's part of the memory."""

from collections.abc import AsyncIterator
from datetime import datetime
from os import PathLike
from typing import BinaryIO

from chatmemory._async.items import AsyncItems
from chatmemory._async.memories.memories import AsyncMemories
from chatmemory._async.ownership.erasure import AsyncEraser
from chatmemory._async.ownership.export import AsyncExporter
from chatmemory._async.sessions.sessions import AsyncSessions
from chatmemory._async.shared import AsyncParts
from chatmemory._async.users import AsyncUsers
from chatmemory._public import public
from chatmemory.files.records import ImportedConversation
from chatmemory.memories.records import Spend
from chatmemory.sessions.records import Erasure
from chatmemory.validation import check_id, check_time


@public
class AsyncTenant:
    """All that belongs to one tenant; every operation below it is bound to this tenant by the database.

    Attributes:
        id: The tenant's id.
        sessions: Its sessions.
        memories: What was learnt from them, and what it was told to keep.
        items: What the app keeps of its own, under namespaces and keys.
        users: What belongs to one user, over all sessions.
    """

    def __init__(self, tenant_id: str, parts: AsyncParts) -> None:
        self.id = tenant_id
        self.sessions = AsyncSessions(tenant_id, parts)
        self.memories = AsyncMemories(tenant_id, parts)
        self.items = AsyncItems(tenant_id, parts)
        self.users = AsyncUsers(tenant_id, parts)
        self._parts = parts

    async def spend(self, *, since: datetime) -> Spend:
        """What models were paid for since then, in tokens: by model, by user and in all.

        Raises:
            InvalidInputError: The time has no time zone.
        """
        return await self._parts.spending.since(self.id, check_time(since, "since") or datetime.min)

    def import_conversations(
        self, file: BinaryIO | str | PathLike[str], *, user_id: object = None, default_user_id: object = None
    ) -> AsyncIterator[ImportedConversation]:
        """Import the conversations of a file, each into a session under its own id; importing it again adds nothing.

        Accepted are ChatGPT's conversations.json, of which the branch of each conversation that was shown last is
        taken, Claude's conversations.json and the JSON of session.export(). Each session is ended as it had ended; a
        run comes with its metrics, and one that had not ended is cancelled. The file is read piece by piece, in
        bounded memory. The import goes on as the results are iterated.

        Args:
            file: A path, or a binary file that can seek; one that you opened stays open.
            user_id: The user whose sessions they become; None: the user that the file names.
            default_user_id: The user where the file names none.

        Raises:
            InvalidInputError: The file's format is unknown, or it is broken from some place on (the message says
                which). Conversations before that are imported, and importing the mended file continues there.
        """
        from chatmemory._async.files.importing import AsyncImporter

        users = (None if user is None else check_id(user, "user_id") for user in (user_id, default_user_id))
        return AsyncImporter(self.id, self._parts, *users).take(file)

    async def erase(self) -> Erasure:
        """Remove everything of this tenant for good: all users, and what belongs to none of them.

        Users are erased some at a time, each of them whole. If it fails half-way, call it again. The tenant's app
        should have stopped: what it writes meanwhile may stay.

        Returns:
            How much is gone.
        """
        return await AsyncEraser(self.id, self._parts).tenant()

    def export(self) -> AsyncIterator[str]:
        """Read everything that is stored of this tenant as JSON Lines, in the form of users.export().

        Each session is read as it stood at one moment. What is begun after the export began may be missing.

        Returns:
            Lines without their ends, in bounded memory.
        """
        return AsyncExporter(self.id, self._parts).tenant()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}>"
