-- What each session teaches, and when a worker has to look at it.

alter table chatmemory.sessions
    add column learns text not null default 'messages' check (learns in ('messages', 'result', 'nothing')),
    add column due_messages bigint not null default 40,     -- new messages after which an active session is due
    add column due_tokens bigint not null default 4000,     -- and new tokens
    add column learnt_at timestamptz;

-- The kinds that the library declares; others keep what a declaration says by default, and runs of others taught
-- nothing until now. The owner sees the rows only without forced row-level security.
alter table chatmemory.sessions no force row level security;
update chatmemory.sessions set learns =
    case when kind in ('training', 'testing', 'research', 'analysis', 'synthesis') then 'result' else 'nothing' end
    where run_endings is not null or kind in ('training', 'testing', 'research', 'analysis', 'synthesis');
alter table chatmemory.sessions force row level security;

-- Both are computed by Postgres, so that no statement can forget them, and change seldom, so that appends stay HOT.
-- due_at: when a worker may next take the session; null: it has nothing to learn. A lease and a failure put it off.
-- An active session that is due waits by when it was learnt from last, which no append changes.
alter table chatmemory.sessions
    add column due_at timestamptz generated always as (
        case
            when deleted_at is not null or parked_at is not null then null
            when ended_at is not null then
                case when not processed_for_ltm and learns <> 'nothing'
                    then greatest(ended_at, next_attempt_at, lease_until) end
            when learns = 'messages' and last_seq > summary_seq
                    and (last_seq - summary_seq >= due_messages or token_count - summary_tokens >= due_tokens)
                then greatest(coalesce(learnt_at, created_at), next_attempt_at, lease_until)
        end) stored,
    add column last_active_hour timestamp generated always as (
        date_trunc('hour', last_active_at at time zone 'UTC')) stored;

create index sessions_due on chatmemory.sessions (due_at) where due_at is not null;
create index sessions_idle on chatmemory.sessions (last_active_hour, tenant_id)
    where ended_at is null and deleted_at is null;
drop index chatmemory.sessions_to_learn_from;
drop index chatmemory.sessions_to_archive;
create index sessions_to_archive on chatmemory.sessions (ended_at)
    where processed_for_ltm and archived_at is null and ended_at is not null and deleted_at is null;
