-- End an active session; an ended one is returned as it stands. A missing one gives no row.
create or replace function chatmemory.end_session(
    p_tenant text, p_session text, p_status text, p_results json, p_reason text, p_min_messages bigint
) returns setof chatmemory.sessions language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_session chatmemory.sessions;
begin
    perform set_config('chatmemory.tenant_id', p_tenant, true);
    select s.* into v_session from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.id = p_session and s.deleted_at is null for no key update;
    if not found then
        return;
    end if;
    if v_session.status = 'active' then
        update chatmemory.sessions s set
            status = p_status, results = p_results, ended_at = clock_timestamp(), updated_at = clock_timestamp(),
            processed_for_ltm = s.message_count < p_min_messages or s.summary_seq = s.last_seq
                or s.kind not in ('chat', 'general')
            where s.tenant_id = p_tenant and s.id = p_session
            returning s.* into v_session;
        insert into chatmemory.events (tenant_id, session_id, type, data) values (
            p_tenant, p_session, case p_status when 'expired' then 'expired' else 'ended' end,
            json_strip_nulls(json_build_object('status', p_status, 'reason', p_reason)));
    end if;
    return next v_session;
end $$;
