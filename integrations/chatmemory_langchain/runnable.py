"""with_memory(): a chain that reads its session before each call and stores the turn after it."""

from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import takewhile
from typing import Any, NamedTuple

from langchain_core.messages import (
    BaseMessage,
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
from chatmemory_langchain.outputs import ParserInput, append_chunk, observed, replies_in
from chatmemory_langchain.sync_or_async import aread_context, read_context

FIELDS = [
    ConfigurableFieldSpec("tenant_id", str, "Tenant", "The session's tenant.", "default", True),
    ConfigurableFieldSpec("user_id", str, "User", "The session's user.", "", True),
    ConfigurableFieldSpec("session_id", str, "Session", "The session's id; an unknown one is created.", "", True),
]
"""The fields of a call's config under "configurable"."""


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
    """Add memory to a chain: each call reads the session, runs the chain, and stores the input and the output.

    The keys mean what they mean in LangChain's RunnableWithMessageHistory. Each call names its session:
    `chain.invoke("Hi", {"configurable": {"user_id": "ann", "session_id": "chat-1"}})`; tenant_id defaults
    to "default". An unknown session_id is created; one that has ended is continued under the same session_id.
    Input and output are stored together, after the chain has finished; if it fails, or its stream is not read to
    the end, nothing is stored. If they cannot be stored, the call raises. If the input begins with tool messages, the
    stored message with their calls is put before them.

    Args:
        chain: A chat model, a prompt with a model, any Runnable, a function of the messages.
        memory: With a ChatMemory, the async methods read and store in threads; an AsyncChatMemory is for the
            async methods only.
        input_messages_key: Key of the new messages in an input dict.
        output_messages_key: Key of the new messages in an output dict.
        history_messages_key: Key under which the chain expects the earlier messages; None: they are put before the
            new messages.
        kind: The sessions' kind: chat, general …
        history_size: Number of newest stored messages that the chain gets, 0 or more, from the start of a turn; None:
            the session's context, up to max_context_messages of the memory's settings.
        max_tokens: Token budget of the stored messages, 1 or more; the new messages and the chain's own prompt are not
            counted. None: no token limit.

    Raises:
        ConfigurationError: memory is neither a ChatMemory nor an AsyncChatMemory.
        InvalidInputError: history_messages_key is given without input_messages_key, or a number is too small.
    """
    if not isinstance(memory, (ChatMemory, AsyncChatMemory)):
        raise ConfigurationError(f"memory must be a ChatMemory or an AsyncChatMemory, not a {type(memory).__name__}.")
    for name, value, least in (("history_size", history_size, 0), ("max_tokens", max_tokens, 1)):
        if value is not None and value < least:
            raise InvalidInputError(f"{name} is {value}; it must be at least {least}.")
    if history_messages_key and not input_messages_key:
        raise InvalidInputError("history_messages_key needs input_messages_key, to identify the new messages.")
    keys = _Keys(input_messages_key, output_messages_key, history_messages_key)
    limits = _Limits(max_tokens, history_size)
    return ChatMemoryRunnable(_MemoryRunnable(coerce_to_runnable(chain), memory, keys, kind, limits), keys)


class _Keys(NamedTuple):
    """Keys of messages in input and output dicts."""

    input: str | None
    output: str | None
    history: str | None


class _Limits(NamedTuple):
    """Limits of the earlier messages."""

    tokens: int | None
    messages: int | None


class _Turn(NamedTuple):
    """One call in progress."""

    history: ChatMemoryHistory
    past: list[BaseMessage]
    new: list[BaseMessage]
    input: Any  # the chain's input
    chain: Runnable[Any, Any]
    parser_input: ParserInput


class ChatMemoryRunnable(RunnableWithMessageHistory):  # type: ignore[no-redef]  # its field "kwargs" confuses mypy
    """A RunnableWithMessageHistory with its own reading and storing.

    LangChain's own listeners swallow storage errors. They also find the new messages by counting the history again
    after the chain has run, which loses messages when two turns overlap.
    """

    def __init__(self, runnable: "_MemoryRunnable", keys: _Keys) -> None:
        super(RunnableWithMessageHistory, self).__init__(  # skips the class that this replaces
            bound=runnable,
            get_session_history=runnable.history,
            input_messages_key=keys.input,
            output_messages_key=keys.output,
            history_messages_key=keys.history,
            history_factory_config=FIELDS,
        )

    @property
    def OutputType(self) -> Any:  # noqa: N802  # LangChain's name
        """The chain's output type."""
        return self.bound.OutputType

    def _merge_configs(self, *configs: RunnableConfig | None) -> RunnableConfig:
        return super(RunnableWithMessageHistory, self)._merge_configs(*configs)


class _MemoryRunnable(Runnable[Any, Any]):
    """Runs a turn: reads the session, runs the chain, stores the input and the output."""

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
        """The chain's output type."""
        return self._chain.OutputType

    @property
    def config_specs(self) -> list[ConfigurableFieldSpec]:
        """The chain's own fields, and those of the session."""
        return get_unique_config_specs([*self._chain.config_specs, *FIELDS])

    def history(self, *, tenant_id: str = "default", user_id: str, session_id: str) -> ChatMemoryHistory:
        """Return the session named by a config, as a LangChain history."""
        return ChatMemoryHistory(
            self._sync_memory()
            .tenant(tenant_id)
            .sessions.resume_or_create(session_id, user_id=user_id, kind=self._kind, on_missing="adopt")
        )

    def invoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run one turn."""
        config = ensure_config(config)
        turn = self._begin(input, config)
        output = turn.chain.invoke(turn.input, config, **kwargs)
        turn.history.add_messages(self._messages_to_store(turn, output))
        return output

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run one turn."""
        config = ensure_config(config)
        turn = await self._abegin(input, config)
        output = await turn.chain.ainvoke(turn.input, config, **kwargs)
        await turn.history.aadd_messages(self._messages_to_store(turn, output))
        return output

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Stream one turn; it is stored after the last chunk."""
        config = ensure_config(config)
        turn = self._begin(input, config)
        output = None
        for chunk in turn.chain.stream(turn.input, config, **kwargs):
            output = append_chunk(output, chunk)
            yield chunk
        turn.history.add_messages(self._messages_to_store(turn, output))

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Stream one turn; it is stored after the last chunk."""
        config = ensure_config(config)
        turn = await self._abegin(input, config)
        output = None
        async for chunk in turn.chain.astream(turn.input, config, **kwargs):
            output = append_chunk(output, chunk)
            yield chunk
        await turn.history.aadd_messages(self._messages_to_store(turn, output))

    def _begin(self, input: Any, config: RunnableConfig) -> _Turn:
        new, ids = self._new_messages(input), _session_ids(config)
        sessions = self._sync_memory().tenant(ids["tenant_id"]).sessions
        session = sessions.resume_or_create(
            ids["session_id"], user_id=ids["user_id"], kind=self._kind, on_missing="adopt"
        )
        context = read_context(session, self._limits.tokens, max_messages=self._limits.messages)
        asked = session.history(len(context.unpaired)) if _may_answer_calls(new, context) else []
        return self._turn(session, new, [*from_context(context), *_answered_calls(asked, new, context)], input)

    def _sync_memory(self) -> ChatMemory:
        if isinstance(self._memory, ChatMemory):
            return self._memory
        raise ConfigurationError(
            "with_memory() has an AsyncChatMemory: use ainvoke, astream or abatch, or pass a ChatMemory."
        )

    async def _abegin(self, input: Any, config: RunnableConfig) -> _Turn:
        if isinstance(self._memory, ChatMemory):
            return await run_in_executor(config, self._begin, input, config)
        new, ids = self._new_messages(input), _session_ids(config)
        sessions = self._memory.tenant(ids["tenant_id"]).sessions
        session = await sessions.resume_or_create(
            ids["session_id"], user_id=ids["user_id"], kind=self._kind, on_missing="adopt"
        )
        context = await aread_context(session, self._limits.tokens, max_messages=self._limits.messages)
        asked = await session.history(len(context.unpaired)) if _may_answer_calls(new, context) else []
        return self._turn(session, new, [*from_context(context), *_answered_calls(asked, new, context)], input)

    def _turn(
        self, session: Session | AsyncSession, new: list[BaseMessage], past: list[BaseMessage], input: Any
    ) -> _Turn:
        keys = self._keys
        chain_input: Any = [*past, *new]
        if keys.history:
            chain_input = {**input, keys.history: past}
        elif keys.input:
            chain_input = {**input, keys.input: chain_input}
        parser_input = ParserInput()
        chain = observed(self._chain, parser_input)
        return _Turn(ChatMemoryHistory(session), past, new, chain_input, chain, parser_input)

    def _new_messages(self, input: Any) -> list[BaseMessage]:
        """Return the new messages in an input."""
        if self._keys.input and not isinstance(input, Mapping):
            raise InvalidInputError(f"the input is a {type(input).__name__}, not a dict with {self._keys.input!r}.")
        value = _pick(input, self._keys.input)
        return [HumanMessage(value)] if isinstance(value, str) else _convert(value)

    def _messages_to_store(self, turn: _Turn, output: Any) -> list[BaseMessage]:
        """Return the messages that a turn adds to the session."""
        received = [*turn.past, *turn.new]
        return [*turn.new, *replies_in(output, self._keys.output, turn.parser_input.value, received)]


def _may_answer_calls(new: list[BaseMessage], context: Context) -> bool:
    """Return whether the new messages may answer tool calls that the context omits for lack of an answer."""
    return bool(context.unpaired) and bool(new) and isinstance(new[0], ToolMessage)


def _answered_calls(newest: list[Message], new: list[BaseMessage], context: Context) -> list[BaseMessage]:
    """Return the message whose calls are now all answered, with the results stored so far."""
    unit = list(takewhile(lambda message: message.seq in context.unpaired, reversed(newest)))[::-1]
    start = max((index for index, message in enumerate(unit) if message.tool_calls), default=len(unit))
    asked = {call.id for message in unit[start : start + 1] for call in message.tool_calls}
    results = takewhile(lambda message: isinstance(message, ToolMessage), new)
    now = {message.tool_call_id for message in results if isinstance(message, ToolMessage)}
    open_calls = asked - now - {message.tool_call_id for message in unit[start + 1 :]}
    return [] if open_calls else [from_message(message) for message in unit[start:]]


def _session_ids(config: RunnableConfig) -> dict[str, Any]:
    """Read tenant, user and session from a call's config."""
    ids = {"tenant_id": "default", **config.get("configurable", {})}
    missing = [field.id for field in FIELDS if field.id not in ids]
    if missing:
        raise InvalidInputError(
            f"the config lacks {' and '.join(missing)}; call it with "
            '{"configurable": {"user_id": …, "session_id": …}}.'
        )
    return ids


def _pick(value: Any, key: str | None) -> Any:
    """Return the messages in an input dict: under the given key, its only key, or the key "input"."""
    if not isinstance(value, Mapping):
        return value
    key = key or (next(iter(value)) if len(value) == 1 else "input")
    if key not in value:
        raise InvalidInputError(
            f"the input has no {key!r}, only {', '.join(map(repr, value))}; pass one of them as input_messages_key."
        )
    return value[key]


def _convert(value: Any) -> list[BaseMessage]:
    try:
        return convert_to_messages([value] if isinstance(value, BaseMessage) else value)
    except (NotImplementedError, TypeError, ValueError):  # their texts quote the messages
        raise InvalidInputError(
            f"the input is a {type(value).__name__}, which has no messages; use a string or messages."
        ) from None
