-- revision: 1; owner: app
-- Resume a session of this user, reopen it, or create one, in one round trip.
-- With p_adopt, an unknown id becomes the id of the new session. Once that session has ended, the session that
-- continues it is found under the old id, so that a caller who always passes the same id stays in one conversation.
-- With p_reopen, a conversation that expired or gave way to the session limit is reopened; the setting
-- chatmemory.reopened then tells the caller so.
create or replace function chatmemory.resume_or_create(
    p_tenant text, p_session text, p_new_id text, p_user text, p_kind text, p_adopt boolean, p_reopen boolean,
    p_metadata json, p_timeout interval, p_max bigint, p_end_oldest boolean, p_declared json
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
          and chatmemory.resumed_lately(p_tenant, p_session);
    if found then
        return;
    end if;
    perform chatmemory.lock_user(p_tenant, p_user);
    loop  -- read without a lock and write under a condition; if that fails, the session has changed in between
        select s.* into v_session from chatmemory.sessions s
            where s.tenant_id = p_tenant and s.id = p_session and s.user_id = p_user;
        if p_adopt and v_session.id is null
                and exists (select from chatmemory.sessions s where s.tenant_id = p_tenant and s.id = p_session) then
            raise exception 'session not found' using errcode = 'CM404';
        end if;
        if p_adopt and v_session.id is null then
            begin
                return query select * from chatmemory.create_session(p_tenant, p_session, p_user, p_kind, null,
                    p_metadata, null, null, null, null, p_max, p_end_oldest, p_declared);
            exception
                when sqlstate 'CM423' then  -- another user adopted the id at the same time
                    raise exception 'session not found' using errcode = 'CM404';
            end;
            return;
        end if;
        if v_session.deleted_at is not null or v_session.kind <> p_kind or not p_adopt and v_session.id is null then
            v_session := null;
        end if;
        if p_adopt and v_session.status is distinct from 'active' then
            select t.* into v_session from (
                    select s.* from chatmemory.sessions s where s.tenant_id = p_tenant and s.id = p_session
                    union all
                    select s.* from chatmemory.sessions s where s.tenant_id = p_tenant and s.continues = p_session
                ) t
                where t.user_id = p_user and t.kind = p_kind and t.deleted_at is null
                order by t.status = 'active' desc, t.created_at desc, t.id desc limit 1;
        end if;
        v_now := clock_timestamp();
        if v_session.status = 'active' and v_session.last_active_at < v_now - p_timeout then
            perform from chatmemory.end_sessions(p_tenant, json_build_array(json_build_object(
                'id', v_session.id, 'status', 'expired', 'reason', 'idle', 'born_at', v_session.born_at,
                'last_active_at', v_session.last_active_at)), false);
            continue;
        elsif v_session.status = 'active' then
            return query update chatmemory.sessions s set last_active_at = v_now
                where s.tenant_id = p_tenant and s.id = v_session.id and s.status = 'active' and s.deleted_at is null
                returning s.*;
            continue when not found;
            insert into chatmemory.events (tenant_id, session_id, at, type)
                select p_tenant, v_session.id, v_now, 'resumed'
                where not chatmemory.resumed_lately(p_tenant, v_session.id);
            return;
        elsif p_reopen and v_session.run_endings is null and (v_session.status = 'expired' or exists (
                select from (select e.data from chatmemory.events e
                    where e.tenant_id = p_tenant and e.session_id = v_session.id and e.type in ('ended', 'expired')
                    order by e.number desc limit 1) newest
                where newest.data ->> 'reason' = 'session limit')) then
            begin
                return query select * from chatmemory.reopen_session(
                    p_tenant, v_session.id, v_session.born_at, p_max, p_end_oldest);
            exception
                when sqlstate 'CM404' then
                    continue;  -- deleted in between
            end;
            return;
        end if;
        exit;
    end loop;
    return query select s.* from chatmemory.sessions s  -- a retry after a lost reply: the session was created
        where s.tenant_id = p_tenant and s.id = p_new_id and s.user_id = p_user;
    if found then
        return;
    end if;
    return query select * from chatmemory.create_session(p_tenant, p_new_id, p_user, p_kind, null, p_metadata, null,
        case when p_adopt then p_session end, case when p_adopt then v_session.id end, null,
        p_max, p_end_oldest, p_declared);
end $$;
