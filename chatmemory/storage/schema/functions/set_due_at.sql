-- revision: 1; owner: app
-- Compute when a worker may next claim a session; null: there is nothing to learn. A lease or a failure delays it. Due
-- active sessions are ordered by the time they were last learnt from.
-- It is a trigger, so that no statement can omit it, and only on these columns, so that it costs appends nothing.
create or replace function chatmemory.set_due_at() returns trigger language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
begin
    new.due_at := case
        when new.deleted_at is not null or new.parked_at is not null then null
        when new.ended_at is not null then
            case when not new.processed_for_ltm and new.learns <> 'nothing'
                then greatest(new.ended_at, new.next_attempt_at, new.lease_until) end
        when new.learns = 'messages' and new.last_seq > new.summary_seq
                and (new.last_seq - new.summary_seq >= new.due_messages
                     or new.token_count - new.summary_tokens >= new.due_tokens)
            then greatest(coalesce(new.learnt_at, new.created_at), new.next_attempt_at, new.lease_until)
        end;
    return new;
end $$;
create or replace trigger set_due_at before insert or update of due_at, learns, due_messages, due_tokens, learnt_at,
    ended_at, processed_for_ltm, deleted_at, parked_at, summary_seq, summary_tokens, next_attempt_at, lease_until
    on chatmemory.sessions for each row execute function chatmemory.set_due_at();
