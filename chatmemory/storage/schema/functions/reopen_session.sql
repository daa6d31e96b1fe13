-- revision: 1; owner: app
-- Reopen a conversation that has ended, with its messages, its watermark and its memories; it counts again towards the
-- user's limit of active sessions. An active one stays active. p_of is when the session was stored: a later session with
-- the same id does not match. The setting chatmemory.reopened tells the caller that sessions of the user have changed.
create or replace function chatmemory.reopen_session(
    p_tenant text, p_session text, p_of timestamptz, p_max bigint, p_end_oldest boolean
) returns setof chatmemory.sessions language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_session chatmemory.sessions;
    v_active text[];
begin
    perform chatmemory.enter(p_tenant);
    perform chatmemory.lock_user(p_tenant, s.user_id) from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.id = p_session;
    select s.* into v_session from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.id = p_session and s.born_at = p_of and s.deleted_at is null;
    if v_session.id is null then
        raise exception 'session not found' using errcode = 'CM404';
    elsif v_session.run_endings is not null and v_session.status <> 'active' then
        raise exception 'session has ended' using errcode = 'CM410', detail = v_session.status || ' run';
    end if;
    if v_session.status <> 'active' then
        v_active := array(
            select s.id from chatmemory.sessions s
                where s.tenant_id = p_tenant and s.user_id = v_session.user_id and s.kind = v_session.kind
                  and s.ended_at is null and s.deleted_at is null);
        if cardinality(v_active) >= p_max then
            perform from chatmemory.sessions s  -- in the order in which the sessions of a user are locked everywhere
                where s.tenant_id = p_tenant and s.id = any(v_active || p_session)
                order by s.created_at, s.id for no key update;
            perform chatmemory.make_room(p_tenant, v_session.user_id, v_session.kind, p_max, p_end_oldest);
        end if;
        perform set_config('chatmemory.reopened', 'true', true);
        insert into chatmemory.events (tenant_id, session_id, type, data)
            values (p_tenant, p_session, 'reopened', json_build_object('status', v_session.status));
    end if;
    -- What the closed visit left to learn stays due: it does not wait until the threshold is crossed.
    return query update chatmemory.sessions s set
        status = 'active', ended_at = null, archived_at = null, last_active_at = clock_timestamp(),
        updated_at = case when s.status = 'active' then s.updated_at else clock_timestamp() end,
        due_messages = case when s.ended_at is not null and s.last_seq > s.summary_seq
            then least(s.due_messages, s.last_seq - s.summary_seq) else s.due_messages end
        where s.tenant_id = p_tenant and s.id = p_session and s.born_at = p_of and s.deleted_at is null
        returning s.*;
    if not found then
        raise exception 'session not found' using errcode = 'CM404';
    end if;
end $$;
