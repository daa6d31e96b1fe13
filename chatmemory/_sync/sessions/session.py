# Generated from chatmemory/_async/sessions/session.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""One session: its messages, and what the next prompt gets of them."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Literal, LiteralString, TypeAlias, get_args

from chatmemory._concurrency import in_thread
from chatmemory._public import public
from chatmemory._sync.memories.memories import Memories
from chatmemory._sync.ownership.export import Exporter
from chatmemory._sync.sessions.lifecycle import Lifecycle
from chatmemory._sync.storage.transaction import Row, Statement
from chatmemory.context.records import Context
from chatmemory.context.request import Budget, Oversize, Recalls
from chatmemory.errors import ChatMemoryError
from chatmemory.files import exports
from chatmemory.memories.records import MEMORY_KINDS
from chatmemory.messages.drafts import (
    Draft,
    batch_arguments,
    counted,
    messages_from,
    title_from,
    turn_arguments,
    unique,
)
from chatmemory.messages.records import Content, Message, NewMessage
from chatmemory.runs.metric_records import MetricSummary, curve_from_row
from chatmemory.sessions.records import Appended
from chatmemory.storage import queries
from chatmemory.validation import (
    check_choice,
    check_count,
    check_messages,
)

Scope: TypeAlias = Literal["session", "user"]
MOST_RECALLED = 20
LONG = 50_000  # characters, from which counting their tokens would hold up an event loop


@public
class Session(Lifecycle):
    """A handle on one session: cheap, and safe to share.

    Attributes:
        id: The session's id.
        tenant_id: Whose organisation's it is.
    """

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
        drafts = check_messages((new,), self._settings.max_message_bytes)
        return self._append(drafts)[0]

    def append_many(self, messages: Iterable[NewMessage | Mapping[str, Any]]) -> list[Message]:
        """Store messages in this order, all or none, in one transaction.

        Args:
            messages: NewMessage, or dicts with its fields as keys.

        Raises:
            ChatMemoryError: As append().
        """
        drafts = check_messages(messages, self._settings.max_message_bytes)
        return self._append(drafts) if drafts else []

    def _append(self, drafts: list[Draft]) -> list[Message]:
        rows, once = self._store(drafts, (queries.messages.APPEND, queries.messages.APPEND_TURN))
        stored, _ = self._stored(once, Appended(*rows[0]))
        return [stored[draft.id] for draft in drafts]

    def _store(
        self, drafts: list[Draft], statements: tuple[LiteralString, LiteralString], *window: object
    ) -> tuple[list[Row], list[Draft]]:
        """Run a statement that appends: the general one, or the one for one or two messages with new ids."""
        once = self._counted(unique(drafts) if len(drafts) > 1 else drafts)
        titled = self._info.title or (self._appended and self._appended.title)
        title = None if titled else title_from(once)
        new_ids = not any(draft.has_own_id for draft in once)

        whose = (self.tenant_id, self.id, self._info.created_at)

        def checked(check_ids: bool = True) -> Statement:
            return statements[0], (*whose, *batch_arguments(once), title, check_ids, *window)

        def again() -> Statement:  # after Postgres went away: what is stored may be this call's own
            once[:] = [draft._replace(has_own_id=False) for draft in once]
            return checked()

        if new_ids and len(once) <= 2:
            call: Statement = statements[1], (*whose, title, *turn_arguments(once), *window)
        else:
            call = checked(not new_ids)
        try:
            return self._database.call(*call, subject=self.id, again=again), once
        except ChatMemoryError:
            raise
        except BaseException:  # cancelled: it may be stored, or not
            self._windows.forget_soon(self.tenant_id, self.id)
            raise

    def _counted(self, drafts: list[Draft]) -> list[Draft]:
        counter = self._parts.tokenizer.at_hand()
        if sum(len(draft.text) for draft in drafts) > LONG:
            return in_thread(lambda: counted(drafts, counter))
        return counted(drafts, counter)

    def _stored(self, once: list[Draft], appended: Appended) -> tuple[dict[str, Message], list[Message]]:
        """The messages of an append by their ids, and those of them that are new; the caches get the new ones."""
        self._appended = appended
        stored = messages_from(once, appended)
        new = [message for message in stored.values() if message.seq >= appended.first_seq]
        self._contexts.appended(appended, new)
        self._windows.append(self._info, new, appended.token_count)
        return stored, new

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
        """What the next prompt gets: the newest messages, inside a budget.

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
        request = budget.request(self._settings, system)
        recent = None if fresh or scope == "user" else self._contexts.current()
        if query is not None:
            request = request._replace(recalls=self._recalls(query, request.max_tokens, results))
        if scope == "user":
            if request.recalls is not None:  # its messages are of many sessions, and counted anew
                request = request._replace(recalls=request.recalls._replace(session_id=""))
            return self._contexts.read_user(request, self._info)
        counts = self._appended or self._info
        if fresh:
            return self._contexts.read_fresh(request, self._info, counts)
        return self._contexts.read(request, self._info, counts, recent)

    def _recalls(self, query: str, max_tokens: int | None, results: bool = False) -> Recalls:
        """What may go into a context for a query."""
        memories = Memories(self.tenant_id, self._parts)
        share = None if max_tokens is None else int(max_tokens * self._settings.recall_share)
        if share == 0:
            return Recalls([], self.id, share)
        kinds = MEMORY_KINDS if results else None
        found = memories.recall(query, user_id=self._info.user_id, k=MOST_RECALLED, kinds=kinds)
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
        request = budget.request(self._settings, system)
        if query is not None:
            request = request._replace(recalls=self._recalls(query, request.max_tokens))
        drafts = check_messages(messages, self._settings.max_message_bytes)
        if not drafts:
            return self._contexts.read_fresh(request, self._info, self._appended or self._info)
        statements = queries.messages.APPEND_AND_READ, queries.messages.APPEND_TURN_AND_READ
        plan = self._contexts.plan(request, self._appended or self._info)
        window = (self.tenant_id, self.id, self._info.created_at, plan.limit, *plan.known)
        rows, once = self._store(drafts, statements, *window)
        count = len(Appended._fields)
        appended = Appended(*rows[0][:count])
        _, new = self._stored(once, appended)
        read = [row[count:] for row in rows] if rows[0][count] is not None else []
        return self._contexts.after(plan, appended, new, read, self._info)

    def history(self, limit: int = 20, *, before_seq: int | None = None) -> list[Message]:
        """The newest messages, oldest first.

        Args:
            limit: How many at most, 0 or more.
            before_seq: Only messages before this seq, to page back.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        before = None if before_seq is None else check_count(before_seq, "before_seq")
        return self._contexts.history(check_count(limit, "limit"), before)

    def messages(self, batch_size: int = 500) -> Iterator[Message]:
        """All messages, oldest first, in bounded memory.

        Args:
            batch_size: How many are read at a time, 1 or more.

        Raises:
            SessionNotFoundError: The session was deleted or erased, perhaps half-way.
        """
        return self._contexts.messages(check_count(batch_size, "batch_size", least=1))

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
        self._parts.metrics.flush()
        if format == "markdown":
            rows = self._database.fetch(self.tenant_id, queries.runs.EXTREMES, ([self.id],))
            return exports.to_markdown(info, messages, [MetricSummary(*row[1:]) for row in rows])
        points = self._database.fetch(self.tenant_id, queries.runs.METRICS_TO_EXPORT, (self.id,))
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
        for line in Exporter(self.tenant_id, self._parts).session(info):
            yield line
