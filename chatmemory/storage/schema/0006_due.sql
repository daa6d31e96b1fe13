-- What is learnt from each session, and when a worker has to claim it.

alter table chatmemory.sessions
    add column learns text not null default 'messages' check (learns in ('messages', 'result', 'nothing')),
    add column due_messages bigint not null default 40,     -- new messages after which an active session is due
    add column due_tokens bigint not null default 4000,     -- and new tokens
    add column learnt_at timestamptz,
    add column due_at timestamptz,                          -- computed by set_due_at
    -- It changes with an append at most once an hour, so that appends stay HOT.
    add column last_active_hour timestamp generated always as (
        date_trunc('hour', last_active_at at time zone 'UTC')) stored;

-- Set `learns` for the kinds that the library declares. Other conversations keep the default. Runs of an app's own kind
-- learn their result if such a run has left one, and nothing otherwise. The owner sees the rows only without forced
-- row-level security.
alter table chatmemory.sessions no force row level security;
alter table chatmemory.memories no force row level security;
update chatmemory.sessions s set learns = case
        when s.kind in ('training', 'testing', 'research', 'analysis', 'synthesis') then 'result'
        when s.kind in (select m.metadata ->> 'kind' from chatmemory.memories m
            where m.kind = 'result' and m.tenant_id = s.tenant_id) then 'result'
        else 'nothing' end
    where s.run_endings is not null or s.kind in ('training', 'testing', 'research', 'analysis', 'synthesis');
alter table chatmemory.memories force row level security;
update chatmemory.sessions set due_at = greatest(coalesce(ended_at, created_at), next_attempt_at, lease_until)
    where learns = 'messages' and parked_at is null and deleted_at is null and case when ended_at is null
        then last_seq > summary_seq and (last_seq - summary_seq >= 40 or token_count - summary_tokens >= 4000)
        else not processed_for_ltm end;
alter table chatmemory.sessions force row level security;

create index sessions_due on chatmemory.sessions (due_at) where due_at is not null;
create index sessions_idle on chatmemory.sessions (last_active_hour, tenant_id)
    where ended_at is null and deleted_at is null;
drop index chatmemory.sessions_to_learn_from;
drop index chatmemory.sessions_to_archive;
create index sessions_to_archive on chatmemory.sessions (ended_at)
    where processed_for_ltm and archived_at is null and ended_at is not null and deleted_at is null;

-- Drop functions whose arguments have changed: next to the new ones, calls would be ambiguous. None was released.
do $$
declare
    f regprocedure;
begin
    for f in select p.oid::regprocedure from pg_proc p where p.pronamespace = 'chatmemory'::regnamespace
        and p.proname in ('end_session', 'create_session', 'resume_or_create', 'restore_session', 'make_room', 'clean_up',
            'claim_sessions', 'learning_state') loop
        execute format('drop function %s', f);
    end loop;
end $$;
