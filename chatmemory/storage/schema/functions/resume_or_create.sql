-- revision: 1; owner: app
-- Resume an active session of this user, or create one, in one round trip.
-- With p_adopt, an unknown id becomes the id of the new session. Once that session has ended, the session that
-- continues it is found under the old id, so that a caller who always passes the same id stays in one conversation.
create or replace function chatmemory.resume_or_create(
    p_tenant text, p_session text, p_new_id text, p_user text, p_kind text, p_adopt boolean, p_metadata json,
    p_timeout interval, p_max bigint, p_end_oldest boolean, p_declared json
) returns setof chatmemory.sessions language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
    v_session chatmemory.sessions;
    v_now timestamptz;
begin
    perform chatmemory.enter(p_tenant);
    -- One that was active within the last minute is only read: nothing waits for the disk.
    v_now := clock_timestamp();
    return query select s.* from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.id = p_session and s.user_id = p_user and s.kind = p_kind
          and s.status = 'active' and s.deleted_at is null
          and s.last_active_at >= v_now - least(p_timeout / 10, interval '1 minute')
          and exists (
              select from (select e.type, e.at from chatmemory.events e
                  where e.tenant_id = p_tenant and e.session_id = p_session order by e.number desc limit 1) newest
              where newest.type = 'resumed' and newest.at > v_now - interval '30 minutes');
    if found then
        return;
    end if;
    perform chatmemory.lock_user(p_tenant, p_user);
    select s.* into v_session from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.id = p_session and s.user_id = p_user for no key update;
    if p_adopt and v_session.id is null
            and exists (select from chatmemory.sessions s where s.tenant_id = p_tenant and s.id = p_session) then
        raise exception 'session not found' using errcode = 'CM404';
    end if;
    if p_adopt and p_session is not null and v_session.id is null then
        begin
            return query select * from chatmemory.create_session(p_tenant, p_session, p_user, p_kind, null,
                p_metadata, null, null, p_max, p_end_oldest, p_declared);
        exception
            when sqlstate 'CM423' then  -- another user adopted the id at the same time
                raise exception 'session not found' using errcode = 'CM404';
        end;
        return;
    end if;
    if p_adopt and (v_session.status <> 'active' or v_session.deleted_at is not null or v_session.kind <> p_kind) then
        select s.* into v_session from chatmemory.sessions s
            where s.tenant_id = p_tenant and s.continues = p_session and s.user_id = p_user and s.kind = p_kind
              and s.status = 'active' and s.deleted_at is null
            order by s.created_at desc limit 1 for no key update;
    end if;
    v_now := clock_timestamp();
    if v_session.kind = p_kind and v_session.status = 'active'
            and v_session.deleted_at is null then
        if v_session.last_active_at >= v_now - p_timeout then
            if not exists (  -- one visit, though an app may resume at every turn
                select from (select e.type, e.at from chatmemory.events e
                    where e.tenant_id = p_tenant and e.session_id = v_session.id order by e.number desc limit 1) newest
                where newest.type = 'resumed' and newest.at > v_now - interval '30 minutes')
            then
                insert into chatmemory.events (tenant_id, session_id, at, type)
                    values (p_tenant, v_session.id, v_now, 'resumed');
            end if;
            return query update chatmemory.sessions s set last_active_at = v_now
                where s.tenant_id = p_tenant and s.id = v_session.id returning s.*;
            return;
        end if;
        perform from chatmemory.end_sessions(p_tenant, json_build_array(
            json_build_object('id', v_session.id, 'status', 'expired', 'reason', 'idle')), false);
    end if;
    return query select s.* from chatmemory.sessions s  -- a retry after a lost reply: the session was created
        where s.tenant_id = p_tenant and s.id = p_new_id and s.user_id = p_user;
    if found then
        return;
    end if;
    return query select * from chatmemory.create_session(p_tenant, p_new_id, p_user, p_kind, null, p_metadata, null,
        case when p_adopt then p_session end, p_max, p_end_oldest, p_declared);
end $$;
