"""Memory for LangChain's agents: each run begins with what was said before, and ends up in the session."""

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
from chatmemory_langchain.halves import apast_of, past_of
from chatmemory_langchain.messages import from_context, to_message

LONGEST_QUERY = 2000  # characters


@dataclass(frozen=True, kw_only=True)
class MemoryContext:
    """Whose session an agent's run belongs to: create_agent(context_schema=MemoryContext).

    Attributes:
        user_id: Whose it is.
        session_id: Which session; an unknown one is created.
        tenant_id: Whose organisation's.
    """

    user_id: str
    session_id: str
    tenant_id: str = "default"


class Loaded(TypedDict):
    """What a run gets from memory, as it stood when the run began.

    Attributes:
        past: What was said before, with a summary in front where something is left out.
        notes: What was recalled, for the prompt.
        before: The ids of the messages in the agent's state that are in the past, and so are not sent again.
    """

    past: list[AnyMessage]
    notes: str | None
    before: list[str]


class MemoryState(AgentState[Any]):
    """What the middleware keeps in the agent's state, neither input nor output of it."""

    memory_loaded: NotRequired[Annotated[Loaded, PrivateStateAttr]]
    memory_stored: NotRequired[Annotated[list[str], PrivateStateAttr]]


class ChatMemoryMiddleware(AgentMiddleware[MemoryState, Any, Any]):
    """Gives an agent of langchain.agents.create_agent a memory.

    The run's context names the session: `agent.invoke(…, context=MemoryContext(user_id="ann", session_id="s-1"))`, or
    any object or dict with these names. An unknown session_id is created; one that has ended is continued.

    What it keeps: the run's new messages, after each answer of the model and when the run ends, in order; each once by
    its id, also when the run loops through tools, is interrupted, resumed or retried (with a checkpointer, or where
    the input's messages have ids of their own). Nothing is stored of a run whose first model call failed. Stand it
    first in the list of middleware: then it stores an answer after all others have seen it, and human approval has
    changed it. What another middleware takes out of the state before the model answers is not stored, nor is what
    SummarizationMiddleware writes.

    What it sends to the model: the agent's system prompt; what Session.context() gave when the run began, at most
    max_tokens, with memories that were recalled for what the user says, as data in a human message before the new
    messages; and the run's own messages whole. It stays the same for all model calls of a run. With a checkpointer,
    messages of earlier runs come from memory only, inside the budget.

    What a run costs: one round trip when it begins, or two where this process has not used the session lately, and a
    recall; two for each answer of the model. With a ChatMemory, async runs read and store in threads; an
    AsyncChatMemory is for async runs.

    Args:
        memory: Where the sessions are.
        max_tokens: What the past may cost in a prompt; the run's own messages come on top. None: up to
            max_context_messages of the memory's settings.
        recall: Whether memories are recalled for what the user says.
        kind: What the sessions are: chat, general …

    Raises:
        ConfigurationError: memory is no ChatMemory.
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
        """Load what the run begins with."""
        session = self._session(runtime)
        leftover, before = _left_over(state)
        session.append_many(leftover)
        context = past_of(session, self._max_tokens, query=self._query(state, before))
        return _loaded(context, before)

    async def abefore_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any]:
        """Load what the run begins with."""
        if isinstance(self._memory, ChatMemory):
            return await run_in_executor(None, self.before_agent, state, runtime)
        session = await self._asession(runtime)
        leftover, before = _left_over(state)
        await session.append_many(leftover)
        context = await apast_of(session, self._max_tokens, query=self._query(state, before))
        return _loaded(context, before)

    def wrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], ModelResponse[Any]]
    ) -> ModelResponse[Any]:
        """Send the past, what was recalled, and the run's own messages."""
        return handler(_with_past(request))

    async def awrap_model_call(
        self, request: ModelRequest[Any], handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]]
    ) -> ModelResponse[Any]:
        """Send the past, what was recalled, and the run's own messages."""
        return await handler(_with_past(request))

    def after_model(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Store what is new."""
        new = _new(state)
        if not new:
            return None
        self._session(runtime).append_many(map(to_message, new))
        return _stored(state, new)

    async def aafter_model(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Store what is new."""
        if isinstance(self._memory, ChatMemory):
            return await run_in_executor(None, self.after_model, state, runtime)
        new = _new(state)
        if not new:
            return None
        await (await self._asession(runtime)).append_many(map(to_message, new))
        return _stored(state, new)

    def after_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Store what came after the last answer of the model, such as the result of a tool that ends the run."""
        return self.after_model(state, runtime)

    async def aafter_agent(self, state: MemoryState, runtime: Runtime[Any]) -> dict[str, Any] | None:
        """Store what came after the last answer of the model, such as the result of a tool that ends the run."""
        return await self.aafter_model(state, runtime)

    def _session(self, runtime: Runtime[Any]) -> Session:
        if not isinstance(self._memory, ChatMemory):
            raise ConfigurationError(
                "ChatMemoryMiddleware was given an AsyncChatMemory: run the agent with ainvoke or astream, or give it "
                "a ChatMemory."
            )
        named = _named(runtime.context)
        sessions = self._memory.tenant(named.tenant_id).sessions
        return sessions.resume_or_create(named.session_id, user_id=named.user_id, kind=self._kind, on_missing="adopt")

    async def _asession(self, runtime: Runtime[Any]) -> AsyncSession:
        assert isinstance(self._memory, AsyncChatMemory)
        named = _named(runtime.context)
        sessions = self._memory.tenant(named.tenant_id).sessions
        return await sessions.resume_or_create(
            named.session_id, user_id=named.user_id, kind=self._kind, on_missing="adopt"
        )

    def _query(self, state: MemoryState, before: Sequence[str]) -> str | None:
        """What the user says in this run."""
        said = [each.text for each in state["messages"] if isinstance(each, HumanMessage) and each.id not in before]
        query = said[-1][-LONGEST_QUERY:].strip() if said and self._recall else ""
        return query or None


def _named(context: Any) -> MemoryContext:
    """Whose session the run's context names."""
    names = ("user_id", "session_id", "tenant_id")
    given = context if isinstance(context, Mapping) else {name: getattr(context, name, None) for name in names}
    found: dict[str, Any] = {name: given[name] for name in names if given.get(name) is not None}
    missing = [name for name in names[:2] if name not in found]
    if missing:
        raise InvalidInputError(
            f"the run's context does not say {' and '.join(missing)}; call the agent with "
            "context=MemoryContext(user_id=…, session_id=…), and make it with context_schema=MemoryContext."
        )
    return MemoryContext(**found)


def _stored_ids(state: MemoryState) -> set[str]:
    return set(state.get("memory_stored", ()))


def _new(state: MemoryState) -> list[AnyMessage]:
    """The messages that are not in the session yet, without what other middleware wrote about them."""
    stored = _stored_ids(state)
    return [message for message in state["messages"] if message.id not in stored and not _is_summary(message)]


def _is_summary(message: BaseMessage) -> bool:
    """Whether SummarizationMiddleware wrote it."""
    return message.additional_kwargs.get("lc_source") == "summarization"


def _left_over(state: MemoryState) -> tuple[list[NewMessage], list[str]]:
    """What an earlier run has left unstored, and the ids of what is not sent again: all that is in the session then.

    A run that broke off may have left results of tools whose calls are stored: they go there first, so that the past
    holds both.
    """
    results: list[AnyMessage] = []
    for message in _new(state):
        if not isinstance(message, ToolMessage):
            break
        results.append(message)
    stored = _stored_ids(state) | {str(message.id) for message in results}
    before = [str(message.id) for message in state["messages"] if message.id in stored or _is_summary(message)]
    return [to_message(message) for message in results], before


def _loaded(context: Context, before: list[str]) -> dict[str, Any]:
    past = from_context(context)
    loaded = {"past": past, "notes": context.memories_text, "before": before}
    return {"memory_loaded": loaded, "memory_stored": before}


def _stored(state: MemoryState, new: Sequence[BaseMessage]) -> dict[str, Any]:
    held = {message.id for message in state["messages"]}
    stored = [id for id in state.get("memory_stored", ()) if id in held]
    return {"memory_stored": [*stored, *(str(message.id) for message in new)]}


def _with_past(request: ModelRequest[Any]) -> ModelRequest[Any]:
    loaded: Loaded | None = request.state.get("memory_loaded")  # type: ignore[assignment]
    if loaded is None:
        return request
    before = set(loaded["before"])
    own = [message for message in request.messages if message.id not in before]
    again = {message.id for message in own if message.id is not None}  # a run that is retried has stored some already
    past = [message for message in loaded["past"] if message.id not in again]
    system, first = request.system_message, list(takewhile(lambda message: isinstance(message, SystemMessage), past))
    if first:  # models take one system message, at the beginning
        past = past[len(first) :]
        texts = [message.text for message in ([system] if system else []) + first]
        system = SystemMessage("\n\n".join(texts))
    notes = [HumanMessage(loaded["notes"])] if loaded["notes"] else []
    return request.override(messages=[*past, *notes, *_answered(own)], system_message=system)


def _answered(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """The messages without calls that the run was to go on from, and that the user has passed over instead."""
    made: list[AnyMessage] = []
    begin, waiting = 0, set[str | None]()
    for message in messages:
        if isinstance(message, ToolMessage):
            waiting.discard(message.tool_call_id)
        elif isinstance(message, HumanMessage) and waiting:
            del made[begin:]
        if not isinstance(message, ToolMessage):
            begin, waiting = len(made), {call["id"] for call in getattr(message, "tool_calls", ())}
        made.append(message)
    return made
