-- revision: 1; owner: app
-- End the tenant's sessions that are lost: runs whose process beats, and of which nothing was heard for longer than
-- lost_after_seconds. Return how many. p_ids: only these; null: all. At most p_limit; one that somebody else has locked
-- is at work, and left alone. A run that is completed already stays so.
create or replace function chatmemory.end_lost(p_tenant text, p_ids text[], p_limit bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_ends json;
    v_ended bigint;
begin
    perform chatmemory.enter(p_tenant);
    select json_agg(json_build_object('id', l.id, 'status', 'failed', 'reason', 'lost', 'keeps_run', true,
               'error', 'lost: its process has stopped beating')) into v_ends
        from (select s.id from chatmemory.sessions s
                where s.tenant_id = p_tenant and s.ended_at is null and s.deleted_at is null
                  and s.lost_after_seconds is not null and (p_ids is null or s.id = any(p_ids))
                  and s.last_active_at < clock_timestamp() - make_interval(secs => s.lost_after_seconds)
                limit p_limit for no key update skip locked) l;
    if v_ends is null then
        return 0;
    end if;
    select count(*) filter (where e.refused is null) into v_ended
        from chatmemory.end_sessions(p_tenant, v_ends, false) e;
    return v_ended;
end $$;
