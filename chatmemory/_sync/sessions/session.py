# Generated from chatmemory/_async/sessions/session.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""One session: its messages, and what the next prompt gets of them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, Self, TypeAlias, get_args

from chatmemory._public import public
from chatmemory._sync.memories.memories import Memories
from chatmemory._sync.ownership.export import Exporter
from chatmemory._sync.runs.metrics import Metrics
from chatmemory._sync.sessions.appending import Appending
from chatmemory._sync.sessions.copying import fork
from chatmemory._sync.sessions.lifecycle import LifecycleMethods
from chatmemory._sync.sessions.runs import RunMethods
from chatmemory._sync.sessions.state import SessionState
from chatmemory._sync.shared import Shared
from chatmemory.context.records import Context
from chatmemory.context.request import Budget, Oversize, Recalls
from chatmemory.files import exports
from chatmemory.memories.records import MEMORY_KINDS
from chatmemory.messages.records import Content, Message, NewMessage
from chatmemory.runs.metric_records import MetricSummary, curve_from_row
from chatmemory.sessions.records import SessionInfo
from chatmemory.storage import queries
from chatmemory.validation import (
    check_choice,
    check_count,
    check_id,
    check_messages,
)

Scope: TypeAlias = Literal["session", "user"]
MAX_RECALLED = 20


@public
class Session(RunMethods, LifecycleMethods):
    """A handle on one session: cheap, and safe to share.

    Attributes:
        id: The session's id.
        tenant_id: The tenant it belongs to.
    """

    def __init__(self, info: SessionInfo, parts: Shared, *, is_current: bool = True) -> None:
        self.id, self.tenant_id = info.id, info.tenant_id
        self._state = SessionState(info, parts, is_current=is_current)
        self._appending = Appending(self._state)

    @property
    def info(self) -> SessionInfo:
        """The session as this handle last saw it; refresh() reads it again."""
        return self._state.info

    @property
    def summary(self) -> str | None:
        """The summary of what was said up to info.summary_seq, as this handle last saw it."""
        return self.info.summary

    def with_own_buffer(self) -> Self:
        """Return a handle whose metrics wait in a buffer of its own, for a caller who keeps them elsewhere as well.

        Only its own flush(), metrics() and end() write them. Closing the memory does not, and does not report them as
        lost.
        """
        parts = self._state.parts
        return type(self)(self.info, parts._replace(metrics=Metrics(parts.database, by_itself=False)))

    def refresh(self) -> SessionInfo:
        """Read the session again.

        Raises:
            SessionNotFoundError: It was deleted or erased.
        """
        return self._state.refresh()

    def append(
        self,
        role: str,
        content: Content,
        *,
        message_id: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        created_at: datetime | None = None,
    ) -> Message:
        """Store a message; once this returns, it survives a crash of anything.

        Args:
            role: system, user (or human), assistant (or ai), tool.
            content: A string, or a list of JSON blocks, of at most max_message_bytes.
            message_id: Unique in the session: the same id and content again adds nothing and returns the stored
                message, with was_stored. None: one is made.
            metadata: A JSON object to keep with it.
            created_at: When it was said, with a time zone, when importing the past. None: now.

        Raises:
            InvalidInputError: It cannot be stored as it is; nothing was written.
            MessageConflictError: The id is taken by other content.
            SessionEndedError: The session has ended.
            SessionNotFoundError: The session was deleted or erased.
            StorageUnavailableError: Postgres went away, and stayed away for postgres_timeout_seconds.
        """
        new = NewMessage(role, content, message_id, metadata, created_at)
        drafts = check_messages((new,), self._state.parts.settings.max_message_bytes)
        return self._appending.append(drafts)[0]

    def append_many(self, messages: Iterable[NewMessage | Mapping[str, Any]]) -> list[Message]:
        """Store messages in this order, all or none, in one transaction.

        Args:
            messages: NewMessage, or dicts with its fields as keys.

        Raises:
            ChatMemoryError: As append().
        """
        drafts = check_messages(messages, self._state.parts.settings.max_message_bytes)
        return self._appending.append(drafts) if drafts else []

    def context(
        self,
        max_tokens: int | None = None,
        *,
        max_messages: int | None = None,
        system: str | None = None,
        query: str | None = None,
        scope: Scope = "session",
        results: bool = False,
        fresh: bool = False,
        reserve_tokens: int = 0,
        trim_step: float | None = None,
        on_oversize: Oversize = "truncate",
    ) -> Context:
        """Return the context of the next prompt: the newest messages, inside a budget.

        A tool call and its results go in together or not at all. What does not fit is trimmed in steps, so that the
        beginning stays the same for many turns (Context.prefix_id) and a provider's prompt cache can use it.

        Args:
            max_tokens: The budget; None: max_messages decides alone.
            max_messages: Just the newest this many (0: none), or fewer where the budget is full; the system message
                the session begins with is in anyway. None: as many as the budget takes, and without a budget
                max_context_messages at most.
            system: The app's own system message, which is counted and always in.
            query: What memories are recalled for, usually what the user has just said; None: none are. They take
                at most recall_share of the budget, which is kept free for them.
            scope: "session", or "user" for the newest messages of all the user's chats, without a summary.
            results: Whether results of runs are recalled too.
            fresh: Whether to read from Postgres even if Redis holds the window.
            reserve_tokens: How much of max_tokens to keep free for the reply.
            trim_step: The share of the budget that is trimmed at once, from 0 (no more than needed) to 0.9; None:
                context_trim_step.
            on_oversize: What becomes of a newest message that is larger than the whole budget: "truncate" cuts it
                at a token boundary, with a mark; "refuse" raises; "omit" leaves it out.

        Raises:
            ContextTooSmallError: What must be in does not fit into max_tokens.
            SessionNotFoundError: The session was deleted or erased.
        """
        check_choice(scope, "scope", get_args(Scope))
        budget = Budget(max_tokens, max_messages, reserve_tokens, trim_step, on_oversize)
        request = budget.request(self._state.parts.settings, system)
        recent = None if fresh or scope == "user" else self._state.contexts.current()
        if query is not None:
            request = request._replace(recalls=self._recalls(query, request.max_tokens, results))
        if scope == "user":
            if request.recalls is not None:  # its messages are of many sessions, and counted anew
                request = request._replace(recalls=request.recalls._replace(session_id=""))
            return self._state.contexts.read_user(request, self._state.origin)
        counts = self._state.counts
        if fresh:
            return self._state.contexts.read_fresh(request, self._state.origin, counts)
        return self._state.contexts.read(request, self._state.origin, counts, recent)

    def _recalls(self, query: str, max_tokens: int | None, results: bool = False) -> Recalls:
        """Return the memories that may go into a context for a query."""
        memories = Memories(self.tenant_id, self._state.parts)
        share = None if max_tokens is None else int(max_tokens * self._state.parts.settings.recall_share)
        if share == 0:
            return Recalls([], self.id, share)
        kinds = MEMORY_KINDS if results else None
        found = memories.recall(query, user_id=self._state.origin.user_id, k=MAX_RECALLED, kinds=kinds)
        return Recalls(found, self.id, share)

    def append_and_context(
        self,
        messages: Iterable[NewMessage | Mapping[str, Any]],
        *,
        max_tokens: int | None = None,
        max_messages: int | None = None,
        system: str | None = None,
        query: str | None = None,
        reserve_tokens: int = 0,
        trim_step: float | None = None,
        on_oversize: Oversize = "truncate",
    ) -> Context:
        """Store messages as append_many(), and give the context() that follows, in one round trip to Postgres.

        Args:
            messages: As for append_many().
            max_tokens: As for context(), and so are the others.
            max_messages: See there.
            system: See there.
            query: See there; recalling takes its own round trips.
            reserve_tokens: See there.
            trim_step: See there.
            on_oversize: See there.

        Raises:
            ChatMemoryError: As append_many() and context(); after a ContextTooSmallError the messages are stored.
        """
        budget = Budget(max_tokens, max_messages, reserve_tokens, trim_step, on_oversize)
        request = budget.request(self._state.parts.settings, system)
        if query is not None:
            request = request._replace(recalls=self._recalls(query, request.max_tokens))
        drafts = check_messages(messages, self._state.parts.settings.max_message_bytes)
        if not drafts:
            return self._state.contexts.read_fresh(request, self._state.origin, self._state.counts)
        return self._appending.append_and_read(drafts, request)

    def history(self, limit: int = 20, *, before_seq: int | None = None) -> list[Message]:
        """The newest messages, oldest first.

        Args:
            limit: How many at most, 0 or more.
            before_seq: Only messages before this seq, to page back.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        before = None if before_seq is None else check_count(before_seq, "before_seq")
        return self._state.contexts.history(check_count(limit, "limit"), before)

    def messages(self, batch_size: int = 500) -> Iterator[Message]:
        """All messages, oldest first, in bounded memory.

        Args:
            batch_size: How many are read at a time, 1 or more.

        Raises:
            SessionNotFoundError: The session was deleted or erased, perhaps half-way.
        """
        return self._state.contexts.messages(check_count(batch_size, "batch_size", least=1))

    def fork(self, *, at_seq: int | None = None, user_id: object = None) -> Self:
        """Begin a new session with this one's messages.

        Args:
            at_seq: Up to and with this seq; None: all of them.
            user_id: Whose the new one is; None: the same user's.

        Returns:
            The new session; its info.parent_id is this one's id.

        Raises:
            InvalidInputError: at_seq lies beyond the newest message.
            SessionLimitError: As for sessions.create().
            SessionNotFoundError: The session was deleted or erased.
        """
        user = None if user_id is None else check_id(user_id, "user_id")
        parent, forked = fork(self._state.parts, self._state.origin, at_seq, user)
        self._state.take(parent)
        return type(self)(forked, self._state.parts)

    def export(self, format: Literal["json", "markdown"] = "json") -> str:
        """The whole session as text: JSON that `chatmemory import` reads, or Markdown for people.

        Of a run, JSON has its status history and all points of its metrics too, Markdown their extremes.

        Raises:
            InvalidInputError: The format is neither.
            SessionNotFoundError: The session was deleted or erased.
        """
        check_choice(format, "format", ("json", "markdown"))
        info = self.refresh()
        messages = [message for message in self.messages()]
        self._state.parts.metrics.flush()
        if format == "markdown":
            rows = self._state.parts.database.fetch(self.tenant_id, queries.runs.EXTREMES, ([self.id],))
            return exports.to_markdown(info, messages, [MetricSummary(*row[1:]) for row in rows])
        points = self._state.parts.database.fetch(self.tenant_id, queries.runs.METRICS_TO_EXPORT, (self.id,))
        curves = map(curve_from_row, points)
        return exports.to_json(info, messages, self.status_history(), curves)

    def export_lines(self) -> Iterator[str]:
        """The whole session as JSON Lines, in the form of users.export(), as it stood at one moment.

        That is the session, its messages, events and metrics, the spend on it, and the user's and the tenant's memories
        that come from it.

        Yields:
            Lines without their ends, in bounded memory.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        info = self.refresh()
        for line in Exporter(self.tenant_id, self._state.parts).session(info):
            yield line

    def _repr_html_(self) -> str:
        return self.info._repr_html_()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.info!r}>"
