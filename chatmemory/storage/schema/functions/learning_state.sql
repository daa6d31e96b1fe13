-- revision: 1; owner: worker
-- Count due and parked sessions over all tenants; p_retry first makes the parked ones due again.
create or replace function chatmemory.learning_state(p_retry boolean, out due bigint, out parked bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
begin
    perform chatmemory.enter(null);
    if p_retry then
        update chatmemory.sessions s set parked_at = null, attempts = 0, next_attempt_at = null
            where s.parked_at is not null;
        if found then
            perform pg_notify('chatmemory_due', '');
        end if;
    end if;
    -- Compared and not only "not null": a condition of an index, which is chosen before the tables are analyzed, too.
    select count(*) into due from chatmemory.sessions s where s.due_at <= 'infinity';
    select count(*) into parked from chatmemory.sessions s
        where s.parked_at <= 'infinity' and s.deleted_at is null and not s.processed_for_ltm;
end $$;
