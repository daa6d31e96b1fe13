-- revision: 1; owner: app
-- Keep a user within the limit of active sessions of a kind, before one is created or restored.
-- A run that is ended for this is cancelled, unless it is completed or failed. The caller holds lock_user.
create or replace function chatmemory.make_room(
    p_tenant text, p_user text, p_kind text, p_max bigint, p_end_oldest boolean
) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_excess bigint;
begin
    select count(*) - p_max + 1 into v_excess from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.user_id = p_user and s.kind = p_kind
          and s.ended_at is null and s.deleted_at is null;
    if v_excess <= 0 then
        return;
    elsif not p_end_oldest then
        raise exception 'too many active sessions' using errcode = 'CM429', detail = p_max;
    end if;
    perform from chatmemory.end_sessions(p_tenant, (
        select json_agg(json_build_object('id', o.id, 'status', o.ending, 'reason', 'session limit'))
        from (
            select s.id, case
                when s.run_status is null or s.run_status = s.run_endings ->> 'completed' then 'completed'
                when s.run_status = s.run_endings ->> 'failed' then 'failed'
                else 'cancelled' end as ending
            from chatmemory.sessions s
            where s.tenant_id = p_tenant and s.user_id = p_user and s.kind = p_kind
              and s.ended_at is null and s.deleted_at is null
            order by s.last_active_at, s.id limit v_excess
        ) o), false);
end $$;
