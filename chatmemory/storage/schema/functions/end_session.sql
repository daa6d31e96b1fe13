-- revision: 1; owner: app
-- End an active session; an ended one is returned as it stands. A missing one gives no row.
-- A run goes to the final run status that its kind has for this end, unless it is in a final one. Where that says
-- that it completed or failed, or the session ended otherwise, another outcome is refused; expiring never is.
create or replace function chatmemory.end_session(
    p_tenant text, p_session text, p_status text, p_results json, p_reason text, p_min_messages bigint,
    p_by text default null
) returns setof chatmemory.sessions language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_session chatmemory.sessions;
    v_old text;
begin
    perform set_config('chatmemory.tenant_id', p_tenant, true);
    select s.* into v_session from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.id = p_session and s.deleted_at is null for no key update;
    if not found then
        return;
    end if;
    v_old := v_session.run_status;
    if p_status <> 'expired' and v_session.run_endings is not null and (
            v_session.status not in ('active', p_status)
            or v_session.run_ended_at is not null and v_old <> v_session.run_endings ->> p_status
            and v_old in (v_session.run_endings ->> 'completed', v_session.run_endings ->> 'failed')) then
        raise exception 'the run has ended otherwise' using errcode = 'CM412',
            detail = case v_session.status when 'active' then v_old else v_session.status end || ' ' || p_status;
    end if;
    if v_session.status = 'active' then
        update chatmemory.sessions s set
            status = p_status, results = coalesce(p_results, s.results), ended_at = clock_timestamp(),
            run_status = case when s.run_ended_at is null then s.run_endings ->> p_status else s.run_status end,
            run_ended_at = case when s.run_endings is not null then coalesce(s.run_ended_at, clock_timestamp()) end,
            updated_at = clock_timestamp(),
            processed_for_ltm = s.message_count < p_min_messages or s.kind not in ('chat', 'general')
            where s.tenant_id = p_tenant and s.id = p_session
            returning s.* into v_session;
        if v_session.run_status <> v_old then
            insert into chatmemory.events (tenant_id, session_id, type, data) values (
                p_tenant, p_session, 'moved', json_strip_nulls(json_build_object(
                    'old', v_old, 'new', v_session.run_status, 'by', p_by, 'reason', p_reason)));
        end if;
        insert into chatmemory.events (tenant_id, session_id, type, data) values (
            p_tenant, p_session, case p_status when 'expired' then 'expired' else 'ended' end,
            json_strip_nulls(json_build_object('status', p_status, 'reason', p_reason)));
    end if;
    return next v_session;
end $$;
