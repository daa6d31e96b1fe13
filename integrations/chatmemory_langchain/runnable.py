"""Any chain with memory: what was said goes in, and what is said now is stored."""

from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    BaseMessageChunk,
    HumanMessage,
    ToolMessage,
    convert_to_messages,
)
from langchain_core.runnables import (
    ConfigurableFieldSpec,
    Runnable,
    RunnableConfig,
    ensure_config,
    run_in_executor,
)
from langchain_core.runnables.base import RunnableLike, coerce_to_runnable
from langchain_core.runnables.history import RunnableWithMessageHistory
from langchain_core.runnables.utils import get_unique_config_specs

from chatmemory import (
    AsyncChatMemory,
    AsyncSession,
    ChatMemory,
    ConfigurationError,
    Context,
    InvalidInputError,
    Message,
    Session,
)
from chatmemory_langchain.history import ChatMemoryHistory
from chatmemory_langchain.messages import from_context, from_message
from chatmemory_langchain.sync_or_async import apast_of, past_of

FIELDS = [
    ConfigurableFieldSpec("tenant_id", str, "Tenant", "Whose organisation's session it is.", "default", True),
    ConfigurableFieldSpec("user_id", str, "User", "Whose session it is.", "", True),
    ConfigurableFieldSpec("session_id", str, "Session", "Which session; an unknown one is created.", "", True),
]
"""What a call's config holds under "configurable"."""


def with_memory(
    chain: RunnableLike[Any, Any],
    memory: ChatMemory | AsyncChatMemory,
    *,
    input_messages_key: str | None = None,
    output_messages_key: str | None = None,
    history_messages_key: str | None = None,
    kind: str = "chat",
    history_size: int | None = None,
    max_tokens: int | None = None,
) -> RunnableWithMessageHistory:
    """Give a chain a memory: each call reads the session, runs the chain, and stores the input and the output.

    The keys mean what they mean in LangChain's RunnableWithMessageHistory. Each call names its session:
    `chain.invoke("Hi", {"configurable": {"user_id": "ann", "session_id": "chat-1"}})`; tenant_id is "default" where
    it is left out. An unknown session_id is created; one that has ended is continued under the same session_id.
    Input and output are stored together, after the chain has finished; if it fails, or its stream is not read to
    the end, nothing is stored. If they cannot be stored, the call raises. Where the input begins with tool messages,
    the stored message whose calls they answer stands before them.

    Args:
        chain: What to run: a chat model, a prompt with a model, any Runnable, a function of the messages.
        memory: With a ChatMemory, the async methods read and store in threads; an AsyncChatMemory is for the
            async methods only.
        input_messages_key: Where in an input dict the new messages stand.
        output_messages_key: Where in an output dict the new messages stand.
        history_messages_key: Where in the input dict the chain wants what was said before; None: it is put in front
            of the new messages.
        kind: What the sessions are: chat, general …
        history_size: How many of the newest stored messages the chain gets, from the start of a turn; None: what
            Session.context() gives, up to max_context_messages of the memory's settings.
        max_tokens: What the stored messages that the chain gets may cost in tokens; the new messages, and what the
            chain's own prompt adds, come on top. None: only their number counts.

    Raises:
        ConfigurationError: memory is no ChatMemory.
        InvalidInputError: history_messages_key is given without input_messages_key, or a number is too small.
    """
    if not isinstance(memory, (ChatMemory, AsyncChatMemory)):
        raise ConfigurationError(f"memory must be a ChatMemory or an AsyncChatMemory, not a {type(memory).__name__}.")
    for name, value, least in (("history_size", history_size, 0), ("max_tokens", max_tokens, 1)):
        if value is not None and value < least:
            raise InvalidInputError(f"{name} is {value}; it must be at least {least}.")
    if history_messages_key and not input_messages_key:
        raise InvalidInputError("history_messages_key needs input_messages_key, to tell the new messages.")
    keys = _Keys(input_messages_key, output_messages_key, history_messages_key)
    limits = _Limits(max_tokens, history_size)
    return ChatMemoryRunnable(_Remembering(coerce_to_runnable(chain), memory, keys, kind, limits), keys)


class _Keys(NamedTuple):
    """Where messages stand in dicts."""

    input: str | None
    output: str | None
    history: str | None


class _Limits(NamedTuple):
    """How much of the past a chain gets."""

    tokens: int | None
    messages: int | None


class _Turn(NamedTuple):
    """One call under way."""

    history: ChatMemoryHistory
    past: list[BaseMessage]
    said: list[BaseMessage]
    input: Any  # what the chain gets


class ChatMemoryRunnable(RunnableWithMessageHistory):  # type: ignore[no-redef]  # its field "kwargs" confuses mypy
    """A RunnableWithMessageHistory that does the reading and storing itself.

    LangChain's own listeners swallow what goes wrong while storing, and tell what is new by counting the history
    anew after the chain has run, which loses messages when two turns overlap.
    """

    def __init__(self, remembering: "_Remembering", keys: _Keys) -> None:
        super(RunnableWithMessageHistory, self).__init__(  # past the class whose work this replaces
            bound=remembering,
            get_session_history=remembering.history,
            input_messages_key=keys.input,
            output_messages_key=keys.output,
            history_messages_key=keys.history,
            history_factory_config=FIELDS,
        )

    @property
    def OutputType(self) -> Any:  # noqa: N802  # LangChain's name
        """What the chain gives."""
        return self.bound.OutputType

    def _merge_configs(self, *configs: RunnableConfig | None) -> RunnableConfig:
        return super(RunnableWithMessageHistory, self)._merge_configs(*configs)


class _Remembering(Runnable[Any, Any]):
    """A turn: read the session, run the chain, store the input and the output."""

    def __init__(
        self,
        chain: Runnable[Any, Any],
        memory: ChatMemory | AsyncChatMemory,
        keys: _Keys,
        kind: str,
        limits: _Limits,
    ) -> None:
        self._chain = chain
        self._memory = memory
        self._keys = keys
        self._kind = kind
        self._limits = limits

    @property
    def OutputType(self) -> Any:  # noqa: N802  # LangChain's name
        """What the chain gives."""
        return self._chain.OutputType

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The chain's own, and those that name the session."""
        return get_unique_config_specs([*self._chain.config_specs, *FIELDS])

    def history(self, *, tenant_id: str = "default", user_id: str, session_id: str) -> ChatMemoryHistory:
        """The session that a config names, as a LangChain history."""
        return ChatMemoryHistory(
            self._sync_memory()
            .tenant(tenant_id)
            .sessions.resume_or_create(session_id, user_id=user_id, kind=self._kind, on_missing="adopt")
        )

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run one turn."""
        config = ensure_config(config)
        turn = self._begin(input, config)
        output = self._chain.invoke(turn.input, config, **kwargs)
        turn.history.add_messages(self._told(turn, output))
        return output

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run one turn."""
        config = ensure_config(config)
        turn = await self._abegin(input, config)
        output = await self._chain.ainvoke(turn.input, config, **kwargs)
        await turn.history.aadd_messages(self._told(turn, output))
        return output

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Run one turn, piece by piece; it is stored when the last piece was taken."""
        config = ensure_config(config)
        turn = self._begin(input, config)
        output = None
        for chunk in self._chain.stream(turn.input, config, **kwargs):
            output = _joined(output, chunk)
            yield chunk
        turn.history.add_messages(self._told(turn, output))

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Run one turn, piece by piece; it is stored when the last piece was taken."""
        config = ensure_config(config)
        turn = await self._abegin(input, config)
        output = None
        async for chunk in self._chain.astream(turn.input, config, **kwargs):
            output = _joined(output, chunk)
            yield chunk
        await turn.history.aadd_messages(self._told(turn, output))

    def _begin(self, input: Any, config: RunnableConfig) -> _Turn:
        said, ids = self._said(input), _ids(config)
        sessions = self._sync_memory().tenant(ids["tenant_id"]).sessions
        session = sessions.resume_or_create(
            ids["session_id"], user_id=ids["user_id"], kind=self._kind, on_missing="adopt"
        )
        context = past_of(session, self._limits.tokens, max_messages=self._limits.messages)
        asked = session.history(len(context.unpaired)) if _may_answer(said, context) else []
        return self._turn(session, said, [*from_context(context), *_answered(asked, said, context)], input)

    def _sync_memory(self) -> ChatMemory:
        if isinstance(self._memory, ChatMemory):
            return self._memory
        raise ConfigurationError(
            "with_memory() was given an AsyncChatMemory: use ainvoke, astream or abatch, or give it a ChatMemory."
        )

    async def _abegin(self, input: Any, config: RunnableConfig) -> _Turn:
        if isinstance(self._memory, ChatMemory):
            return await run_in_executor(config, self._begin, input, config)
        said, ids = self._said(input), _ids(config)
        sessions = self._memory.tenant(ids["tenant_id"]).sessions
        session = await sessions.resume_or_create(
            ids["session_id"], user_id=ids["user_id"], kind=self._kind, on_missing="adopt"
        )
        context = await apast_of(session, self._limits.tokens, max_messages=self._limits.messages)
        asked = await session.history(len(context.unpaired)) if _may_answer(said, context) else []
        return self._turn(session, said, [*from_context(context), *_answered(asked, said, context)], input)

    def _turn(
        self, session: Session | AsyncSession, said: list[BaseMessage], past: list[BaseMessage], input: Any
    ) -> _Turn:
        keys = self._keys
        for_chain: Any = [*past, *said]
        if keys.history:
            for_chain = {**input, keys.history: past}
        elif keys.input:
            for_chain = {**input, keys.input: for_chain}
        return _Turn(ChatMemoryHistory(session), past, said, for_chain)

    def _said(self, input: Any) -> list[BaseMessage]:
        """The new messages in an input."""
        if self._keys.input and not isinstance(input, Mapping):
            raise InvalidInputError(f"the input is a {type(input).__name__}, not a dict with {self._keys.input!r}.")
        value = _pick(input, self._keys.input, "input")
        return [HumanMessage(value)] if isinstance(value, str) else _messages(value, "input")

    def _told(self, turn: _Turn, output: Any) -> list[BaseMessage]:
        """What a turn adds to the session."""
        value = _pick(output, self._keys.output, "output")
        if isinstance(value, str):
            return [*turn.said, AIMessage(value)]
        replies = _messages(value, "output")
        if not isinstance(value, BaseMessage):
            replies = _without_repeated(replies, [*turn.past, *turn.said])
        return [*turn.said, *replies]


def _may_answer(said: list[BaseMessage], context: Context) -> bool:
    """Whether what is said now may answer tool calls that the context leaves out, as it knows no answer."""
    return bool(context.unpaired) and bool(said) and isinstance(said[0], ToolMessage)


def _answered(newest: list[Message], said: list[BaseMessage], context: Context) -> list[BaseMessage]:
    """The message whose calls are all answered now, with the results that are stored already."""
    unit = list(takewhile(lambda message: message.seq in context.unpaired, reversed(newest)))[::-1]
    start = max((index for index, message in enumerate(unit) if message.tool_calls), default=len(unit))
    asked = {call.id for message in unit[start : start + 1] for call in message.tool_calls}
    results = takewhile(lambda message: isinstance(message, ToolMessage), said)
    now = {message.tool_call_id for message in results if isinstance(message, ToolMessage)}
    open_calls = asked - now - {message.tool_call_id for message in unit[start + 1 :]}
    return [] if open_calls else [from_message(message) for message in unit[start:]]


def _ids(config: RunnableConfig) -> dict[str, Any]:
    """Which session a call is about."""
    given = {"tenant_id": "default", **config.get("configurable", {})}
    missing = [field.id for field in FIELDS if field.id not in given]
    if missing:
        raise InvalidInputError(
            f"the config does not say {' and '.join(missing)}; call it with "
            '{"configurable": {"user_id": …, "session_id": …}}.'
        )
    return given


def _pick(value: Any, key: str | None, what: str) -> Any:
    """The messages in a dict: under the key that was named, the only one, or the one named as the thing itself."""
    if not isinstance(value, Mapping):
        return value
    key = key or (next(iter(value)) if len(value) == 1 else what)
    if key not in value:
        raise InvalidInputError(
            f"the {what} has no {key!r}, only {', '.join(map(repr, value))}; name one as {what}_messages_key."
        )
    return value[key]


def _messages(value: Any, what: str) -> list[BaseMessage]:
    try:
        return convert_to_messages([value] if isinstance(value, BaseMessage) else value)
    except (NotImplementedError, TypeError, ValueError):  # they quote what was said
        raise InvalidInputError(
            f"the {what} is a {type(value).__name__}, which holds no messages; use a string or messages."
        ) from None


def _joined(whole: Any, chunk: Any) -> Any:
    """What was streamed so far; where pieces cannot be added, the last one counts."""
    if whole is None:
        return chunk
    if isinstance(chunk, BaseMessage) and not isinstance(chunk, BaseMessageChunk):
        return [*(whole if isinstance(whole, list) else [whole]), chunk]
    try:
        return whole + chunk
    except TypeError:
        return chunk


def _without_repeated(replies: list[BaseMessage], given: list[BaseMessage]) -> list[BaseMessage]:
    """What is new in an output list: agents return all messages they were given, and their own."""
    begin = zip(replies, given, strict=False)
    repeats = len(replies) >= len(given) and all(
        (reply.type, reply.content) == (message.type, message.content) for reply, message in begin
    )
    return replies[len(given) :] if repeats else replies
