-- revision: 1; owner: app
-- Continue a run that has ended, under its id: it gets back the run status it had before its end. An active one stays as
-- it is. Its result memory is removed: a run has one result. It is not lost before its process beats again. It ends no
-- other session, whatever the user's limit.
-- p_of is when the session was stored: a later session with the same id does not match.
create or replace function chatmemory.reopen_run(
    p_tenant text, p_session text, p_of timestamptz, p_reason text, p_by text
) returns setof chatmemory.sessions language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_session chatmemory.sessions;
    v_status text;
begin
    perform chatmemory.enter(p_tenant);
    perform chatmemory.remove_memories(p_tenant, array(  -- first, in the order in which writers lock
        select m.id from chatmemory.memory_sources c
            join chatmemory.memories m on m.tenant_id = c.tenant_id and m.id = c.memory_id and m.kind = 'result'
            join chatmemory.sessions s on s.tenant_id = c.tenant_id and s.id = c.session_id
            where c.tenant_id = p_tenant and c.session_id = p_session and s.born_at = p_of and s.ended_at is not null));
    select s.* into v_session from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.id = p_session and s.born_at = p_of and s.deleted_at is null
        for no key update;
    if v_session.id is null then
        raise exception 'session not found' using errcode = 'CM404';
    elsif v_session.status <> 'active' then
        select e.data ->> 'old' into v_status from chatmemory.events e
            where e.tenant_id = p_tenant and e.session_id = p_session and e.type = 'moved'
              and e.data ->> 'new' = v_session.run_status
            order by e.number desc limit 1;
        v_status := coalesce(v_status, v_session.run_status);
        insert into chatmemory.events (tenant_id, session_id, type, data) values
            (p_tenant, p_session, 'reopened', json_strip_nulls(json_build_object(
                'status', v_session.status, 'reason', p_reason, 'error', v_session.error))),
            (p_tenant, p_session, 'moved', json_strip_nulls(json_build_object(
                'old', v_session.run_status, 'new', v_status, 'by', p_by, 'reason', p_reason)));
        return query update chatmemory.sessions s set
            status = 'active', ended_at = null, archived_at = null, run_status = v_status, run_ended_at = null,
            error = null, lost_after_seconds = null, processed_for_ltm = false, lease_owner = null, lease_until = null,
            last_active_at = clock_timestamp(), updated_at = clock_timestamp()
            where s.tenant_id = p_tenant and s.id = p_session
            returning s.*;
    else
        return next v_session;
    end if;
end $$;
