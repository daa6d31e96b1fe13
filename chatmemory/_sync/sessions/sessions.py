# Generated from chatmemory/_async/sessions/sessions.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""A tenant's sessions: begin, find, list, end."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, get_args

from chatmemory._public import public
from chatmemory._sync.runs.finding import RunsFound
from chatmemory._sync.sessions.ending import Endings
from chatmemory._sync.sessions.hiding import show
from chatmemory._sync.sessions.session import Session
from chatmemory._sync.shared import Shared
from chatmemory._sync.storage.redis_windows import new_lease
from chatmemory._sync.storage.transaction import Row, Statement
from chatmemory.errors import ChatMemoryError, InvalidInputError
from chatmemory.kinds import check_details, declared
from chatmemory.paging import check_page
from chatmemory.records import Page, to_json
from chatmemory.sessions.changes import Changes
from chatmemory.sessions.ending import End
from chatmemory.sessions.fitting import checked_object
from chatmemory.sessions.records import SessionInfo, Status, activity_key, creation_key, session_from_row
from chatmemory.sessions.searching import patterns_of
from chatmemory.storage import queries
from chatmemory.storage.postgres_errors import not_found
from chatmemory.validation import (
    check_choice,
    check_count,
    check_duration,
    check_id,
    check_kind,
    check_kind_name,
    check_list,
    check_past,
    check_time,
    check_title,
    new_id,
)

Infos: TypeAlias = list[SessionInfo]  # inside the class, `list` is the method
Statements: TypeAlias = list[Statement]


@public
class Sessions(RunsFound):
    """The sessions of one tenant."""

    def __init__(self, tenant_id: str, parts: Shared) -> None:
        self._tenant_id = tenant_id
        self._parts = parts
        self._database, self._settings, self._windows = parts.database, parts.settings, parts.windows
        self._endings = Endings(tenant_id, parts)

    def create(
        self,
        *,
        user_id: object,
        session_id: object = None,
        kind: str = "chat",
        title: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
        created_at: datetime | None = None,
        on_limit: Literal["end_oldest", "refuse", "exceed"] | None = None,
    ) -> Session:
        """Create a session.

        Args:
            user_id: Whose it is.
            session_id: Its id; None: a UUIDv7 is made.
            kind: What it is: chat, general, training, testing, research, analysis, synthesis, or your own.
            title: None: taken from the first user message that says enough.
            metadata: What the app wants to keep with it, as a JSON object; what is too large is cut as by
                Session.update().
            details: What belongs to this kind, as a JSON object in the form that the kind declares; cut likewise.
            created_at: When it was created elsewhere, with a time zone, for a session that moves here. Once it has
                ended, its last activity is that of its newest message. None: now.
            on_limit: What happens if the user has max_sessions_per_user active sessions of this kind: "end_oldest"
                ends the one that was idle longest, "refuse" raises, "exceed" creates one more. None: as
                session_limit_policy says.

        Raises:
            InvalidInputError: A value cannot be stored, or created_at lies in the future.
            KindError: There is no such kind.
            SessionExistsError: The tenant has a session with this id.
            SessionLimitError: The user has max_sessions_per_user active ones of this kind, and one more is refused.
        """
        if on_limit is not None:
            check_choice(on_limit, "on_limit", ("end_oldest", "refuse", "exceed"))
        id = new_id() if session_id is None else check_id(session_id, "session_id")
        known = check_details(check_kind(kind), checked_object(details, "details"))
        params = (
            self._tenant_id,
            id,
            check_id(user_id, "user_id"),
            kind,
            check_title(title),
            _json_or_none(metadata, "metadata"),
            to_json(known) if known else None,
            check_past(created_at, "created_at"),
            *self._settings.session_limits(on_limit),
            declared(kind, known, self._settings.due_after),
        )
        rows = self._database.call_once(queries.sessions.CREATE_SESSION, params, subject=id)
        self._parts.on_use()
        return self._began(session_from_row(rows[0][:-1]), rows)

    def resume_or_create(
        self,
        session_id: object = None,
        *,
        user_id: object,
        kind: str = "chat",
        on_missing: Literal["new", "adopt"] = "new",
        on_expired: Literal["new", "reopen"] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Session:
        """Resume the active session of this user, or create one.

        Anything that cannot be continued (None, unknown, ended, deleted, of another kind, someone else's) gives a new
        session with a new id. So does a session that has expired, because it was idle for longer than
        session_timeout_hours, or that has given way to max_sessions_per_user, unless it is reopened.

        Args:
            session_id: The session to resume.
            user_id: Whose it is.
            kind: What it is, or is to be.
            on_missing: "adopt" creates an unknown id under that very id. Once its user has ended that session, a new
                one continues it, begins with its summary, and is found again under the old id; an id of another user
                raises.
            on_expired: "reopen" continues an expired conversation, and one that has given way to the limit, with its
                messages and its memories; it counts as active again. Runs are not reopened. "new" leaves it ended.
                None: "reopen" with on_missing="adopt", else "new".
            metadata: For a new session, as a JSON object.

        Raises:
            SessionNotFoundError: With "adopt", the id exists and is not this user's.
            SessionLimitError: As for create().
        """
        check_choice(on_missing, "on_missing", ("new", "adopt"))
        if on_expired is not None:
            check_choice(on_expired, "on_expired", ("new", "reopen"))
        id = None if session_id is None else check_id(session_id, "session_id")
        user, how, lease = check_id(user_id, "user_id"), f"{on_missing} {check_kind(kind)} {id}", new_lease()
        if id is not None:
            known = self._windows.resumable(self._tenant_id, user, how, lease)
            if known is not None:
                return Session(known, self._parts, is_current=False)
        params = (
            self._tenant_id,
            id,
            new_id(),
            user,
            kind,
            on_missing == "adopt" and id is not None,
            (on_expired or ("reopen" if on_missing == "adopt" else "new")) == "reopen",
            _json_or_none(metadata, "metadata"),
            self._settings.session_timeout,
            *self._settings.session_limits(),
            declared(kind, {}, self._settings.due_after),
        )
        rows = self._database.call(queries.sessions.RESUME_OR_CREATE, params, subject=id or "")
        self._parts.on_use()
        [*row, reopened, _] = rows[0]
        info = session_from_row(row)
        if reopened == "true" or info.created_at == info.last_active_at:
            return self._began(info, rows)
        self._windows.resumed(info, how, lease)
        return self._handle(info)

    def get(self, session_id: object, *, user_id: object = None) -> Session:
        """Find a session, ended ones too, without resuming it.

        Args:
            session_id: Its id.
            user_id: If given, it must be this user's.

        Raises:
            SessionNotFoundError: It is missing, deleted, or someone else's.
        """
        id = check_id(session_id, "session_id")
        user = None if user_id is None else check_id(user_id, "user_id")
        params = {"id": id, "user_id": user}
        [rows] = self._current(((queries.sessions.GET_SESSION, params),), subject=id)
        if not rows:
            raise not_found(id)
        return self._handle(session_from_row(rows[0]))

    def list(
        self,
        *,
        user_id: object = None,
        kind: str | Iterable[str] | None = None,
        status: Status | None = None,
        active_only: bool = False,
        runs_only: bool = False,
        created_after: datetime | None = None,
        created_before: datetime | None = None,
        order: Literal["last_active", "created"] = "last_active",
        limit: int = 100,
        offset: int = 0,
        cursor: str | None = None,
        with_total: bool = False,
    ) -> Page[SessionInfo]:
        """List sessions by page, newest first; deleted ones are left out.

        A session that becomes active while one pages through may come twice, on an earlier place each time; one that
        does not is never missed.

        Args:
            user_id: Only this user's.
            kind: Only of this kind, or of one of these; it need not be registered in this process.
            status: Only in this status.
            active_only: The same as status="active".
            runs_only: Only those with a run status.
            created_after: Only created at this time or later.
            created_before: Only created before this time.
            order: Newest by the last activity, or by creation.
            limit: How many sessions a page holds at most, 0 or more.
            offset: How many sessions to skip, at most 10,000; a cursor goes further, and costs the same on every page.
            cursor: `next` of the page before; None: the first page.
            with_total: Whether to count all sessions that match, which costs in proportion to them.

        Returns:
            The page. With its `next` as cursor, the same call returns the page after it; None: it is the last.

        Raises:
            InvalidInputError: A value cannot be used, or the cursor belongs to another list.
            KindError: Nothing was found, and a kind is not registered in this process.
        """
        if status is not None:
            check_choice(status, "status", get_args(Status))
        check_choice(order, "order", ("last_active", "created"))
        if active_only and status not in (None, "active"):
            raise InvalidInputError(f"active_only contradicts status={status!r}; give one of them.")
        kinds = [kind] if isinstance(kind, str) else [] if kind is None else check_list(kind, "kind")
        filters = {
            "user_id": None if user_id is None else check_id(user_id, "user_id"),
            "kind": check_kind_name(kind) if isinstance(kind, str) else None,
            "kinds": None if isinstance(kind, str | None) else sorted(map(check_kind_name, kinds)),
            "status": "active" if active_only else status,
            "runs_only": runs_only or None,
            "created_after": check_time(created_after, "created_after"),
            "created_before": check_time(created_before, "created_before"),
        }
        given = {name: value for name, value in filters.items() if value is not None}
        scope = {**given, "tenant": self._tenant_id, "order": order}
        request = check_page("sessions", scope, limit, offset, cursor)
        by_creation, after = order == "created", request.after is not None
        query = queries.sessions.list_sessions(given, by_creation=by_creation, after=after)
        statements: Statements = [(query, {**given, **request.params})]
        if with_total:
            statements.append((queries.sessions.count_sessions(given), given))
        rows, *counted = self._current(statements)
        total = counted[0][0][0] if counted else None
        if not rows and not offset:
            list(map(check_kind, kinds))
        return request.page(rows, session_from_row, creation_key if by_creation else activity_key, total)

    def search(
        self,
        text: str,
        *,
        user_id: object = None,
        kind: str | None = None,
        limit: int = 20,
        cursor: str | None = None,
    ) -> Page[SessionInfo]:
        """Find the sessions whose title, or one of whose messages, has all of these words; last active first.

        Upper and lower case are the same, letters with and without accents are not, and a word may be a part of
        another: this needs no spaces between words. No index of words slows appends down. Instead each call reads at
        most about 20,000 messages, from the sessions that were active last on, so a page may be short, or empty, while
        `next` says that there is more to search.

        Args:
            text: The words, at most 8.
            user_id: Only this user's sessions.
            kind: Only sessions of this kind.
            limit: How many sessions a page holds at most, 1 or more.
            cursor: `next` of the page before; None: begin with the session that was active last.

        Raises:
            InvalidInputError: There is no word, or a value cannot be used.
        """
        words = patterns_of(text)
        filters = {
            "user_id": None if user_id is None else check_id(user_id, "user_id"),
            "kind": None if kind is None else check_kind_name(kind),
        }
        given = {name: value for name, value in filters.items() if value is not None}
        scope = {**given, "tenant": self._tenant_id, "text": text}
        request = check_page("search", scope, check_count(limit, "limit", least=1), 0, cursor)
        after = request.after is not None
        params = {
            **given, **request.params, **{f"word{number}": forms for number, forms in enumerate(words)},
            "most_sessions": queries.sessions.MAX_SEARCHED_SESSIONS,
            "most_messages": queries.sessions.MAX_SEARCHED_MESSAGES,
        }  # fmt: skip
        rows, reached = self._database.run(
            self._tenant_id,
            (queries.sessions.search_sessions(given, len(words), after=after), params),
            (queries.sessions.last_searched(given, after=after), params),
        )
        return request.page(rows, session_from_row, activity_key, reached=(*reached[0],) if reached else None)

    def end_many(self, session_ids: Iterable[object]) -> dict[str, SessionInfo | ChatMemoryError]:
        """End sessions as completed, each on its own: one failure stops none of the others.

        Returns:
            For each id, the session as it is now, or the error.
        """
        refused: dict[str, ChatMemoryError] = {}
        ids: list[str] = []
        for session_id in check_list(session_ids, "session_ids"):
            try:
                ids.append(check_id(session_id, "session_id"))
            except InvalidInputError as error:
                ids.append(str(session_id))
                refused[ids[-1]] = error
        ended = refused | self._endings.end_many([id for id in ids if id not in refused], End("completed"))
        return {id: ended[id] for id in ids}

    def end_inactive(self, idle_for: timedelta) -> Infos:
        """Expire this tenant's sessions that were idle for longer than `idle_for`; return them, oldest first."""
        params = {"idle": check_duration(idle_for, "idle_for")}
        rows = self._database.fetch(self._tenant_id, queries.sessions.IDLE_SESSIONS, params)
        end = End("expired", Changes(reason="idle"), by_user=False)
        ended = self._endings.end_many([id for (id,) in rows], end, if_unchanged=True)
        return [info for info in (ended.get(id) for (id,) in rows) if isinstance(info, SessionInfo)]

    def restore(self, session_id: object) -> Session:
        """Bring back a deleted session.

        Raises:
            SessionLimitError: It is active, and there is no room for it: as for create().
            SessionNotFoundError: There is no deleted session with this id.
        """
        return self._handle(show(self._parts, self._tenant_id, check_id(session_id, "session_id")))

    def _began(self, info: SessionInfo, rows: Sequence[Row]) -> Session:
        """A handle on a new or reopened session, for which the user's oldest may have ended."""
        self._windows.forget_user(info.tenant_id, info.user_id)
        self._endings.leave_results(rows)
        return self._handle(info)

    def _handle(self, info: SessionInfo) -> Session:
        return Session(info, self._parts)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._tenant_id!r}>"


def _json_or_none(value: Mapping[str, Any] | None, what: str) -> str | None:
    return to_json(checked) if (checked := checked_object(value, what)) else None
