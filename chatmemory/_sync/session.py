# Generated from chatmemory/_async/session.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""One session: its messages and its lifecycle."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal, LiteralString

from chatmemory import exports, queries
from chatmemory._concurrency import in_thread
from chatmemory._public import public
from chatmemory._sync.contexts import Contexts
from chatmemory._sync.database import Call, Row
from chatmemory._sync.parts import Parts
from chatmemory.context import Budget, Oversize, limit_of
from chatmemory.drafts import (
    Draft,
    batch_arguments,
    counted,
    messages_from,
    title_from,
    to_json,
    turn_arguments,
    unique,
)
from chatmemory.errors import ChatMemoryError, InvalidInputError
from chatmemory.models import (
    Appended,
    Content,
    Context,
    Erasure,
    Event,
    Json,
    JsonObject,
    Message,
    NewMessage,
    SessionInfo,
    after,
    event_from_row,
    message_from_row,
    session_from_row,
)
from chatmemory.translation import not_found
from chatmemory.validation import (
    check_choice,
    check_count,
    check_id,
    check_json,
    check_messages,
    check_object,
    check_title,
    new_id,
)

LONG = 50_000  # characters, from which counting their tokens would hold up an event loop


@public
class Session:
    """A handle on one session: cheap, and safe to share.

    Attributes:
        id: The session's id.
        tenant_id: Whose organisation's it is.
    """

    def __init__(self, info: SessionInfo, parts: Parts) -> None:
        self.id = info.id
        self.tenant_id = info.tenant_id
        self._info = info
        self._appended: Appended | None = None
        self._parts = parts
        self._database, self._settings, self._windows = parts.database, parts.settings, parts.windows
        self._contexts = Contexts(info, parts)

    @property
    def info(self) -> SessionInfo:
        """What this handle last learnt of the session; refresh() asks again."""
        if self._appended is not None:
            self._info = after(self._appended, self._info)
            self._appended = None
        return self._info

    def refresh(self) -> SessionInfo:
        """Read the session again.

        Raises:
            SessionNotFoundError: It was deleted or erased.
        """
        params = {"id": self.id, "user_id": None}
        rows = self._database.fetch(self.tenant_id, queries.GET_SESSION, params, subject=self.id)
        return self._learn(rows)

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
                message. None: one is made.
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
        rows, once = self._store(drafts, (queries.APPEND, queries.APPEND_TURN))
        return self._stored(drafts, once, Appended(*rows[0]))

    def _store(
        self, drafts: list[Draft], statements: tuple[LiteralString, LiteralString], *window: object
    ) -> tuple[list[Row], list[Draft]]:
        """Run a statement that appends: the general one, or the one for one or two messages with new ids."""
        once = self._counted(unique(drafts) if len(drafts) > 1 else drafts)
        titled = self._info.title or (self._appended and self._appended.title)
        title = None if titled else title_from(once)
        new_ids = not any(draft.has_own_id for draft in once)

        def checked(check_ids: bool = True) -> Call:
            return statements[0], (self.tenant_id, self.id, *batch_arguments(once), title, check_ids, *window)

        if new_ids and len(once) <= 2:
            call: Call = statements[1], (self.tenant_id, self.id, title, *turn_arguments(once), *window)
        else:
            call = checked(not new_ids)
        try:
            return self._database.call(*call, subject=self.id, again=checked), once
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

    def _stored(self, drafts: list[Draft], once: list[Draft], appended: Appended) -> list[Message]:
        """What was appended, also in the window."""
        self._appended = appended
        self._contexts.saw(appended.last_seq)
        stored = messages_from(once, appended)
        new = [message for message in stored.values() if message.seq >= appended.first_seq]
        self._windows.append(self.tenant_id, self.id, new, appended.token_count)
        return [stored[draft.id] for draft in drafts]

    def context(
        self,
        max_tokens: int | None = None,
        *,
        max_messages: int | None = None,
        system: str | None = None,
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
            max_messages: Just the newest this many, or fewer where the budget is full. None: as many as the budget
                takes, and without a budget max_context_messages at most.
            system: The app's own system message, which is counted and always in.
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
        budget = Budget(max_tokens, max_messages, reserve_tokens, trim_step, on_oversize)
        return self._contexts.read(budget.request(self._settings, system), self._counts, fresh=fresh)

    def append_and_context(
        self,
        messages: Iterable[NewMessage | Mapping[str, Any]],
        *,
        max_tokens: int | None = None,
        max_messages: int | None = None,
        system: str | None = None,
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
            reserve_tokens: See there.
            trim_step: See there.
            on_oversize: See there.

        Raises:
            ChatMemoryError: As append_many() and context(); after a ContextTooSmallError the messages are stored.
        """
        budget = Budget(max_tokens, max_messages, reserve_tokens, trim_step, on_oversize)
        request = budget.request(self._settings, system)
        drafts = check_messages(messages, self._settings.max_message_bytes)
        if not drafts:
            return self._contexts.read(request, self._counts, fresh=True)
        statements = queries.APPEND_AND_READ, queries.APPEND_TURN_AND_READ
        rows, once = self._store(drafts, statements, self.tenant_id, self.id, limit_of(request, self._counts))
        self._stored(drafts, once, Appended(*rows[0][: len(Appended._fields)]))
        return self._contexts.of([row[len(Appended._fields) :] for row in rows], request)

    def history(self, limit: int = 20, *, before_seq: int | None = None) -> list[Message]:
        """The newest messages, oldest first.

        Args:
            limit: How many at most, 0 or more.
            before_seq: Only messages before this seq, to page back.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        before = None if before_seq is None else check_count(before_seq, "before_seq")
        params = (self.tenant_id, self.id, check_count(limit, "limit"), before)
        rows = self._database.call(queries.READ_MESSAGES, params, subject=self.id)
        rows.reverse()
        if rows:
            self._contexts.saw(rows[-1][0])
        return [message_from_row(row) for row in rows]

    def messages(self, batch_size: int = 500) -> Iterator[Message]:
        """All messages, oldest first, in bounded memory.

        Args:
            batch_size: How many are read at a time, 1 or more.

        Raises:
            SessionNotFoundError: The session was deleted or erased, perhaps half-way.
        """
        check_count(batch_size, "batch_size", least=1)
        seq = 0
        while True:
            params = (self.tenant_id, self.id, seq, batch_size)
            rows = self._database.call(queries.MESSAGES_AFTER, params, subject=self.id)
            for row in rows:
                yield message_from_row(row)
            if len(rows) < batch_size:
                return
            seq = rows[-1][0]

    def update(
        self,
        *,
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> SessionInfo:
        """Change the title, and merge metadata and details key by key; what is None stays as it is.

        Raises:
            InvalidInputError: A value cannot be stored; nothing was written.
            SessionNotFoundError: The session was deleted or erased.
        """
        check_title(title)
        new = {"metadata": check_object(metadata, "metadata"), "details": check_object(details, "details")}
        with self._database.transaction(self.tenant_id, self.id) as connection:
            rows = connection.execute(queries.LOCK_SESSION, self._key).fetchall()
            old = self._learn(rows)
            params = {"id": self.id, "title": old.title if title is None else title}
            for name, merged in (("metadata", old.metadata), ("details", old.details)):
                params[name] = to_json(check_json({**merged, **new[name]}, name))
            rows = connection.execute(queries.UPDATE_SESSION, params).fetchall()
            for event in _changes(old, title, new):
                connection.execute(queries.ADD_EVENT, (self.tenant_id, self.id, *event))
        self._windows.forget_user(self.tenant_id, self._info.user_id)
        return self._learn(rows)

    def end(self, *, success: bool = True, results: Json = None) -> SessionInfo:
        """End the session as completed, or failed; ending it again changes nothing.

        Args:
            success: Whether it did what it was for.
            results: What came of it, as JSON.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        stored = None if results is None else to_json(check_json(results, "results"))
        status = "completed" if success else "failed"
        params = (self.tenant_id, self.id, status, stored, None, self._settings.min_messages_for_summary)
        with self._forgotten():
            return self._learn(self._database.call(queries.END_SESSION, params, subject=self.id))

    def fork(self, *, at_seq: int | None = None, user_id: object = None) -> "Session":
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
        new = new_id()
        with self._database.transaction(self.tenant_id, self.id) as connection:
            connection.execute(queries.LOCK_USER, (self.tenant_id, user or self._info.user_id))
            rows = connection.execute(queries.GET_SESSION, self._key).fetchall()
            info = self._learn(rows)
            up_to = _fork_point(info, at_seq)
            connection.execute(queries.CREATE_SESSION, self._fork_params(info, new, user))
            copy = {"from": self.id, "to": new, "at_seq": up_to}
            connection.execute(queries.COPY_MESSAGES, copy)
            row = connection.execute(queries.COUNT_COPIED, copy).fetchone()
            told = to_json({"into": new, "at_seq": up_to})
            connection.execute(queries.ADD_EVENT, (self.tenant_id, self.id, "forked", told))
        assert row is not None
        info = session_from_row(row)
        self._windows.forget_user(info.tenant_id, info.user_id)
        return type(self)(info, self._parts)

    def _fork_params(self, info: SessionInfo, new: str, user: str | None) -> tuple[Any, ...]:
        return (
            self.tenant_id,
            new,
            user or info.user_id,
            info.kind,
            info.title,
            to_json(info.metadata),
            to_json(info.details),
            *self._settings.session_limits,
        )

    def delete(self) -> None:
        """Hide the session everywhere; restore() brings it back, erase() removes it for good.

        Raises:
            SessionNotFoundError: It is deleted already, or erased.
        """
        with self._forgotten(), self._database.transaction(self.tenant_id, self.id) as connection:
            row = connection.execute(queries.DELETE_SESSION, (self.id,)).fetchone()
            if row is None:
                raise not_found(self.id)
            connection.execute(queries.ADD_EVENT, (self.tenant_id, self.id, "deleted", None))

    def restore(self) -> SessionInfo:
        """Show a deleted session again.

        Raises:
            SessionLimitError: It is active, and there is no room for it: as for sessions.create().
            SessionNotFoundError: It is not deleted, or it was erased.
        """
        params = (self.tenant_id, self.id, *self._settings.session_limits)
        return self._learn(self._database.call_once(queries.RESTORE_SESSION, params, subject=self.id))

    def erase(self) -> Erasure:
        """Remove the session and all that belongs to it, for good; deleted ones too.

        Forks of it are sessions of their own, and stay.

        Returns:
            How much is gone.

        Raises:
            SessionNotFoundError: There is nothing left to erase.
        """
        with self._forgotten(), self._database.transaction(self.tenant_id, self.id) as connection:
            if not connection.execute(queries.LOCK_TO_ERASE, (self.id,)).fetchall():
                raise not_found(self.id)
            counts = [
                connection.execute(query, (self.id,)).rowcount
                for query in (queries.ERASE_MESSAGES, queries.ERASE_EVENTS, queries.ERASE_SESSION)
            ]
        messages, events, sessions = counts
        return Erasure(sessions=sessions, messages=messages, events=events)

    def events(self, limit: int = 1000) -> list[Event]:
        """The timeline, oldest first: created, resumed, renamed, ended and the like.

        Args:
            limit: The newest this many, 1 or more.

        Raises:
            SessionNotFoundError: The session was deleted or erased.
        """
        params = {"id": self.id, "limit": check_count(limit, "limit", least=1)}
        rows = self._database.fetch(self.tenant_id, queries.EVENTS, params, subject=self.id)
        if not rows:  # every session has at least been created
            raise not_found(self.id)
        return [event_from_row(row) for row in rows]

    def export(self, format: Literal["json", "markdown"] = "json") -> str:
        """The whole session as text: JSON that `chatmemory import` reads, or Markdown for people.

        Raises:
            InvalidInputError: The format is neither.
            SessionNotFoundError: The session was deleted or erased.
        """
        check_choice(format, "format", ("json", "markdown"))
        info = self.refresh()
        messages = [message for message in self.messages()]
        return exports.to_json(info, messages) if format == "json" else exports.to_markdown(info, messages)

    @contextmanager
    def _forgotten(self) -> Iterator[None]:
        """Nothing of the session is left in Redis, neither when its end begins nor after it, whatever happens."""
        self._windows.forget(self._info)
        try:
            yield
        finally:
            self._windows.forget(self._info)

    @property
    def _counts(self) -> Appended | SessionInfo:
        """What knows best how many messages and tokens there are."""
        return self._appended or self._info

    @property
    def _key(self) -> JsonObject:
        return {"id": self.id, "user_id": None}

    def _learn(self, rows: list[tuple[Any, ...]]) -> SessionInfo:
        if not rows:
            raise not_found(self.id)
        self._appended = None
        self._info = session_from_row(rows[0])
        self._contexts.saw(self._info.last_seq)
        return self._info

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.info!r}>"


def _fork_point(info: SessionInfo, at_seq: int | None) -> int:
    if at_seq is None:
        return info.last_seq
    if check_count(at_seq, "at_seq") > info.last_seq:
        raise InvalidInputError(f"at_seq is {at_seq}, but session {info.id!r} ends at {info.last_seq}.")
    return at_seq


def _changes(old: SessionInfo, title: str | None, new: dict[str, JsonObject]) -> list[tuple[str, str]]:
    """The events that tell of an update."""
    events = []
    if title is not None and title != old.title:
        events.append(("renamed", to_json({"old": old.title, "new": title})))
    changed = {name: sorted(values) for name, values in new.items() if values}
    if changed:
        events.append(("updated", to_json(changed)))
    return events
