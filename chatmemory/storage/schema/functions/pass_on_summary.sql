-- revision: 1; owner: app
-- Give the summary of a session to the session that continues it, which may have begun before it was made. Return how
-- many sessions have changed.
create or replace function chatmemory.pass_on_summary(p_tenant text, p_session text) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_changed bigint;
begin
    perform set_config('chatmemory.tenant_id', p_tenant, true);
    with from_session as (
        select s.id, s.user_id, s.born_at, coalesce(s.continues, s.id) as thread,
               chatmemory.continued_summary(s.prior_summary, s.summary) as summary
        from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.id = p_session and s.deleted_at is null
    )
    update chatmemory.sessions s set prior_summary = f.summary from from_session f
        where s.tenant_id = p_tenant and s.continues = f.thread and s.parent_id = f.id and s.user_id = f.user_id
          and s.born_at > f.born_at and s.prior_summary is distinct from f.summary;
    get diagnostics v_changed = row_count;
    return v_changed;
end $$;
