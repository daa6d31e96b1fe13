-- revision: 1; owner: app
-- Restore a deleted session; an active one must fit within the user's limit. Without a deleted session there is no row.
-- p_of is when the session was stored, null for any: a later session with the same id is not restored for an older one.
create or replace function chatmemory.restore_session(
    p_tenant text, p_session text, p_of timestamptz, p_max bigint, p_end_oldest boolean
) returns setof chatmemory.sessions language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_session chatmemory.sessions;
begin
    perform chatmemory.enter(p_tenant);
    perform chatmemory.lock_user(p_tenant, s.user_id) from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.id = p_session;
    select s.* into v_session from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.id = p_session and s.deleted_at is not null
            and (p_of is null or s.born_at = p_of) for no key update;
    if not found then
        return;
    end if;
    if v_session.status = 'active' then
        perform chatmemory.make_room(p_tenant, v_session.user_id, v_session.kind, p_max, p_end_oldest);
    end if;
    return query update chatmemory.sessions s set deleted_at = null
        where s.tenant_id = p_tenant and s.id = p_session returning s.*;
    perform chatmemory.pass_on_summary(p_tenant, p_session);
    insert into chatmemory.events (tenant_id, session_id, type) values (p_tenant, p_session, 'restored');
end $$;
