"""One session as a LangChain chat history."""

from collections.abc import Sequence
from typing import Any, Literal, NoReturn

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage

from chatmemory import AsyncSession, ConfigurationError, Session, SessionError
from chatmemory_langchain.messages import from_context, from_message, to_message
from chatmemory_langchain.sync_or_async import apast_of, past_of


class ChatMemoryHistory(BaseChatMessageHistory):
    """The messages of one session, read and appended as LangChain messages.

    With an AsyncSession the async methods are native, and the sync ones raise ConfigurationError; with a Session
    the sync methods are native, and the async ones run them in a thread.

    Args:
        session: The session.
        max_tokens: What the messages read may cost in a prompt, from a human's message on, with the system message
            the session begins with and the summary as system messages before them. None: all messages are read.
        trim_step: The share of max_tokens that is trimmed at once, as in Session.context(). With 0 the messages are
            those of langchain-core's trim_messages(strategy="last", start_on="human", include_system=True).

    Attributes:
        session: The session.

    Raises:
        ConfigurationError: session is no session.
    """

    def __init__(
        self, session: Session | AsyncSession, *, max_tokens: int | None = None, trim_step: float | None = None
    ) -> None:
        if not isinstance(session, (Session, AsyncSession)):
            raise ConfigurationError(
                f"session must be a Session or an AsyncSession, as resume_or_create() gives it, "
                f"not a {type(session).__name__}."
            )
        self.session = session
        self._max_tokens = max_tokens
        self._trim_step = trim_step

    @property
    def messages(self) -> list[BaseMessage]:  # type: ignore[override]  # LangChain sets it nowhere
        """The messages of the session, oldest first: all of them, or as many as max_tokens takes."""
        session = self._sync_session()
        if self._max_tokens is None:
            return [from_message(message) for message in session.messages()]
        context = past_of(session, self._max_tokens, trim_step=self._trim_step, on_oversize=self._on_oversize)
        return from_context(context, from_human=True)

    async def aget_messages(self) -> list[BaseMessage]:
        """The messages of the session, oldest first: all of them, or as many as max_tokens takes."""
        if not isinstance(self.session, AsyncSession):
            return await super().aget_messages()
        if self._max_tokens is None:
            return [from_message(message) async for message in self.session.messages()]
        how: dict[str, Any] = {"trim_step": self._trim_step, "on_oversize": self._on_oversize}
        context = await apast_of(self.session, self._max_tokens, **how)
        return from_context(context, from_human=True)

    @property
    def _on_oversize(self) -> Literal["truncate", "omit"]:
        return "omit" if self._trim_step == 0 else "truncate"  # as trim_messages, which cuts no message

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
