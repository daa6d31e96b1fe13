"""One session as the OpenAI Agents SDK's Session."""

from uuid import uuid4

from agents import SessionSettings, TResponseInputItem
from anyio import to_thread

from chatmemory import AsyncSession, ConfigurationError, Message, NewMessage, Session
from chatmemory_openai_agents.items import from_item, removal, removal_in, removed_by, to_item

PAGE = 200  # messages


class ChatMemorySession:
    """One session of a tenant's user as the SDK's Session: `Runner.run(agent, "Hi", session=ChatMemorySession(…))`.

    Each item is kept whole, as one message with readable content; what add_items() was given is durable when it
    returns, all of it or nothing. Messages are append-only: pop_item() and clear_session() append a message that says
    what is removed, and from then on the agent does not get it. history(), exports and long-term memory still have
    it: Session.erase() removes for good. What was appended without the SDK comes as text, a tool's messages not at all.

    The SDK sends all items to the model at each turn, unless a limit is set; a turn costs one round trip for every 200
    messages that are read (none for those that this process has used lately, right after the session was resumed), and
    one for each add_items(). With a Session, calls run in threads (for Runner.run_sync()).

    Args:
        session: The session, as resume_or_create() gives it: tenant and user are bound by the app.
        session_settings: SessionSettings(limit=n): just the newest n items go to the model.

    Attributes:
        session_id: The session's id.
        session_settings: The SDK's settings.

    Raises:
        ConfigurationError: session is no session.
    """

    session_id: str
    session_settings: SessionSettings | None

    def __init__(self, session: Session | AsyncSession, *, session_settings: SessionSettings | None = None) -> None:
        if not isinstance(session, (Session, AsyncSession)):
            raise ConfigurationError(
                f"session must be a Session or an AsyncSession, as resume_or_create() gives it, "
                f"not a {type(session).__name__}."
            )
        self.session_id = session.id
        self.session_settings = session_settings or SessionSettings()
        self._session = session

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """The items, oldest first.

        Args:
            limit: Just the newest this many; None: as session_settings says, or all.
        """
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        return [item for _, item in reversed(await self._newest(limit))]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items, all or none.

        Raises:
            ChatMemoryError: As Session.append().
        """
        await self._append([from_item(item) for item in items])

    async def pop_item(self) -> TResponseInputItem | None:
        """Take back the newest item: the agent does not get it again. None: there is none.

        Of two that pop at once, each gets another item.
        """
        me = uuid4().hex
        while newest := await self._newest(1):
            [(message, item)] = newest
            [said] = await self._append([removal(message.seq, me)])
            if removed_by(said) == me:  # else somebody else took this one back just now
                return item
        return None

    async def clear_session(self) -> None:
        """Take back all items: the agent begins anew in the same session."""
        await self._append([removal(None, uuid4().hex)])

    async def _newest(self, limit: int | None) -> list[tuple[Message, TResponseInputItem]]:
        """The messages that are not removed, newest first, with their items."""
        found: list[tuple[Message, TResponseInputItem]] = []
        removed: set[int] = set()
        before, page = None, PAGE if limit is None else min(limit, PAGE)
        while (limit is None or len(found) < limit) and (messages := await self._history(page, before)):
            for message in reversed(messages):
                gone = removal_in(message)
                if gone is not None and gone.seq is None:
                    return found[:limit]
                if gone is not None and gone.seq is not None:
                    removed.add(gone.seq)
                item = None if message.seq in removed else to_item(message)
                if item is not None:
                    found.append((message, item))
            before, page = messages[0].seq, PAGE
            if before == 1:
                break
        return found[:limit]

    async def _append(self, messages: list[NewMessage]) -> list[Message]:
        session = self._session
        if isinstance(session, AsyncSession):
            return await session.append_many(messages)
        return await to_thread.run_sync(session.append_many, messages)

    async def _history(self, limit: int, before: int | None) -> list[Message]:
        session = self._session
        if isinstance(session, AsyncSession):
            return await session.history(limit, before_seq=before)
        return await to_thread.run_sync(lambda: session.history(limit, before_seq=before))
