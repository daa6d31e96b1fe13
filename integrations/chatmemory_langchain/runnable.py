"""with_memory(): a chain that reads its session before each call and stores the turn after it."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing
from typing import Any, Literal

from anyio import CancelScope, get_cancelled_exc_class
from langchain_core.messages import (
    BaseMessage,
    HumanMessage,
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
    Session,
)
from chatmemory_langchain.history import ChatMemoryHistory
from chatmemory_langchain.messages import from_context
from chatmemory_langchain.outputs import ParserInput, append_chunk, observed
from chatmemory_langchain.repeats import (
    Output,
    answer_messages,
    partial_answer,
    restored,
    stored_answer,
    without_broken_turn,
)
from chatmemory_langchain.sync_or_async import aread_context, read_context
from chatmemory_langchain.turns import Keys, Limits, Turn, answered_calls, astore, may_answer_calls, store

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
    recall: bool = True,
    on_break: Literal["keep", "drop"] = "keep",
) -> RunnableWithMessageHistory:
    """Add memory to a chain: each call reads the session, runs the chain, and stores the input and the output.

    The keys mean what they mean in LangChain's RunnableWithMessageHistory. Each call names its session:
    `chain.invoke("Hi", {"configurable": {"user_id": "ann", "session_id": "chat-1"}})`; tenant_id defaults
    to "default". An unknown session_id is created; one that has ended is continued under the same session_id.
    Input and output are stored together, after the chain has finished; if it fails, nothing is stored. If they cannot
    be stored, the call raises. If the input begins with tool messages, the stored message with their calls is put
    before them. If the input ends with a human message whose id has an answer among the messages that were read, that
    answer is returned and the chain is not run.

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
        recall: Whether to recall memories for the user's words: as data, in a human message before the new messages,
            within max_tokens.
        on_break: What is stored if the client stops reading a stream: "keep" stores the input and the text so far,
            with metadata["partial"]; "drop" stores nothing.

    Raises:
        ConfigurationError: memory is neither a ChatMemory nor an AsyncChatMemory.
        InvalidInputError: history_messages_key is given without input_messages_key, a number is too small, or
            on_break is unknown.
    """
    if not isinstance(memory, (ChatMemory, AsyncChatMemory)):
        raise ConfigurationError(f"memory must be a ChatMemory or an AsyncChatMemory, not a {type(memory).__name__}.")
    for name, value, least in (("history_size", history_size, 0), ("max_tokens", max_tokens, 1)):
        if value is not None and value < least:
            raise InvalidInputError(f"{name} is {value}; it must be at least {least}.")
    if on_break not in ("keep", "drop"):
        raise InvalidInputError(f'on_break is {on_break!r}; it must be "keep" or "drop".')
    if history_messages_key and not input_messages_key:
        raise InvalidInputError("history_messages_key needs input_messages_key, to identify the new messages.")
    keys = Keys(input_messages_key, output_messages_key, history_messages_key)
    limits = Limits(max_tokens, history_size, recall)
    runnable = _MemoryRunnable(coerce_to_runnable(chain), memory, keys, kind, limits, on_break == "keep")
    return ChatMemoryRunnable(runnable, keys)


class ChatMemoryRunnable(RunnableWithMessageHistory):  # type: ignore[no-redef]  # its field "kwargs" confuses mypy
    """A RunnableWithMessageHistory with its own reading and storing.

    LangChain's own listeners swallow storage errors. They also find the new messages by counting the history again
    after the chain has run, which loses messages when two turns overlap.
    """

    def __init__(self, runnable: "_MemoryRunnable", keys: Keys) -> None:
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

    def get_output_schema(self, config: RunnableConfig | None = None) -> Any:
        """Return the chain's output schema."""
        return self.bound.get_output_schema(config)

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Stream one turn; closing this closes the chain's stream at once."""
        chunks: Any = self.bound.astream(input, self._merge_configs(config), **{**self.kwargs, **kwargs})
        async with aclosing(chunks):
            async for chunk in chunks:
                yield chunk

    def _merge_configs(self, *configs: RunnableConfig | None) -> RunnableConfig:
        return super(RunnableWithMessageHistory, self)._merge_configs(*configs)


class _MemoryRunnable(Runnable[Any, Any]):
    """Runs a turn: reads the session, runs the chain, stores the input and the output."""

    def __init__(
        self,
        chain: Runnable[Any, Any],
        memory: ChatMemory | AsyncChatMemory,
        keys: Keys,
        kind: str,
        limits: Limits,
        keeps_partial: bool,
    ) -> None:
        self._chain = chain
        self._memory = memory
        self._keys = keys
        self._kind = kind
        self._limits = limits
        self._keeps_partial = keeps_partial

    @property
    def OutputType(self) -> Any:  # noqa: N802  # LangChain's name
        """The chain's output type."""
        return self._chain.OutputType

    def get_output_schema(self, config: RunnableConfig | None = None) -> Any:
        """Return the chain's output schema."""
        return self._chain.get_output_schema(config)

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
        if turn.answer:
            return self._restored(turn, config)
        output = turn.chain.invoke(turn.input, config, **kwargs)
        store(turn, answer_messages(self._output(turn, output), turn.question))
        return output

    async def ainvoke(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Run one turn."""
        config = ensure_config(config)
        turn = await self._abegin(input, config)
        if turn.answer:
            return self._restored(turn, config)
        output = await turn.chain.ainvoke(turn.input, config, **kwargs)
        await astore(turn, answer_messages(self._output(turn, output), turn.question))
        return output

    def stream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Stream one turn; it is stored after the last chunk."""
        config = ensure_config(config)
        turn = self._begin(input, config)
        if turn.answer:
            yield self._restored(turn, config)
            return
        output = None
        try:
            for chunk in turn.chain.stream(turn.input, config, **kwargs):
                output = append_chunk(output, chunk)
                yield chunk
        except GeneratorExit:  # the client reads no more
            if self._keeps_partial:
                store(turn, partial_answer(self._output(turn, output), turn.question))
            raise
        store(turn, answer_messages(self._output(turn, output), turn.question))

    async def astream(self, input: Any, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Stream one turn; it is stored after the last chunk."""
        config = ensure_config(config)
        turn = await self._abegin(input, config)
        if turn.answer:
            yield self._restored(turn, config)
            return
        output = None
        try:
            async for chunk in turn.chain.astream(turn.input, config, **kwargs):
                output = append_chunk(output, chunk)
                yield chunk
        except (GeneratorExit, get_cancelled_exc_class()):  # the client reads no more
            if self._keeps_partial:
                with CancelScope(shield=True):
                    await astore(turn, partial_answer(self._output(turn, output), turn.question))
            raise
        await astore(turn, answer_messages(self._output(turn, output), turn.question))

    def _begin(self, input: Any, config: RunnableConfig) -> Turn:
        new, ids = self._new_messages(input), _session_ids(config)
        sessions = self._sync_memory().tenant(ids["tenant_id"]).sessions
        session = sessions.resume_or_create(
            ids["session_id"], user_id=ids["user_id"], kind=self._kind, on_missing="adopt"
        )
        limits = self._limits
        context = read_context(session, limits.tokens, max_messages=limits.messages, query=limits.query(new))
        asked = session.history(len(context.unpaired)) if may_answer_calls(new, context) else []
        return self._turn(session, new, context, answered_calls(asked, new, context), input)

    def _sync_memory(self) -> ChatMemory:
        if isinstance(self._memory, ChatMemory):
            return self._memory
        raise ConfigurationError(
            "with_memory() has an AsyncChatMemory: use ainvoke, astream or abatch, or pass a ChatMemory."
        )

    async def _abegin(self, input: Any, config: RunnableConfig) -> Turn:
        if isinstance(self._memory, ChatMemory):
            return await run_in_executor(config, self._begin, input, config)
        new, ids = self._new_messages(input), _session_ids(config)
        sessions = self._memory.tenant(ids["tenant_id"]).sessions
        session = await sessions.resume_or_create(
            ids["session_id"], user_id=ids["user_id"], kind=self._kind, on_missing="adopt"
        )
        limits = self._limits
        context = await aread_context(session, limits.tokens, max_messages=limits.messages, query=limits.query(new))
        asked = await session.history(len(context.unpaired)) if may_answer_calls(new, context) else []
        return self._turn(session, new, context, answered_calls(asked, new, context), input)

    def _turn(
        self,
        session: Session | AsyncSession,
        new: list[BaseMessage],
        context: Context,
        calls: list[BaseMessage],
        input: Any,
    ) -> Turn:
        keys, question = self._keys, new[-1].id if new and isinstance(new[-1], HumanMessage) else None
        notes = [HumanMessage(context.memories_text)] if context.memories_text else []
        past = [*from_context(without_broken_turn(context, question)), *notes, *calls]
        chain_input: Any = [*past, *new]
        if keys.history:
            chain_input = {**input, keys.history: past}
        elif keys.input:
            chain_input = {**input, keys.input: chain_input}
        parser_input = ParserInput()
        chain = observed(self._chain, parser_input)
        answer = stored_answer(question, context.messages)
        return Turn(session, past, new, chain_input, chain, parser_input, question, answer)

    def _new_messages(self, input: Any) -> list[BaseMessage]:
        """Return the new messages in an input."""
        if self._keys.input and not isinstance(input, Mapping):
            raise InvalidInputError(f"the input is a {type(input).__name__}, not a dict with {self._keys.input!r}.")
        value = _pick(input, self._keys.input)
        return [HumanMessage(value)] if isinstance(value, str) else _convert(value)

    def _output(self, turn: Turn, output: Any) -> Output:
        return Output(output, self._keys.output, turn.parser_input.value, [*turn.past, *turn.new])

    def _restored(self, turn: Turn, config: RunnableConfig) -> Any:
        return restored(turn.answer, turn.new, self._chain, config)


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
