"""A session as a LangChain chat history."""

from collections.abc import Sequence
from typing import Any, Literal, NoReturn

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from chatmemory import AsyncSession, ConfigurationError, Session, SessionError
from chatmemory_langchain.messages import from_context, from_message, to_message
from chatmemory_langchain.sync_or_async import aread_context, read_context


class ChatMemoryHistory(BaseChatMessageHistory):
    """The messages of one session, read and appended as LangChain messages.

    With an AsyncSession the async methods are native, and the sync ones raise ConfigurationError; with a Session
    the sync methods are native, and the async ones run them in a thread.

    Args:
        session: The session.
        max_tokens: Token budget for the messages that are read: from a human message on, after the session's first
            system message and the summary. None: all messages are read.
        trim_step: The share of max_tokens trimmed at once, 0 to 1, as in Session.context(). 0 gives the messages of
            langchain-core's trim_messages(strategy="last", start_on="human", include_system=True).

    Attributes:
        session: The session.

    Raises:
        ConfigurationError: session is neither a Session nor an AsyncSession.
    """

    def __init__(
        self, session: Session | AsyncSession, *, max_tokens: int | None = None, trim_step: float | None = None
    ) -> None:
        if not isinstance(session, (Session, AsyncSession)):
            raise ConfigurationError(
                f"session must be a Session or an AsyncSession, as returned by resume_or_create(), "
                f"not a {type(session).__name__}."
            )
        self.session = session
        self._max_tokens = max_tokens
        self._trim_step = trim_step

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # LangChain sets it nowhere
        """The messages of the session, oldest first: all of them, or as many as fit max_tokens."""
        session = self._sync_session()
        if self._max_tokens is None:
            return [from_message(message) for message in session.messages()]
        context = read_context(session, self._max_tokens, trim_step=self._trim_step, on_oversize=self._on_oversize)
        return from_context(context, from_human=True)

    async def aget_messages(self) -> list[BaseMessage]:
        """The messages of the session, oldest first: all of them, or as many as fit max_tokens."""
        if not isinstance(self.session, AsyncSession):
            return await super().aget_messages()
        if self._max_tokens is None:
            return [from_message(message) async for message in self.session.messages()]
        options: dict[str, Any] = {"trim_step": self._trim_step, "on_oversize": self._on_oversize}
        context = await aread_context(self.session, self._max_tokens, **options)
        return from_context(context, from_human=True)

    @property
    def _on_oversize(self) -> Literal["truncate", "omit"]:
        return "omit" if self._trim_step == 0 else "truncate"  # as in trim_messages, which truncates no message

    def add_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append all messages or none; a message whose id is already stored is not added again.

        Raises:
            ChatMemoryError: The same errors as Session.append().
        """
        self._sync_session().append_many(map(to_message, messages))

    async def aadd_messages(self, messages: Sequence[BaseMessage]) -> None:
        """Append all messages or none; a message whose id is already stored is not added again.

        Raises:
            ChatMemoryError: The same errors as Session.append().
        """
        if isinstance(self.session, AsyncSession):
            await self.session.append_many(map(to_message, messages))
        else:
            await super().aadd_messages(messages)

    def clear(self) -> NoReturn:
        """Refuse: messages are append-only.

        Raises:
            SessionError: Always; it names the alternatives.
        """
        raise SessionError(
            "A session cannot be emptied. Use session.delete() to hide it, or session.erase() to remove it for good, "
            "and create a new one."
        )

    async def aclear(self) -> NoReturn:
        """Refuse: messages are append-only.

        Raises:
            SessionError: Always; it names the alternatives.
        """
        self.clear()

    def _sync_session(self) -> Session:
        if isinstance(self.session, Session):
            return self.session
        raise ConfigurationError(
            "This history has an AsyncSession: use aget_messages() and aadd_messages(), or pass a Session."
        )
