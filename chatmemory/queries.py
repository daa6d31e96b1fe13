"""Every SQL statement of the library, named. The functions they call stand in schema/functions/."""

# A session's columns, in the order of models.SESSION_COLUMNS.
_SESSION = (
    "tenant_id, id, user_id, kind, status, title, metadata, details, results, created_at, updated_at, "
    "last_active_at, last_message_at, ended_at, archived_at, message_count, token_count, last_seq, parent_id, "
    "summary, summary_seq, run_status, progress, stage, error"
)
# The hot path: one function, one round trip.
_APPEND = " from chatmemory.append(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) a"
_APPEND_TURN = " from chatmemory.append_turn(" + "%s, " * 18 + "%s) a"
APPEND = "select a.*" + _APPEND
APPEND_TURN = "select a.*" + _APPEND_TURN
# The same, and then the window with what was appended, unless the caller knows all that was there before: one
# statement, and still one round trip. The offset keeps the condition where it decides whether the function is called.
_AND_WINDOW = (
    " left join lateral (select * from chatmemory.read_window(%s, %s, %s, %s, null) "
    "where a.first_seq <> %s or a.summary_seq <> %s offset 0) w on true"
)
APPEND_AND_READ = "select a.*, w.*" + _APPEND + _AND_WINDOW
APPEND_TURN_AND_READ = "select a.*, w.*" + _APPEND_TURN + _AND_WINDOW
READ_WINDOW = "select * from chatmemory.read_window(%s, %s, %s, %s, %s)"
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
    "where session_id = %(to)s) t where id = %(to)s"
)
# A fork of the same user's is not learnt from a second time: as far as it goes, it has been.
FORKED = (
    "update chatmemory.sessions f set summary = p.summary, summary_seq = p.summary_seq, "
    "summary_tokens = p.summary_tokens from chatmemory.sessions p where f.id = %(to)s and p.id = %(from)s "
    "and p.user_id = f.user_id and p.summary_seq <= f.last_seq"
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
# All points of a session, packed, in order.
METRICS_TO_EXPORT = (
    "select name, steps, readings, times from chatmemory.metrics where session_id = %s order by name, from_step, id"
)
# The step after the last one of a session.
NEXT_STEP = (
    "select least(coalesce(max(to_step), -1), 9223372036854775806) + 1 from chatmemory.metrics where session_id = %s"
)

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
VECTOR_VERSION = "select extversion from pg_extension where extname = 'vector'"
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

# Long-term memories. A memory's columns, in the order of memory.memory_from_row.
_MEMORY = (
    "m.id, m.tenant_id, m.user_id, m.kind, m.text, m.speaker, m.trust, m.importance, m.valid_from, m.valid_to, "
    "m.superseded_by, m.confirmations, m.recalled_at, m.recall_count, m.metadata, m.created_at, "
    "(select json_agg(json_build_array(s.session_id, s.from_seq, s.to_seq) order by s.session_id, s.from_seq) "
    "from chatmemory.memory_sources s where s.tenant_id = m.tenant_id and s.memory_id = m.id)"
)
# What a deleted session taught is hidden with it.
_SHOWN = (
    " and not exists (select from chatmemory.memory_sources s join chatmemory.sessions t "
    "on t.tenant_id = s.tenant_id and t.id = s.session_id "
    "where s.tenant_id = m.tenant_id and s.memory_id = m.id and t.deleted_at is not null)"
)
# Now is not compared with the rows' times: they come from the apps' clocks, which need not be Postgres' own.
_VALID = (
    " and case when %(at)s::timestamptz is null then m.valid_to is null "
    "else m.valid_from <= %(at)s and coalesce(m.valid_to > %(at)s, true) end"
)
ADD_MEMORIES = "select chatmemory.add_memories(%s, %s, %s)"
REMOVE_MEMORIES = "select chatmemory.remove_memories(%s, %s)"
LOCK_MEMORIES = (
    "insert into chatmemory.memory_users (tenant_id, user_id) values (%s, %s) "
    "on conflict (tenant_id, user_id) do update set places = memory_users.places"
)
# Whoever changes memories locks their users' rows first, in this order, then sessions, then memories.
LOCK_USERS = (
    "select from chatmemory.memory_users where %(users)s::text[] is null or user_id = any(%(users)s) "
    "order by user_id for no key update"
)
# The same for all whose memories cite a session, or any session of a user; always with those of the whole tenant.
LOCK_TO_FORGET = (
    "select from chatmemory.memory_users where user_id = any(array['', %(user_id)s] || array("
    "select m.user_id from chatmemory.memories m join chatmemory.memory_sources c "
    "on c.tenant_id = m.tenant_id and c.memory_id = m.id where c.session_id in (select s.id from chatmemory.sessions s "
    "where s.user_id = %(user_id)s and s.id = coalesce(%(session_id)s, s.id)))) "
    "order by user_id for no key update"
)
FIND_TERMS = (
    "select place, term, count, length, frequency, total from chatmemory.find_terms(%s, %s, %s, %s, %s, %s, %s, %s, %s)"
)
FIND_NEAR = "select * from chatmemory.find_near(%s, %s, %s, %s, %s, %s, %s, %s)"
ADD_VECTORS = "select chatmemory.add_vectors(%s, %s, %s)"
HAS_VECTORS = "select to_regclass('chatmemory.memory_vectors') is not null"
# Candidates of a recall, by place or by id, that may be shown and hold at the time asked for.
CANDIDATES = (
    "select m.id, m.place, m.speaker_terms, m.importance from chatmemory.memories m "
    "where (m.place = any(%(places)s) or m.id = any(%(ids)s)) and m.user_id = any(%(users)s) "
    "and m.kind = any(%(kinds)s) and m.trust >= %(trust)s"
    + _VALID
    + _SHOWN
    + " and (%(session_id)s::text is null or exists (select from chatmemory.memory_sources s "
    "where s.tenant_id = m.tenant_id and s.memory_id = m.id and s.session_id = %(session_id)s))"
)
MEMORIES_BY_ID = "select " + _MEMORY + " from chatmemory.memories m where m.id = any(%s)"
# Memories without a vector of a model, by place; episodes with what stands before and after them in their session.
_WITHOUT_VECTOR = (
    " from chatmemory.memories m where not exists (select from chatmemory.memory_vectors v "
    "where v.tenant_id = m.tenant_id and v.memory_id = m.id and v.model = %(model)s)"
)
_NEIGHBOURS = (
    "(select array_agg(b.text order by b.place) from (select n.text, n.place from chatmemory.memories n "
    "where n.tenant_id = m.tenant_id and n.user_id = m.user_id and m.kind = 'episode' and n.kind = 'episode' and "
)
UNEMBEDDED = (
    "select m.id, m.user_id, m.place, m.kind, m.text, "
    + _NEIGHBOURS
    + "n.place < m.place and n.place >= m.place >> 24 << 24 order by n.place desc limit 2) b), "
    + _NEIGHBOURS
    + "n.place > m.place and n.place < (m.place >> 24) + 1 << 24 order by n.place limit 2) b)"
    + _WITHOUT_VECTOR
    + " and m.place > %(place)s order by m.place limit %(limit)s"
)
COUNT_UNEMBEDDED = "select count(*)" + _WITHOUT_VECTOR
DROP_OLD_VECTORS = (
    "delete from chatmemory.memory_vectors v where v.model <> %(model)s and exists ("
    "select from chatmemory.memory_vectors n "
    "where n.tenant_id = v.tenant_id and n.memory_id = v.memory_id and n.model = %(model)s)"
)
# A recall need not wait until it is on disk that it was one, nor for whoever is at one of its memories.
SOON = "set local synchronous_commit = off"
RECALLED = (
    "update chatmemory.memories set recalled_at = clock_timestamp(), recall_count = recall_count + 1 where id in ("
    "select id from chatmemory.memories where id = any(%s) for no key update skip locked)"
)
SESSION_NUMBER = "select number from chatmemory.sessions where id = %s and deleted_at is null"
GET_MEMORY = "select " + _MEMORY + " from chatmemory.memories m where m.id = %s" + _SHOWN
_LISTED_MEMORIES = (
    " from chatmemory.memories m where (%(user_id)s::text is null or m.user_id = any(%(users)s)) "
    "and m.kind = any(%(kinds)s) and (not %(valid)s or (true" + _VALID + "))" + _SHOWN
)
LIST_MEMORIES = (
    "select " + _MEMORY + _LISTED_MEMORIES + " order by m.valid_from desc, m.id desc limit %(limit)s offset %(offset)s"
)
COUNT_MEMORIES = "select count(*)" + _LISTED_MEMORIES
# A memory with all that it took the place of, and what took its place, oldest first.
MEMORY_HISTORY = (
    "with recursive line(id) as (values (%(id)s::text) union "
    "select case when m.id = l.id then m.superseded_by else m.id end from line l join chatmemory.memories m "
    "on (m.id = l.id and m.superseded_by is not null) or m.superseded_by = l.id) "
    "select "
    + _MEMORY
    + " from chatmemory.memories m join line on line.id = m.id where true"
    + _SHOWN
    + " order by m.valid_from, m.created_at"
)
CLOSE_MEMORIES = (
    "update chatmemory.memories set valid_to = greatest(%(at)s, valid_from), superseded_by = %(by)s "
    "where id = any(%(ids)s) and user_id = %(user_id)s and valid_to is null"
)
# A memory that holds and says the same in the same words.
KNOWN_MEMORY = (
    "select m.id from chatmemory.memories m where m.digest = decode(%s, 'hex') and m.user_id = %s "
    "and m.kind = any(%s) and m.valid_to is null" + _SHOWN + " order by m.created_at limit 1"
)
HOLDING = (
    "select m.id from chatmemory.memories m where m.id = any(%s) and m.valid_to is null"
    + _SHOWN
    + " order by m.created_at"
)
# One that said the same, held at that time, and was superseded since.
KNOWN_THEN = (
    "select m.id from chatmemory.memories m where m.digest = decode(%(digest)s, 'hex') and m.user_id = %(user_id)s "
    "and m.kind = any(%(kinds)s) and m.superseded_by is not null "
    "and m.valid_from <= %(at)s and m.valid_to > %(at)s" + _SHOWN + " order by m.created_at limit 1"
)
CONFIRM_MEMORY = (
    "update chatmemory.memories set confirmations = confirmations + 1, "
    "importance = greatest(importance, %(importance)s) where id = %(id)s and valid_to is null"
)
# One more source; none that is trusted less than the memory, which has the trust of the lowest of its sources.
ADD_SOURCE = (
    "insert into chatmemory.memory_sources (tenant_id, memory_id, session_id, from_seq, to_seq) "
    "select %(tenant)s, m.id, %(session)s, %(from)s, %(to)s from chatmemory.memories m "
    "where m.id = %(memory)s and m.trust <= %(trust)s on conflict do nothing"
)
TRUST_OF_MESSAGES = (
    "select count(*), min(case role when 'tool' then 0 when 'assistant' then 1 when 'user' then 2 else 3 end) "
    "from chatmemory.messages where session_id = %(id)s and seq between %(from)s and %(to)s "
    "and exists (select from chatmemory.sessions where id = %(id)s and deleted_at is null)"
)
HAS_TOOLS = "select exists (select from chatmemory.messages where session_id = %s and seq <= %s and role = 'tool')"
MEMORY_STATS = (
    "select m.kind, count(*) filter (where m.valid_to is null), coalesce(sum(m.confirmations), 0), "
    "count(m.superseded_by), count(*) filter (where m.valid_to is null and m.recall_count = 0), count(m.pruned_at) "
    "from chatmemory.memories m where %(user_id)s::text is null or m.user_id = %(user_id)s group by m.kind"
)
_PRUNED = (
    " where m.valid_to is null and m.recall_count = 0 and m.importance <= %(importance)s "
    "and m.created_at < now() - %(age)s::interval and (%(user_id)s::text is null or m.user_id = %(user_id)s)"
)
TO_PRUNE = (
    "select " + _MEMORY + " from chatmemory.memories m" + _PRUNED + _SHOWN + " order by m.created_at limit %(limit)s"
)
PRUNE = "update chatmemory.memories set valid_to = now(), pruned_at = now() where id = any(%s) and valid_to is null"
UNPRUNE = (
    "update chatmemory.memories m set valid_to = null, pruned_at = null where m.pruned_at is not null "
    "and (%(user_id)s::text is null or m.user_id = %(user_id)s) and not exists (select from chatmemory.memories k "
    "where k.digest = m.digest and k.user_id = m.user_id and (k.valid_to is null "  # it was learnt again meanwhile,
    "or k.pruned_at is not null and (k.created_at, k.id) > (m.created_at, m.id)))"  # and perhaps pruned again
)

# Learning.
CLAIM_SESSIONS = "select * from chatmemory.claim_sessions(%s, %s, %s, %s, %s, %s, %s)"
LEARNING_STATE = "select due, parked from chatmemory.learning_state(%s, %s, %s)"
# The session as it is, if the lease is still held.
LEASED_SESSION = (
    "select user_id, kind, summary, summary_seq, last_seq, number, message_count, ended_at is not null, attempts "
    "from chatmemory.sessions where id = %s and lease_owner = %s and deleted_at is null"
)
LOCK_LEASED = LEASED_SESSION + " for no key update"
LEARN = (
    "update chatmemory.sessions s set summary = %(summary)s, summary_seq = %(seq)s, summary_tokens = coalesce("
    "(select sum(m.tokens) from chatmemory.messages m where m.session_id = s.id and m.seq > s.summary_seq "
    "and m.seq <= %(seq)s), 0) + s.summary_tokens, lease_owner = null, lease_until = null, attempts = 0, "
    "next_attempt_at = null, last_failure = null, parked_at = null, "
    "processed_for_ltm = %(had_ended)s and s.last_seq = %(seq)s where s.id = %(id)s"
)
RELEASE = (
    "update chatmemory.sessions set lease_owner = null, lease_until = null, attempts = greatest(attempts - 1, 0) "
    "where id = %s and lease_owner = %s"
)
NOTHING_LEFT = (
    "update chatmemory.sessions set lease_owner = null, lease_until = null, attempts = 0, "
    "processed_for_ltm = %(had_ended)s where id = %(id)s and lease_owner = %(owner)s"
)
# Failures wait longer each time, by 30 seconds doubled up to an hour, give or take half.
FAIL = (
    "update chatmemory.sessions set lease_owner = null, lease_until = null, last_failure = %(reason)s, "
    "next_attempt_at = now() + least(interval '1 hour', interval '30 seconds' * power(2, least(attempts, 10) - 1)) "
    "* (0.5 + random()), parked_at = case when attempts >= %(most)s then now() else parked_at end "
    "where id = %(id)s and lease_owner = %(owner)s returning parked_at is not null"
)
# What was spent on a session that was erased meanwhile names neither it nor its user; nor does what was spent on
# embedding the memories of a user who was.
ADD_SPEND = (
    "with session as (select id from chatmemory.sessions where id = %(session)s for key share), "
    "remembered as (select user_id from chatmemory.memory_users where user_id = %(user)s and %(session)s::text is null "
    "and %(purpose)s = 'embed' for key share) "
    "insert into chatmemory.spend (tenant_id, user_id, session_id, purpose, model, input_tokens, output_tokens) "
    "select %(tenant)s, case when exists (select from session) or exists (select from remembered) "
    "or %(session)s::text is null and %(purpose)s <> 'embed' then %(user)s else '' end, "
    "(select id from session), %(purpose)s, %(model)s, %(sent)s, %(answered)s"
)
SPENT_SINCE = (
    "select model, user_id, sum(input_tokens)::bigint, sum(output_tokens)::bigint from chatmemory.spend "
    "where at >= %s group by model, user_id"
)

# A user's data.
RECENT_MESSAGES = (
    "select m.seq, m.id, m.role, m.content, m.content_json, m.metadata, m.tokens, m.token_encoding, m.created_at from ("
    "select id from chatmemory.sessions where user_id = %(user_id)s and deleted_at is null "
    "and kind in ('chat', 'general') and last_seq > 0 order by last_active_at desc limit %(limit)s) s "
    "cross join lateral (select * from chatmemory.messages n where n.session_id = s.id "
    "order by n.seq desc limit %(limit)s) m order by m.created_at desc, m.session_id, m.seq desc limit %(limit)s"
)
SESSIONS_OF_USER = "select id from chatmemory.sessions where user_id = %s order by created_at, id for update"
MEMORIES_OF_USER = (
    "select id from chatmemory.memories where user_id = %(user_id)s union "
    "select s.memory_id from chatmemory.memory_sources s where s.session_id = any(%(sessions)s)"
)
MEMORIES_OF_SESSION = "select memory_id from chatmemory.memory_sources where session_id = %s group by memory_id"
ERASE_MEMORY_USER = "delete from chatmemory.memory_users where user_id = %s"
ERASE_SPEND_OF_USER = "delete from chatmemory.spend where user_id = %s"
ERASE_SPEND_OF_SESSION = "delete from chatmemory.spend where session_id = %s"
ALL_SESSIONS_OF_USER = (
    "select " + _SESSION + ", deleted_at from chatmemory.sessions where user_id = %s order by created_at, id"
)
MESSAGES_TO_EXPORT = (
    "select seq, id, role, content, content_json, metadata, tokens, token_encoding, created_at "
    "from chatmemory.messages where session_id = %(id)s and seq > %(seq)s order by seq limit 500"
)
EVENTS_TO_EXPORT = "select at, type, data from chatmemory.events where session_id = %s order by number"
# A metric as it is packed, each row with the name and the total of its own that series_from_rows() takes.
SPEND_TO_EXPORT = (
    "select at, session_id, purpose, model, input_tokens, output_tokens from chatmemory.spend "
    "where user_id = %s order by number"
)
# A user's own, and what the tenant shares of what the user said.
ALL_MEMORIES_OF_USER = (
    "select " + _MEMORY + " from chatmemory.memories m where m.user_id = %(user_id)s or m.user_id = '' and exists ("
    "select from chatmemory.memory_sources c join chatmemory.sessions s "
    "on s.tenant_id = c.tenant_id and s.id = c.session_id "
    "where c.tenant_id = m.tenant_id and c.memory_id = m.id and s.user_id = %(user_id)s) order by m.created_at, m.id"
)
# In this order, what belongs to a session.
ERASE_ALL = (ERASE_SPEND_OF_SESSION, ERASE_MESSAGES, ERASE_EVENTS, ERASE_SESSION)

# Items under namespaces and keys.
_ITEM = "namespace, key, value, nullif(user_id, ''), created_at, updated_at"
PUT_ITEM = (
    "insert into chatmemory.store_items (tenant_id, path, key, user_id, namespace, value, lexemes) "
    "values (%s, %s, %s, %s, %s, %s::json, to_tsvector(%s::regconfig, %s)) "
    "on conflict (tenant_id, path, key) do update set user_id = excluded.user_id, value = excluded.value, "
    "lexemes = excluded.lexemes, number = excluded.number, updated_at = clock_timestamp()"
)
DELETE_ITEM = "delete from chatmemory.store_items where tenant_id = %s and path = %s and key = %s"
GET_ITEM = "select " + _ITEM + ", null from chatmemory.store_items where path = %s and key = %s"
# The items below a namespace, those that share words with the query first, then the newest first.
FIND_ITEMS = (
    "with asked as (select string_agg("
    r"'''' || replace(replace(w, '\', '\\'), '''', '''''') || '''', ' | ')::tsquery as words "
    "from unnest(tsvector_to_array(to_tsvector(%(language)s::regconfig, %(query)s))) w) "
    "select " + _ITEM + ", nullif(ts_rank(lexemes, words, 1), 0) as score from chatmemory.store_items, asked "
    "where (%(user_id)s::text is null or user_id = %(user_id)s) "
    "and namespace[1:cardinality(%(prefix)s::text[])] = %(prefix)s::text[] "
    "order by score desc nulls last, number desc limit %(limit)s offset %(offset)s"
)
NAMESPACES = (
    "select distinct namespace from chatmemory.store_items where %(user_id)s::text is null or user_id = %(user_id)s"
)
ITEMS_OF_USER = "select " + _ITEM + ", null from chatmemory.store_items where user_id = %s order by path, key"
ERASE_ITEMS_OF_USER = "delete from chatmemory.store_items where user_id = %s"
