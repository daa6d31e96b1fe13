-- revision: 1; owner: worker
-- Claim the sessions that have been due longest, over all tenants. With p_session, claim only that session, due or not,
-- if it has something to learn. A claim is a lease that expires.
create or replace function chatmemory.claim_sessions(
    p_owner text, p_lease interval, p_limit bigint, p_tenant text, p_session text
) returns table (tenant_id text, id text) language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
begin
    perform chatmemory.enter(null);
    return query
        with due as (
            select s.tenant_id, s.id from chatmemory.sessions s
            where s.due_at <= now() and p_session is null and s.tenant_id = coalesce(p_tenant, s.tenant_id)
            order by s.due_at
            limit p_limit for no key update skip locked
        ), asked as (
            select s.tenant_id, s.id from chatmemory.sessions s
            where s.tenant_id = p_tenant and s.id = p_session and s.deleted_at is null
              and (s.learns = 'messages' and s.last_seq > s.summary_seq
                   or s.learns <> 'nothing' and s.ended_at is not null and not s.processed_for_ltm)
              and coalesce(s.lease_until, '-infinity') < now()
            for no key update
        )
        update chatmemory.sessions s set
            lease_owner = p_owner, lease_until = now() + p_lease,
            attempts = case when s.parked_at is null then s.attempts + 1 else 1 end  -- parked: start over
            from (select * from due union all select * from asked) d
            where s.tenant_id = d.tenant_id and s.id = d.id
            returning s.tenant_id, s.id;
end $$;
