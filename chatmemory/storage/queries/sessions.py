"""Sessions: create, find, change, end, hide, fork; their timeline."""

from collections.abc import Collection
from typing import LiteralString

from chatmemory.storage.queries.columns import EVENT, SESSION

# The ids of runs that the statement ended and whose result memory is not stored yet, as JSON; null or empty: none.
RESULTS_DUE = ", pg_catalog.current_setting('chatmemory.results_due', true)"

# True in a statement that reopened a session, for which others may have ended.
REOPENED = ", pg_catalog.current_setting('chatmemory.reopened', true)"

RESUME_OR_CREATE = (
    "select " + SESSION + REOPENED + RESULTS_DUE + " from chatmemory.resume_or_create(" + "%s, " * 11 + "%s)"
)
REOPEN_SESSION = "select " + SESSION + RESULTS_DUE + " from chatmemory.reopen_session(%s, %s, %s, %s, %s)"
CREATE_SESSION = (
    "select " + SESSION + RESULTS_DUE + " from chatmemory.create_session("
    "%s, %s, %s, %s, %s, %s, %s, null, null, %s, %s, %s, %s)"
)
# End sessions; `refused` says why one was left as it is, null if it was ended.
END_SESSIONS = (
    "select " + ", ".join(f"(session).{column}" for column in SESSION.split(", ")) + ", refused "
    "from chatmemory.end_sessions(%s, %s, %s)"
)
REOPEN_RUN = "select " + SESSION + " from chatmemory.reopen_run(%s, %s, %s, %s, %s)"
CLEAN_UP = "select expired, archived from chatmemory.clean_up(%(timeout)s, %(archive)s, %(limit)s)"
SWEEP_ITEMS = "select chatmemory.sweep_items(%(limit)s)"

# Get a session that is not deleted.
GET_SESSION = (
    "select " + SESSION + " from chatmemory.sessions "
    "where id = %(id)s and deleted_at is null and user_id = coalesce(%(user_id)s, user_id)"
)
# Get what an end depends on. Sessions of a user are locked in this order everywhere.
SESSIONS_TO_END = (
    "select " + SESSION + ", number, run_endings, run_ended_at is not null from chatmemory.sessions "
    "where id = any(%s) and deleted_at is null order by created_at, id"
)
LOCK_TO_END = SESSIONS_TO_END + " for no key update"
LOCK_USER = "select chatmemory.lock_user(%s, %s)"
LOCK_SESSION = GET_SESSION + " for no key update"

_FILTERS: dict[str, LiteralString] = {
    "user_id": " and user_id = %(user_id)s",
    "kind": " and kind = %(kind)s",
    "kinds": " and kind = any(%(kinds)s)",
    "status": " and status = %(status)s",
    "runs_only": " and run_status is not null",
    "created_after": " and created_minute >= date_trunc('minute', %(created_after)s::timestamptz at time zone 'UTC') "
    "and created_at >= %(created_after)s",
    "created_before": " and created_minute <= date_trunc('minute', %(created_before)s::timestamptz at time zone 'UTC') "
    "and created_at < %(created_before)s",
}
_WORDS: tuple[LiteralString, ...] = ("word0", "word1", "word2", "word3", "word4", "word5", "word6", "word7")
_BY_CREATION = (
    "",
    " and created_minute <= date_trunc('minute', %(after)s::timestamptz at time zone 'UTC') "
    "and (created_at, id) < (%(after)s, %(after_id)s)",
)
_BY_ACTIVITY = (
    "",
    " and last_active_hour <= date_trunc('hour', %(after)s::timestamptz at time zone 'UTC') "
    "and (last_active_at, id) < (%(after)s, %(after_id)s)",
)
# The minute and the hour, which indexes hold, come first for the planner; they change nothing in the order.
_CREATED_LAST_FIRST: LiteralString = " order by created_minute desc, created_at desc, id desc"
_ACTIVE_LAST_FIRST: LiteralString = " order by last_active_hour desc, last_active_at desc, id desc"


def _listed(filters: Collection[str]) -> LiteralString:
    listed: LiteralString = " from chatmemory.sessions where listed"
    for name, condition in _FILTERS.items():
        if name in filters:
            listed += condition
    return listed


def list_sessions(filters: Collection[str], *, by_creation: bool, after: bool) -> LiteralString:
    """One page of sessions, last created or last active first; only what is given is asked, so that indexes serve."""
    behind = (_BY_CREATION if by_creation else _BY_ACTIVITY)[after]
    order = _CREATED_LAST_FIRST if by_creation else _ACTIVE_LAST_FIRST
    return "select " + SESSION + _listed(filters) + behind + order + " limit %(limit)s offset %(offset)s"


def count_sessions(filters: Collection[str]) -> LiteralString:
    """Return the query for the number of sessions on all pages."""
    return "select count(*)" + _listed(filters)


MAX_SEARCHED_SESSIONS, MAX_SEARCHED_MESSAGES = 1_000, 20_000  # for one page


def _searched(filters: Collection[str], *, after: bool) -> LiteralString:
    """The next sessions to search, last active first, with the messages of those before each."""
    return (
        "with listed as materialized (select id, last_active_at, last_active_hour, message_count"
        + _listed(filters)
        + _BY_ACTIVITY[after]
        + _ACTIVE_LAST_FIRST
        + " limit %(most_sessions)s), "
        "counted as (select *, sum(message_count) over (" + _ACTIVE_LAST_FIRST + ") - message_count as before "
        "from listed), "
        "searched as (select * from counted where before < %(most_messages)s) "
    )


def search_sessions(filters: Collection[str], words: int, *, after: bool) -> LiteralString:
    """Sessions whose title, or one of whose messages, has each of the words word0, word1 …; the last active first."""
    in_title: LiteralString = "true"
    in_message: LiteralString = "true"
    for name in _WORDS[:words]:
        in_title += " and s.title ilike any(%(" + name + ")s)"
        in_message += " and m.content ilike any(%(" + name + ")s)"
    return (
        _searched(filters, after=after)
        + "select "
        + ", ".join(f"s.{column}" for column in SESSION.split(", "))
        + " from searched c join chatmemory.sessions s on s.id = c.id where ("
        + in_title
        + ") or exists (select from chatmemory.messages m where m.session_id = c.id and "
        + in_message
        + ") order by c.last_active_hour desc, c.last_active_at desc, c.id desc limit %(limit)s"
    )


def last_searched(filters: Collection[str], *, after: bool) -> LiteralString:
    """The last session that a search has looked at, if others may follow it."""
    return (
        _searched(filters, after=after)
        + "select last_active_at, id from searched where (select count(*) from listed) = %(most_sessions)s "
        "or (select count(*) from listed) > (select count(*) from searched) "
        "order by last_active_hour, last_active_at, id limit 1"
    )


# Get the active sessions that were idle for longer than an interval, longest idle first.
IDLE_SESSIONS = (
    "select id from chatmemory.sessions where ended_at is null and deleted_at is null "
    "and last_active_hour <= date_trunc('hour', (clock_timestamp() - %(idle)s::interval) at time zone 'UTC') "
    "and last_active_at < clock_timestamp() - %(idle)s::interval order by last_active_at"
)

# Set the columns that a caller may change.
UPDATE_SESSION = (
    "update chatmemory.sessions set title = %(title)s, metadata = %(metadata)s, details = %(details)s, "
    "results = coalesce(%(results)s::json, results), progress = %(progress)s, stage = %(stage)s, error = %(error)s, "
    "run_status = %(run_status)s, "
    "run_ended_at = case when %(is_final)s then clock_timestamp() else run_ended_at end, "
    "last_active_at = case when %(is_work)s then clock_timestamp() else last_active_at end, "
    "updated_at = clock_timestamp() where id = %(id)s returning " + SESSION
)

# Delete (hide) a session, unless a later session has its id; and restore it.
DELETE_SESSION = (
    "with hidden as (update chatmemory.sessions set deleted_at = clock_timestamp() "
    "where id = %(session)s and born_at = %(of)s and deleted_at is null returning tenant_id, id), "
    "noted as (insert into chatmemory.events (tenant_id, session_id, type) "
    "select tenant_id, id, 'deleted' from hidden) "
    "select id, chatmemory.withdraw_summary(tenant_id, id) from hidden"
)
RESTORE_SESSION = "select " + SESSION + RESULTS_DUE + " from chatmemory.restore_session(%s, %s, %s, %s, %s)"
# Get the summary of the session that this one continues, unless a later session has its id.
PRIOR_SUMMARY = (
    "select prior_summary from chatmemory.sessions where id = %(id)s and born_at = %(born)s and deleted_at is null"
)
# Get the session to fork, unless a later session has its id.
FORKED_SESSION = GET_SESSION + " and born_at = %(of)s"
# Copy summary and watermark into a fork for the same user, so that the same messages are not learnt from twice.
FORKED = (
    "update chatmemory.sessions f set summary = p.summary, summary_seq = p.summary_seq, "
    "summary_tokens = p.summary_tokens from chatmemory.sessions p where f.id = %(to)s and p.id = %(from)s "
    "and p.user_id = f.user_id and p.summary_seq <= f.last_seq"
)

# Give an imported session that has ended the time of its last activity.
KEEP_ACTIVITY = (
    "update chatmemory.sessions set last_active_at = least(%(at)s, clock_timestamp()) "
    "where id = %(id)s and born_at = %(of)s and imported_at is not null and ended_at is not null"
)

# The timeline.
ADD_EVENT = "insert into chatmemory.events (tenant_id, session_id, type, data) values (%s, %s, %s, %s)"
EVENTS = (
    "select " + EVENT + " from (select number, " + EVENT + " from chatmemory.events where session_id = %(id)s "
    "and exists (select from chatmemory.sessions where id = %(id)s and born_at = %(born)s and deleted_at is null) "
    "order by number desc limit %(limit)s) newest order by number"
)

# Get the sessions of a comparison.
SESSIONS_BY_ID = "select " + SESSION + " from chatmemory.sessions where id = any(%s) and deleted_at is null"

SESSION_NUMBER = "select number from chatmemory.sessions where id = %s and deleted_at is null"
