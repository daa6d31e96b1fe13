-- revision: 1; owner: app
-- Before a session begins or comes back: keep the user within the limit of active sessions of a kind.
-- A run that has to give way did not complete: it is cancelled. The caller holds lock_user.
create or replace function chatmemory.make_room(
    p_tenant text, p_user text, p_kind text, p_max bigint, p_end_oldest boolean, p_min_messages bigint
) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_excess bigint;
    v_oldest record;
begin
    select count(*) - p_max + 1 into v_excess from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.user_id = p_user and s.kind = p_kind
          and s.ended_at is null and s.deleted_at is null;
    if v_excess > 0 and not p_end_oldest then
        raise exception 'too many active sessions' using errcode = 'CM429', detail = p_max;
    end if;
    for v_oldest in
        select s.id, s.run_status from chatmemory.sessions s
            where s.tenant_id = p_tenant and s.user_id = p_user and s.kind = p_kind
              and s.ended_at is null and s.deleted_at is null
            order by s.last_active_at, s.id limit greatest(v_excess, 0)
    loop
        perform chatmemory.end_session(p_tenant, v_oldest.id,
            case when v_oldest.run_status is null then 'completed' else 'cancelled' end,
            null, 'session limit', p_min_messages);
    end loop;
end $$;
