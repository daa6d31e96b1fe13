-- revision: 1; owner: worker
-- What waits to be learnt from and what was given up, over all tenants; p_retry takes up again what was given up.
create or replace function chatmemory.learning_state(
    p_messages bigint, p_tokens bigint, p_retry boolean, out due bigint, out parked bigint
) language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    if p_retry then
        update chatmemory.sessions s set parked_at = null, attempts = 0, next_attempt_at = null
            where s.parked_at is not null;
    end if;
    select count(*) filter (where s.parked_at is null), count(*) filter (where s.parked_at is not null)
        into due, parked
        from chatmemory.sessions s
        where s.deleted_at is null and not s.processed_for_ltm and s.kind in ('chat', 'general')
          and (s.ended_at is not null or s.last_seq - s.summary_seq >= p_messages
               or s.last_seq > s.summary_seq and s.token_count - s.summary_tokens >= p_tokens);
end $$;
