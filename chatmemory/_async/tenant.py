"""The handle of one tenant."""

from collections.abc import AsyncIterator, Iterable
from datetime import datetime
from os import PathLike
from typing import BinaryIO

from chatmemory._async.items import AsyncItems
from chatmemory._async.memories.memories import AsyncMemories
from chatmemory._async.ownership.erasure import AsyncEraser
from chatmemory._async.ownership.export import AsyncExporter
from chatmemory._async.sessions.sessions import AsyncSessions
from chatmemory._async.shared import AsyncShared
from chatmemory._async.users import AsyncUsers
from chatmemory._public import public
from chatmemory.files.conversations import Conversation, RefusedConversation
from chatmemory.files.records import ImportedConversation
from chatmemory.memories.records import Spend
from chatmemory.sessions.records import Erasure
from chatmemory.validation import check_id, check_time


@public
class AsyncTenant:
    """One tenant; the database restricts every operation on it to the tenant's rows.

    Attributes:
        id: The tenant's id.
        sessions: Its sessions.
        memories: Its long-term memories, learnt or stored by the app.
        items: Values that the app stores under namespaces and keys.
        users: The data of single users, over all sessions.
    """

    def __init__(self, tenant_id: str, parts: AsyncShared) -> None:
        self.id = tenant_id
        self.sessions = AsyncSessions(tenant_id, parts)
        self.memories = AsyncMemories(tenant_id, parts)
        self.items = AsyncItems(tenant_id, parts)
        self.users = AsyncUsers(tenant_id, parts)
        self._parts = parts

    async def spend(self, *, since: datetime) -> Spend:
        """Return the tokens that models were paid for since a time, by model, by user and in all.

        Raises:
            InvalidInputError: The time has no time zone.
        """
        return await self._parts.spending.since(self.id, check_time(since, "since") or datetime.min)

    def import_conversations(
        self,
        file: BinaryIO | str | PathLike[str] | Iterable[Conversation | RefusedConversation],
        *,
        user_id: object = None,
        default_user_id: object = None,
    ) -> AsyncIterator[ImportedConversation]:
        """Import the conversations of a file, each into a session under its own id; a second import adds what is new.

        Accepted are ChatGPT's conversations.json, of which the branch of each conversation that was shown last is
        taken, Claude's conversations.json, the .zip in which either is downloaded, the JSON of session.export(), and
        the sessions in the JSON Lines of session.export_lines(), users.export() and export().
        Each session keeps its dates, and is ended as it had ended; a run comes with its metrics, and one that had not
        ended is cancelled. A session that was imported before is reopened for its new messages, and ended again. The
        file is read piece by piece, in bounded memory. The import goes on as the results are iterated.

        Instead of a file, any iterable of conversations is accepted, such as those that the integrations read from
        other stores (docs/migrate.md). Every message needs a message_id. A message that cannot be stored is left out
        and counted; a conversation whose user_id or tenant_id is another one than its session's is refused.

        Args:
            file: A path, a seekable binary file, which stays open, or conversations.
            user_id: The user whose sessions they become; None: the user that the source names.
            default_user_id: The user where the source names none.

        Raises:
            InvalidInputError: The file's format is unknown, or it is broken at some place, which the message names.
                Conversations before it were imported; importing the repaired file continues there.
        """
        from chatmemory._async.files.importing import AsyncImporter

        users = (None if user is None else check_id(user, "user_id") for user in (user_id, default_user_id))
        return AsyncImporter(self.id, self._parts, *users).take(file)

    async def erase(self) -> Erasure:
        """Remove everything of this tenant for good: all users, and what belongs to none of them.

        Users are erased in batches, each user completely. If it fails half-way, call it again. Stop the tenant's app
        first: rows that it writes meanwhile may remain.

        Returns:
            The receipt.
        """
        return await AsyncEraser(self.id, self._parts).tenant()

    def export(self) -> AsyncIterator[str]:
        """Export everything of this tenant as JSON Lines, in the form of users.export().

        Each session is read in one snapshot. Sessions created after the export began may be missing.

        Returns:
            The lines without line ends, read in bounded memory.
        """
        return AsyncExporter(self.id, self._parts).tenant()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}>"
