"""One session as a LangChain chat history."""

from collections.abc import Sequence
from typing import NoReturn

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from chatmemory import AsyncSession, ConfigurationError, Session, SessionError
from chatmemory_langchain.messages import from_message, to_message


class ChatMemoryHistory(BaseChatMessageHistory):
    """The messages of one session, read and appended as LangChain messages.

    With an AsyncSession the async methods are native, and the sync ones raise ConfigurationError; with a Session
    the sync methods are native, and the async ones run them in a thread.

    Attributes:
        session: The session.
    """

    def __init__(self, session: Session | AsyncSession) -> None:
        self.session = session

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # LangChain sets it nowhere
        """All messages of the session, oldest first."""
        return [from_message(message) for message in self._sync_session().messages()]

    async def aget_messages(self) -> list[BaseMessage]:
        """All messages of the session, oldest first."""
        if isinstance(self.session, AsyncSession):
            return [from_message(message) async for message in self.session.messages()]
        return await super().aget_messages()

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages, all or none; one whose id is stored already adds nothing.

        Raises:
            ChatMemoryError: As Session.append().
        """
        self._sync_session().append_many(map(to_message, messages))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append messages, all or none; one whose id is stored already adds nothing.

        Raises:
            ChatMemoryError: As Session.append().
        """
        if isinstance(self.session, AsyncSession):
            await self.session.append_many(map(to_message, messages))
        else:
            await super().aadd_messages(messages)

    def clear(self) -> NoReturn:
        """Refused: what was said stays said.

        Raises:
            SessionError: Always; it says what to do instead.
        """
        raise SessionError(
            "A session is not emptied. Use session.delete() to hide it, or session.erase() to remove it for good, "
            "and begin another."
        )

    async def aclear(self) -> NoReturn:
        """Refused: what was said stays said.

        Raises:
            SessionError: Always; it says what to do instead.
        """
        self.clear()

    def _sync_session(self) -> Session:
        if isinstance(self.session, Session):
            return self.session
        raise ConfigurationError(
            "This history is of an AsyncSession: use aget_messages() and aadd_messages(), or give it a Session."
        )
