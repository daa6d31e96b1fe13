"""Memory for LangChain's agents: each run starts with the session's context, and its messages are stored."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Annotated, Any, NotRequired, TypedDict

from langchain.agents.middleware import AgentMiddleware, AgentState, ModelRequest, ModelResponse
from langchain.agents.middleware.types import PrivateStateAttr
from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import run_in_executor
from langgraph.runtime import Runtime

from chatmemory import (
    AsyncChatMemory,
    AsyncSession,
    ChatMemory,
    ConfigurationError,
    Context,
    InvalidInputError,
    NewMessage,
    Session,
)
from chatmemory_langchain.messages import from_context, to_message
from chatmemory_langchain.sync_or_async import aread_context, read_context

MAX_QUERY_CHARACTERS = 2000


@dataclass(frozen=True, kw_only=True)
class MemoryContext:
    """The session of an agent's run: create_agent(context_schema=MemoryContext).

    Attributes:
        user_id: The session's user.
        session_id: The session's id; an unknown one is created.
        tenant_id: The user's tenant.
    """

    user_id: str
    session_id: str
    tenant_id: str = "default"


class Loaded(TypedDict):
    """The memory that a run loaded at its start.

    Attributes:
        past: Earlier messages, with a summary in front if some are omitted.
        notes: Recalled memories as text for the prompt.
        before: Ids of the messages in the agent's state that are part of the past, and so are not sent again.
    """

    past: list[AnyMessage]
    notes: str | None
    before: list[str]


class MemoryState(AgentState[Any]):
    """The middleware's private part of the agent's state."""

    memory_loaded: NotRequired[Annotated[Loaded, PrivateStateAttr]]
    memory_stored: NotRequired[Annotated[list[str], PrivateStateAttr]]


class ChatMemoryMiddleware(AgentMiddleware[MemoryState, Any, Any]):
    """Gives an agent of langchain.agents.create_agent a memory.

    The run's context names the session: `agent.invoke(…, context=MemoryContext(user_id="ann", session_id="s-1"))`, or
    any object or dict with these names. An unknown session_id is created; one that has ended is continued.

    Stored: the run's new messages, in order, after each answer of the model and at the end of the run; each once by its
    id, also when the run loops through tools, is interrupted, resumed or retried (with a checkpointer, or if the
    input's messages have ids). A run whose first model call fails stores nothing. Put this middleware first in the
    list: then it stores an answer after all others have seen it and after human approval has changed it. Messages that
    another middleware removes from the state before the model answers are not stored, nor are the summaries of
    SummarizationMiddleware.

    Sent to the model: the agent's system prompt; the session's context at the start of the run, at most max_tokens;
    memories recalled for the user's words, as data in a human message before the new messages; and all of the run's own
    messages. All but the own messages stay the same for every model call of a run. With a checkpointer, messages of
    earlier runs come from memory only, within the budget.

    Cost: one round trip at the start of a run, or two if this process has not used the session recently, and a recall;
    two for each answer of the model. With a ChatMemory, async runs read and store in threads; an AsyncChatMemory is for
    async runs.

    Args:
        memory: The memory that has the sessions.
        max_tokens: Token budget of the past, 1 or more; the run's own messages are not counted. None: up to
            max_context_messages of the memory's settings.
        recall: Whether to recall memories for the user's words.
        kind: The sessions' kind: chat, general …

    Raises:
        ConfigurationError: memory is neither a ChatMemory nor an AsyncChatMemory.
        InvalidInputError: max_tokens is less than 1.
    """

    state_schema = MemoryState

    def __init__(
        self,
        memory: ChatMemory | AsyncChatMemory,
        *,
        max_tokens: int | None = 4000,
        recall: bool = True,
        kind: str = "chat",
    ) -> None:
        super().__init__()
        if not isinstance(memory, (ChatMemory, AsyncChatMemory)):
            raise ConfigurationError(
                f"memory must be a ChatMemory or an AsyncChatMemory, not a {type(memory).__name__}."
            )
        if max_tokens is not None and max_tokens < 1:
            raise InvalidInputError(f"max_tokens is {max_tokens}; it must be at least 1.")
        self._memory = memory
        self._max_tokens = max_tokens
        self._recall = recall
        self._kind = kind

    def before_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Store results left over from an earlier run, and load the context."""
        session = self._session(runtime)
        leftover, before = _leftover_results(state)
        session.append_many(leftover)
        context = read_context(session, self._max_tokens, query=self._query(state, before))
        return _loaded_state(context, before)

    async def abefore_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Store results left over from an earlier run, and load the context."""
        if isinstance(self._memory, ChatMemory):
            return await run_in_executor(None, self.before_agent, state, runtime)
        session = await self._asession(runtime)
        leftover, before = _leftover_results(state)
        await session.append_many(leftover)
        context = await aread_context(session, self._max_tokens, query=self._query(state, before))
        return _loaded_state(context, before)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Send the past, the recalled memories and the run's own messages."""
        return handler(_with_past(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Send the past, the recalled memories and the run's own messages."""
        return await handler(_with_past(request))

    def after_model(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Store the new messages."""
        new = _unstored(state)
        if not new:
            return None
        self._session(runtime).append_many(map(to_message, new))
        return _stored_state(state, new)

    async def aafter_model(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Store the new messages."""
        if isinstance(self._memory, ChatMemory):
            return await run_in_executor(None, self.after_model, state, runtime)
        new = _unstored(state)
        if not new:
            return None
        await (await self._asession(runtime)).append_many(map(to_message, new))
        return _stored_state(state, new)

    def after_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Store the messages after the last answer of the model, such as the result of a tool that ends the run."""
        return self.after_model(state, runtime)

    async def aafter_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Store the messages after the last answer of the model, such as the result of a tool that ends the run."""
        return await self.aafter_model(state, runtime)

    def _session(self, runtime: Runtime[Any]) -> Session:
        if not isinstance(self._memory, ChatMemory):
            raise ConfigurationError(
                "ChatMemoryMiddleware has an AsyncChatMemory: run the agent with ainvoke or astream, or pass a "
                "ChatMemory."
            )
        ids = _memory_context(runtime.context)
        sessions = self._memory.tenant(ids.tenant_id).sessions
        return sessions.resume_or_create(ids.session_id, user_id=ids.user_id, kind=self._kind, on_missing="adopt")

    async def _asession(self, runtime: Runtime[Any]) -> AsyncSession:
        assert isinstance(self._memory, AsyncChatMemory)
        ids = _memory_context(runtime.context)
        sessions = self._memory.tenant(ids.tenant_id).sessions
        return await sessions.resume_or_create(ids.session_id, user_id=ids.user_id, kind=self._kind, on_missing="adopt")

    def _query(self, state: MemoryState, before: Sequence[str]) -> str | None:
        """Return the user's newest message of this run as the recall query."""
        texts = [each.text for each in state["messages"] if isinstance(each, HumanMessage) and each.id not in before]
        query = texts[-1][-MAX_QUERY_CHARACTERS:].strip() if texts and self._recall else ""
        return query or None


def _memory_context(context: Any) -> MemoryContext:
    """Read tenant, user and session from the run's context."""
    names = ("user_id", "session_id", "tenant_id")
    given = context if isinstance(context, Mapping) else {name: getattr(context, name, None) for name in names}
    ids: dict[str, Any] = {name: given[name] for name in names if given.get(name) is not None}
    missing = [name for name in names[:2] if name not in ids]
    if missing:
        raise InvalidInputError(
            f"the run's context lacks {' and '.join(missing)}; call the agent with "
            "context=MemoryContext(user_id=…, session_id=…), and make it with context_schema=MemoryContext."
        )
    return MemoryContext(**ids)


def _stored_ids(state: MemoryState) -> set[str]:
    return set(state.get("memory_stored", ()))


def _unstored(state: MemoryState) -> list[AnyMessage]:
    """Return the messages that are not in the session yet, without summaries by other middleware."""
    stored = _stored_ids(state)
    return [message for message in state["messages"] if message.id not in stored and not _is_summary(message)]


def _is_summary(message: BaseMessage) -> bool:
    """Return whether SummarizationMiddleware wrote this message."""
    return message.additional_kwargs.get("lc_source") == "summarization"


def _leftover_results(state: MemoryState) -> tuple[list[NewMessage], list[str]]:
    """Return tool results that an interrupted run left unstored, and the ids of all messages that are not sent again.

    The calls of these results may be stored already: the results are stored first, so that the past has both.
    """
    results: list[AnyMessage] = []
    for message in _unstored(state):
        if not isinstance(message, ToolMessage):
            break
        results.append(message)
    stored = _stored_ids(state) | {str(message.id) for message in results}
    before = [str(message.id) for message in state["messages"] if message.id in stored or _is_summary(message)]
    return [to_message(message) for message in results], before


def _loaded_state(context: Context, before: list[str]) -> dict[str, Any]:
    past = from_context(context)
    loaded = {"past": past, "notes": context.memories_text, "before": before}
    return {"memory_loaded": loaded, "memory_stored": before}


def _stored_state(state: MemoryState, new: Sequence[BaseMessage]) -> dict[str, Any]:
    present = {message.id for message in state["messages"]}
    stored = [id for id in state.get("memory_stored", ()) if id in present]
    return {"memory_stored": [*stored, *(str(message.id) for message in new)]}


def _with_past(request: ModelRequest[Any]) -> ModelRequest[Any]:
    loaded: Loaded | None = request.state.get("memory_loaded")  # type: ignore[assignment]
    if loaded is None:
        return request
    before = set(loaded["before"])
    own = [message for message in request.messages if message.id not in before]
    again = {message.id for message in own if message.id is not None}  # a retried run has stored some already
    past = [message for message in loaded["past"] if message.id not in again]
    system, first = request.system_message, list(takewhile(lambda message: isinstance(message, SystemMessage), past))
    if first:  # models accept one system message, at the beginning
        past = past[len(first) :]
        texts = [message.text for message in ([system] if system else []) + first]
        system = SystemMessage("\n\n".join(texts))
    notes = [HumanMessage(loaded["notes"])] if loaded["notes"] else []
    return request.override(messages=[*past, *notes, *_without_abandoned_calls(own)], system_message=system)


def _without_abandoned_calls(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Drop unanswered tool calls that the user has skipped with a new message."""
    result: list[AnyMessage] = []
    begin, waiting = 0, set[str | None]()
    for message in messages:
        if isinstance(message, ToolMessage):
            waiting.discard(message.tool_call_id)
        elif isinstance(message, HumanMessage) and waiting:
            del result[begin:]
        if not isinstance(message, ToolMessage):
            begin, waiting = len(result), {call["id"] for call in getattr(message, "tool_calls", ())}
        result.append(message)
    return result
