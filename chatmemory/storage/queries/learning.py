"""Learning: due sessions, their leases, and the cost."""

from chatmemory.storage.queries.messages import FROM_TOOL

# Postgres notifies chatmemory_due when a session becomes due. A lost notification does no harm: due_at is in the row.
LISTEN = "listen chatmemory_due; listen chatmemory_proof"
PROVE = "select pg_catalog.pg_notify('chatmemory_proof', %s)"
CLAIM_SESSIONS = "select * from chatmemory.claim_sessions(%s, %s, %s, %s, %s)"
LEARNING_STATE = "select due, parked from chatmemory.learning_state(%s)"
# Get a session if this owner still holds its lease.
LEASED_SESSION = (
    "select user_id, learns, summary, summary_seq, last_seq, number, message_count, ended_at is not null, attempts "
    "from chatmemory.sessions where id = %s and lease_owner = %s and deleted_at is null"
)
LOCK_LEASED = LEASED_SESSION + " for no key update"
# Store the new summary and watermark, and end the lease.
LEARN = (
    "update chatmemory.sessions s set summary = %(summary)s, summary_seq = %(seq)s, summary_tokens = coalesce("
    "(select sum(m.tokens) from chatmemory.messages m where m.session_id = s.id and m.seq > s.summary_seq "
    "and m.seq <= %(seq)s), 0) + s.summary_tokens, lease_owner = null, lease_until = null, attempts = 0, "
    "next_attempt_at = null, last_failure = null, parked_at = null, learnt_at = clock_timestamp(), "
    "due_messages = %(due_messages)s, due_tokens = %(due_tokens)s, "
    "processed_for_ltm = %(had_ended)s and s.last_seq = %(seq)s where s.id = %(id)s"
)
# Record what was learnt, and give the new summary to the session that continues this one.
LEARNT = (
    "with noted as (insert into chatmemory.events (tenant_id, session_id, type, data) "
    "values (%(tenant)s, %(id)s, 'learnt', %(data)s)) select chatmemory.pass_on_summary(%(tenant)s, %(id)s)"
)
# Get whether messages of tools are summarised, and the summary memories of the session's earlier ends.
BEFORE_SUMMARY = (
    "select exists (select from chatmemory.messages m where session_id = %(id)s and seq <= %(seq)s and "
    + FROM_TOOL
    + "), "
    "array(select m.id from chatmemory.memory_sources c "
    "join chatmemory.memories m on m.tenant_id = c.tenant_id and m.id = c.memory_id "
    "where c.session_id = %(id)s and m.user_id = %(user_id)s and m.kind = 'summary' and m.valid_to is null "
    "and m.valid_from <= %(at)s)"
)
# End a lease without counting the attempt.
RELEASE = (
    "update chatmemory.sessions set lease_owner = null, lease_until = null, attempts = greatest(attempts - 1, 0) "
    "where id = %s and lease_owner = %s"
)
# End the lease of a session with nothing to learn. The watermark moves even past no messages, else the session would
# stay due for ever.
NOTHING_LEFT = (
    "update chatmemory.sessions set lease_owner = null, lease_until = null, attempts = 0, "
    "summary_seq = greatest(summary_seq, %(seq)s), processed_for_ltm = %(had_ended)s "
    "where id = %(id)s and lease_owner = %(owner)s"
)
# Mark a run whose result memory was stored, so that no other worker stores a second one.
RESULT_LEFT = (
    "update chatmemory.sessions set lease_owner = null, lease_until = null, attempts = 0, next_attempt_at = null, "
    "last_failure = null, parked_at = null, learnt_at = clock_timestamp(), processed_for_ltm = true where id = %s"
)
# End the lease after a failure: the next attempt waits 30 seconds, doubled each time up to one hour, with ±50 % jitter.
FAIL = (
    "update chatmemory.sessions set lease_owner = null, lease_until = null, last_failure = %(reason)s, "
    "next_attempt_at = now() + least(interval '1 hour', interval '30 seconds' * power(2, least(attempts, 10) - 1)) "
    "* (0.5 + random()), parked_at = case when attempts >= %(most)s then now() else parked_at end "
    "where id = %(id)s and lease_owner = %(owner)s returning parked_at is not null"
)
# Record an expense. It names no session and no user if the session was erased meanwhile, or, for re-embedding, if the
# user was.
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
