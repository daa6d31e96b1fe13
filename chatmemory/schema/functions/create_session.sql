-- Create a session, within the user's limit of active sessions of its kind.
create or replace function chatmemory.create_session(
    p_tenant text, p_session text, p_user text, p_kind text, p_title text, p_metadata json, p_details json,
    p_continues text, p_max bigint, p_end_oldest boolean, p_min_messages bigint
) returns setof chatmemory.sessions language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_now timestamptz := clock_timestamp();
    v_excess bigint;
    v_oldest text;
begin
    perform set_config('chatmemory.tenant_id', p_tenant, true);
    perform chatmemory.lock_user(p_tenant, p_user);
    if exists (select from chatmemory.sessions s where s.tenant_id = p_tenant and s.id = p_session) then
        raise exception 'session exists' using errcode = 'CM423';
    end if;
    select count(*) - p_max + 1 into v_excess from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.user_id = p_user and s.kind = p_kind
          and s.ended_at is null and s.deleted_at is null;
    if v_excess > 0 and not p_end_oldest then
        raise exception 'too many active sessions' using errcode = 'CM429', detail = p_max;
    end if;
    for v_oldest in
        select s.id from chatmemory.sessions s
            where s.tenant_id = p_tenant and s.user_id = p_user and s.kind = p_kind
              and s.ended_at is null and s.deleted_at is null
            order by s.last_active_at, s.id limit greatest(v_excess, 0)
    loop
        perform chatmemory.end_session(p_tenant, v_oldest, 'completed', null, 'session limit', p_min_messages);
    end loop;
    return query
        insert into chatmemory.sessions (tenant_id, id, user_id, kind, title, metadata, details,
                created_at, updated_at, last_active_at, parent_id, continues)
            values (p_tenant, p_session, p_user, p_kind, p_title, p_metadata, p_details,
                v_now, v_now, v_now, p_continues, p_continues)
            returning *;
    insert into chatmemory.events (tenant_id, session_id, at, type, data) values (
        p_tenant, p_session, v_now, 'created', json_strip_nulls(json_build_object('continues', p_continues)));
exception
    when unique_violation then
        raise exception 'session exists' using errcode = 'CM423';
end $$;
