"""A session as the OpenAI Agents SDK's Session."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any
from uuid import uuid4

from agents import SessionSettings, TResponseInputItem
from anyio import to_thread

from chatmemory import AsyncSession, ConfigurationError, Message, NewMessage, Session
from chatmemory_openai_agents.items import from_item, removal, removal_in, removed_by, to_item

PAGE_SIZE = 200  # messages per read


class ChatMemorySession:
    """A session of one user as the SDK's Session: `Runner.run(agent, "Hi", session=ChatMemorySession(…))`.

    Each item is stored whole, as one message with readable content. add_items() stores all its items or none, durably.
    Messages are append-only: pop_item() and clear_session() append a message that marks the removal, and the agent
    does not get the removed items again. history(), exports and long-term memory still have them: Session.erase()
    removes for good. Messages that were appended without the SDK are returned as text, except tool messages, which are
    skipped.

    The SDK sends all items to the model at each turn, unless a limit is set. A turn costs one round trip per 200
    messages read (none for those that this process has used recently, right after the session was resumed), and one
    per add_items(). With a Session, calls run in threads (for Runner.run_sync()).

    Args:
        session: The session, as returned by resume_or_create(): the app binds tenant and user.
        session_settings: SessionSettings(limit=n), or {"limit": n}, sends only the newest n items to the model.

    Attributes:
        session_id: The session's id.
        session_settings: The SDK's settings.

    Raises:
        ConfigurationError: session is neither a Session nor an AsyncSession, or session_settings are no settings.
    """

    session_id: str
    session_settings: SessionSettings | None

    def __init__(
        self,
        session: Session | AsyncSession,
        *,
        session_settings: SessionSettings | Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(session, (Session, AsyncSession)):
            raise ConfigurationError(
                f"session must be a Session or an AsyncSession, as returned by resume_or_create(), "
                f"not a {type(session).__name__}."
            )
        self.session_id = session.id
        self.session_settings = _checked_settings(session_settings)
        self._session = session

    async def get_items(self, limit: int | None = None) -> list[TResponseInputItem]:
        """Return the items, oldest first.

        Args:
            limit: Number of newest items, 0 or more; None: the limit of session_settings, or all.
        """
        if limit is None and self.session_settings is not None:
            limit = self.session_settings.limit
        return [item for _, item in reversed(await self._newest(limit))]

    async def add_items(self, items: list[TResponseInputItem]) -> None:
        """Append items, all or none.

        Raises:
            ChatMemoryError: The same errors as Session.append().
        """
        await self._append([from_item(item) for item in items])

    async def pop_item(self) -> TResponseInputItem | None:
        """Remove and return the newest item; None if there is none.

        Two concurrent calls get different items.
        """
        caller = uuid4().hex
        while newest := await self._newest(1):
            [(message, item)] = newest
            [stored] = await self._append([removal(message.seq, caller)])
            if removed_by(stored) == caller:  # otherwise a concurrent call has removed this one
                return item
        return None

    async def clear_session(self) -> None:
        """Remove all items: the agent starts anew in the same session."""
        await self._append([removal(None, uuid4().hex)])

    async def _newest(self, limit: int | None) -> list[tuple[Message, TResponseInputItem]]:
        """Return the messages that are not removed, newest first, with their items."""
        newest: list[tuple[Message, TResponseInputItem]] = []
        removed: set[int] = set()
        before, page = None, PAGE_SIZE if limit is None else min(limit, PAGE_SIZE)
        while (limit is None or len(newest) < limit) and (messages := await self._history(page, before)):
            for message in reversed(messages):
                mark = removal_in(message)
                if mark is not None and mark.seq is None:
                    return newest[:limit]
                if mark is not None and mark.seq is not None:
                    removed.add(mark.seq)
                item = None if message.seq in removed else to_item(message)
                if item is not None:
                    newest.append((message, item))
            before, page = messages[0].seq, PAGE_SIZE
            if before == 1:
                break
        return newest[:limit]

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


def _checked_settings(settings: SessionSettings | Mapping[str, Any] | None) -> SessionSettings:
    """Return settings as the SDK's class.

    Raises:
        ConfigurationError: They have another class, unknown names, or a limit that is no number of 0 or more.
    """
    try:
        if isinstance(settings, Mapping) and settings.keys() - {field.name for field in fields(SessionSettings)}:
            raise TypeError
        found = SessionSettings(**settings) if isinstance(settings, Mapping) else settings or SessionSettings()
    except (TypeError, ValueError):  # unknown names, or no number
        found = None
    if not isinstance(found, SessionSettings):
        raise ConfigurationError('session_settings must be SessionSettings(limit=…) or a dict such as {"limit": 20}.')
    if found.limit is not None and (type(found.limit) is not int or found.limit < 0):
        raise ConfigurationError("the limit of session_settings must be a whole number of 0 or more, or None.")
    return found
