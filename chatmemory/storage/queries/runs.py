"""Runs: their status history and their metrics."""

from chatmemory.storage.queries.columns import SESSION

READ_METRICS = "select * from chatmemory.read_metrics(%s, %s, %s, %s, %s)"
DROP_METRICS = "select chatmemory.drop_metrics(%s, %s, %s, %s, %s, %s)"

# Keep an active run from being lost or idle, by the server's clock.
BEAT = (
    "update chatmemory.sessions set last_active_at = clock_timestamp(), lost_after_seconds = %(seconds)s "
    "where id = %(id)s and born_at = %(born)s and status = 'active' and run_status is not null "
    "and deleted_at is null returning " + SESSION
)
END_LOST = "select chatmemory.end_lost(%s, %s, %s)"

# Get all moves between run statuses; a session without any gives one row of nulls.
STATUS_HISTORY = (
    "select e.at, e.data from chatmemory.sessions s left join chatmemory.events e "
    "on e.tenant_id = s.tenant_id and e.session_id = s.id and e.type = 'moved' "
    "where s.id = %(id)s and s.born_at = %(born)s and s.deleted_at is null order by e.number"
)

# Store packed points. The same row again changes nothing; a row with more points replaces the stored one.
KEEP_METRICS = (
    "insert into chatmemory.metrics (tenant_id, session_id, name, id, count, steps, readings, times, "
    "from_step, to_step, low, low_step, low_at, high, high_step, high_at) "
    "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) "
    "on conflict (tenant_id, session_id, name, id) do update set count = excluded.count, steps = excluded.steps, "
    "readings = excluded.readings, times = excluded.times, from_step = excluded.from_step, "
    "to_step = excluded.to_step, low = excluded.low, low_step = excluded.low_step, low_at = excluded.low_at, "
    "high = excluded.high, high_step = excluded.high_step, high_at = excluded.high_at"
)
# Find the session that metrics were logged for, and keep it until they are written: a later one with the same id has
# another birth.
OWN_SESSION = "select 1 from chatmemory.sessions where id = %s and born_at = %s for key share"
# Keep a run that logs metrics from becoming idle; written at most once a minute.
TOUCH_SESSION = (
    "update chatmemory.sessions set last_active_at = clock_timestamp() where id = %s and status = 'active' "
    "and last_active_at < clock_timestamp() - interval '1 minute'"
)
# All points of a session, packed, in order.
METRICS_TO_EXPORT = (
    "select name, steps, readings, times from chatmemory.metrics where session_id = %s order by name, from_step, id"
)
# Get the step after a session's last one.
NEXT_STEP = (
    "select least(coalesce(max(to_step), -1), 9223372036854775806) + 1 from chatmemory.metrics where session_id = %s"
)
NEXT_STEPS = (
    "select session_id, least(max(to_step), 9223372036854775806) + 1 from chatmemory.metrics "
    "where session_id = any(%s) group by session_id"
)
EXTREMES = (
    "select session_id, name, sum(count)::bigint, "
    "(array_agg(low order by low, low_step))[1], (array_agg(low_step order by low, low_step))[1], "
    "(array_agg(high order by high = 'NaN', high desc, high_step))[1], "
    "(array_agg(high_step order by high = 'NaN', high desc, high_step))[1] "
    "from chatmemory.metrics where session_id = any(%s) group by session_id, name order by name"
)
