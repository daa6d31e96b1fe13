-- revision: 1; owner: app
-- Remove the summary of a session that is deleted or erased from all sessions that continue it, directly or not.
create or replace function chatmemory.withdraw_summary(p_tenant text, p_session text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('chatmemory.tenant_id', p_tenant, true);
    update chatmemory.sessions s set prior_summary = null from (
            select l.id from chatmemory.sessions e
                join chatmemory.sessions l on l.tenant_id = p_tenant and l.continues = coalesce(e.continues, e.id)
                    and l.user_id = e.user_id and l.born_at > e.born_at and l.prior_summary is not null
                where e.tenant_id = p_tenant and e.id = p_session
                order by l.created_at, l.id for no key update of l  -- sessions of a user are locked in this order
        ) later
        where s.tenant_id = p_tenant and s.id = later.id;
end $$;
