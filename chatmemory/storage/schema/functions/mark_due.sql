-- revision: 1; owner: app
-- Mark a session due after an append crossed a threshold, and wake a worker.
create or replace function chatmemory.mark_due(p_tenant text, p_session text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config('chatmemory.tenant_id', p_tenant, true);
    update chatmemory.sessions s set due_at = clock_timestamp() where s.tenant_id = p_tenant and s.id = p_session;
    perform pg_notify('chatmemory_due', '');
end $$;
