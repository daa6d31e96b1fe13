"""Every SQL statement of the library, named. The functions they call stand in schema/functions/."""

# A session's columns, in the order of models.SESSION_COLUMNS.
_SESSION = (
    "tenant_id, id, user_id, kind, status, title, metadata, details, results, created_at, updated_at, "
    "last_active_at, last_message_at, ended_at, archived_at, message_count, token_count, last_seq, parent_id, "
    "run_status, progress, stage, error"
)
# The hot path: one function, one round trip.
_APPEND = " from chatmemory.append(%s, %s, %s, %s, %s, %s, %s, %s, %s) a"
_APPEND_TURN = " from chatmemory.append_turn(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) a"
APPEND = "select a.*" + _APPEND
APPEND_TURN = "select a.*" + _APPEND_TURN
# The same, and then the window with what was appended: one statement, and still one round trip.
_AND_WINDOW = " cross join lateral chatmemory.read_window(%s, %s, %s, null) w"
APPEND_AND_READ = "select a.*, w.*" + _APPEND + _AND_WINDOW
APPEND_TURN_AND_READ = "select a.*, w.*" + _APPEND_TURN + _AND_WINDOW
READ_WINDOW = "select * from chatmemory.read_window(%s, %s, %s, %s)"
READ_MESSAGES = "select * from chatmemory.read_messages(%s, %s, %s, %s)"
MESSAGES_AFTER = "select * from chatmemory.messages_after(%s, %s, %s, %s)"
RESUME_OR_CREATE = (
    "select " + _SESSION + " from chatmemory.resume_or_create(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
)

# Functions that also stand alone.
CREATE_SESSION = (
    "select " + _SESSION + " from chatmemory.create_session(%s, %s, %s, %s, %s, %s, %s, null, %s, %s, %s, %s)"
)
END_SESSION = "select " + _SESSION + " from chatmemory.end_session(%s, %s, %s, %s, %s, %s, %s)"
READ_METRICS = "select * from chatmemory.read_metrics(%s, %s, %s, %s)"
CLEAN_UP = "select expired, archived from chatmemory.clean_up(%s, %s, %s, %s)"

# Whoever runs these sees one tenant's rows, until the transaction ends.
ENTER_TENANT = "select set_config('role', 'chatmemory_app', true), set_config('chatmemory.tenant_id', %s, true)"

# One session that is not deleted.
GET_SESSION = (
    "select " + _SESSION + " from chatmemory.sessions "
    "where id = %(id)s and deleted_at is null and user_id = coalesce(%(user_id)s, user_id)"
)
LOCK_USER = "select chatmemory.lock_user(%s, %s)"
LOCK_SESSION = GET_SESSION + " for no key update"

_LISTED = (
    " from chatmemory.sessions where deleted_at is null"
    " and (%(user_id)s::text is null or user_id = %(user_id)s)"
    " and (%(kind)s::text is null or kind = %(kind)s)"
    " and (%(status)s::text is null or status = %(status)s)"
    " and (not %(runs_only)s or run_status is not null)"
    " and (%(created_after)s::timestamptz is null or created_at >= %(created_after)s)"
    " and (%(created_before)s::timestamptz is null or created_at < %(created_before)s)"
)
# One page of sessions, last active or last begun first, and how many there are in all.
LIST_SESSIONS = (
    "select " + _SESSION + _LISTED + " order by "
    "case when %(by_start)s then created_at else last_active_at end desc, id desc limit %(limit)s offset %(offset)s"
)
COUNT_SESSIONS = "select count(*)" + _LISTED

# Active sessions that were idle for longer than an interval, oldest first.
IDLE_SESSIONS = (
    "select id from chatmemory.sessions where ended_at is null and deleted_at is null "
    "and last_active_at < clock_timestamp() - %s::interval order by last_active_at"
)

# New values for what a caller may change.
UPDATE_SESSION = (
    "update chatmemory.sessions set title = %(title)s, metadata = %(metadata)s, details = %(details)s, "
    "results = coalesce(%(results)s::json, results), progress = %(progress)s, stage = %(stage)s, error = %(error)s, "
    "run_status = %(run_status)s, "
    "run_ended_at = case when %(is_final)s then clock_timestamp() else run_ended_at end, "
    "last_active_at = case when %(is_work)s then clock_timestamp() else last_active_at end, "
    "updated_at = clock_timestamp() where id = %(id)s returning " + _SESSION
)

# Hide a session everywhere, and show it again.
DELETE_SESSION = (
    "update chatmemory.sessions set deleted_at = clock_timestamp() "
    "where id = %s and deleted_at is null returning " + _SESSION
)
RESTORE_SESSION = "select " + _SESSION + " from chatmemory.restore_session(%s, %s, %s, %s, %s)"

# Copy a session's messages up to a seq into another, and count them there.
COPY_MESSAGES = (
    "insert into chatmemory.messages "
    "(tenant_id, session_id, seq, id, role, content, content_json, metadata, tokens, token_encoding, created_at) "
    "select tenant_id, %(to)s, seq, id, role, content, content_json, metadata, tokens, token_encoding, created_at "
    "from chatmemory.messages where session_id = %(from)s and seq <= %(at_seq)s"
)
COUNT_COPIED = (
    "update chatmemory.sessions set parent_id = %(from)s, message_count = t.count, last_seq = t.count, "
    "token_count = t.tokens, last_message_at = t.newest from (select count(*) as count, "
    "coalesce(sum(tokens), 0) as tokens, max(created_at) as newest from chatmemory.messages "
    "where session_id = %(to)s) t where id = %(to)s returning " + _SESSION
)

# Single messages: those too large for the window.
READ_SEQS = (
    "select seq, id, role, content, content_json, metadata, tokens, token_encoding, created_at "
    "from chatmemory.messages where session_id = %(id)s and seq = any(%(seqs)s) "
    "and exists (select from chatmemory.sessions where id = %(id)s and deleted_at is null)"
)

# The timeline.
ADD_EVENT = "insert into chatmemory.events (tenant_id, session_id, type, data) values (%s, %s, %s, %s)"
EVENTS = (
    "select at, type, data from (select number, at, type, data from chatmemory.events where session_id = %(id)s "
    "and exists (select from chatmemory.sessions where id = %(id)s and deleted_at is null) "
    "order by number desc limit %(limit)s) newest order by number"
)

# Every move between run statuses; a session without any gives one row of nulls.
STATUS_HISTORY = (
    "select e.at, e.data from chatmemory.sessions s left join chatmemory.events e "
    "on e.tenant_id = s.tenant_id and e.session_id = s.id and e.type = 'moved' "
    "where s.id = %(id)s and s.deleted_at is null order by e.number"
)

# Keep packed points: writing the same row again changes nothing, and one that has grown takes its place.
KEEP_METRICS = (
    "insert into chatmemory.metrics (tenant_id, session_id, name, id, count, steps, readings, times, "
    "from_step, to_step, low, low_step, low_at, high, high_step, high_at) "
    "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
    "on conflict (tenant_id, session_id, name, id) do update set count = excluded.count, steps = excluded.steps, "
    "readings = excluded.readings, times = excluded.times, from_step = excluded.from_step, "
    "to_step = excluded.to_step, low = excluded.low, low_step = excluded.low_step, low_at = excluded.low_at, "
    "high = excluded.high, high_step = excluded.high_step, high_at = excluded.high_at"
)
# A run that measures is not idle; hardly ever written, since it is often asked.
TOUCH_SESSION = (
    "update chatmemory.sessions set last_active_at = clock_timestamp() where id = %s and status = 'active' "
    "and last_active_at < clock_timestamp() - interval '1 minute'"
)
# The step after the last one of a session.
NEXT_STEP = "select coalesce(max(to_step) + 1, 0) from chatmemory.metrics where session_id = %s"

# What a comparison is made of: sessions, and the extremes of each of their metrics.
SESSIONS_BY_ID = "select " + _SESSION + " from chatmemory.sessions where id = any(%s) and deleted_at is null"
EXTREMES = (
    "select session_id, name, sum(count)::bigint, "
    "(array_agg(low order by low, low_step))[1], (array_agg(low_step order by low, low_step))[1], "
    "(array_agg(high order by high = 'NaN', high desc, high_step))[1], "
    "(array_agg(high_step order by high = 'NaN', high desc, high_step))[1] "
    "from chatmemory.metrics where session_id = any(%s) group by session_id, name order by name"
)

# Gone for good; the lock lets one eraser at a time go on.
LOCK_TO_ERASE = "select id from chatmemory.sessions where id = %s for update"
ERASE_MESSAGES = "delete from chatmemory.messages where session_id = %s"
ERASE_EVENTS = "delete from chatmemory.events where session_id = %s"
ERASE_METRICS = (
    "with gone as (delete from chatmemory.metrics where session_id = %s returning count) "
    "select coalesce(sum(count), 0)::bigint from gone"
)
ERASE_SESSION = "delete from chatmemory.sessions where id = %s"

# Whether there is a schema (asked of the tables themselves: name lookups may be answered from before the lock),
# and its version.
SCHEMA_EXISTS = "select count(*) > 0 from pg_tables where schemaname = 'chatmemory' and tablename = 'schema_migrations'"
APPLIED_MIGRATIONS = "select m.version, to_json(m) ->> 'checksum' from chatmemory.schema_migrations m"
MIGRATION_LOCK = "select pg_advisory_xact_lock(%s)"
LOGIN = "select session_user"
PING = "select"

# What doctor asks: the server, and whether isolation is really on.
SERVER_VERSION = "select current_setting('server_version'), session_user, current_database()"
UNPROTECTED_TABLES = (
    "select relname from pg_class where relnamespace = 'chatmemory'::regnamespace and relkind in ('r', 'p') "
    "and not (relrowsecurity and relforcerowsecurity) order by relname"
)
BYPASSING_ROLES = (
    "select rolname from pg_roles where rolname in ('chatmemory_app', 'chatmemory_worker') "
    "and (rolsuper or rolbypassrls) order by rolname"
)
ROWS_WITHOUT_TENANT = (
    "select (select count(*) from chatmemory.sessions) + (select count(*) from chatmemory.messages) "
    "+ (select count(*) from chatmemory.events) + (select count(*) from chatmemory.metrics)"
)

# The embedded server's own database.
FIND_DATABASE = "select from pg_database where datname = 'chatmemory'"
CREATE_DATABASE = "create database chatmemory"
