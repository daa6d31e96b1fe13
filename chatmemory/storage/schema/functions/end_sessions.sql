-- revision: 1; owner: app
-- End sessions of a tenant. Every session ends through this function. A missing session gives no row; an ended one is
-- returned unchanged.
-- p_ends: for each session its id and status; optionally who ended it and why, its last details, results, metadata,
-- progress and error, and has_result if the caller stores the run's result memory in the same transaction.
-- A run that is not in a final run status moves to the one that its kind declares for this end. If the run is completed
-- or failed already, or the session has ended with another status, a different end is refused; expiring never is, and
-- with keeps_run the run stays as it is while the session ends otherwise.
-- With updated_at and last_active_at, a session that has changed since then is left unchanged.
-- p_strict: a missing, refused or changed session raises an error instead of being reported in its row.
create or replace function chatmemory.end_sessions(p_tenant text, p_ends json, p_strict boolean)
returns table (session chatmemory.sessions, refused text) language plpgsql security definer
set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_end record;
    v_old text;
    v_found bigint := 0;
    v_is_due boolean := false;
    v_results_due text[];
begin
    perform chatmemory.enter(p_tenant);
    for v_end in
        select e.* from json_to_recordset(p_ends) as e(
                id text, born_at timestamptz, status text, reason text, ended_by text,
                updated_at timestamptz, last_active_at timestamptz,
                metadata text, details text, results text, progress double precision, error text, is_work boolean,
                has_result boolean, keeps_run boolean)
            cross join lateral (  -- offset 0: look each id up, never read all sessions of the tenant
                select s.created_at, s.id from chatmemory.sessions s
                where s.tenant_id = p_tenant and s.id = e.id offset 0) s
            order by s.created_at, s.id  -- the order in which the sessions of a user are locked everywhere
    loop
        select s.* into session from chatmemory.sessions s
            where s.tenant_id = p_tenant and s.id = v_end.id and s.deleted_at is null
              and s.born_at = coalesce(v_end.born_at, s.born_at)  -- not a later session with the same id
            for no key update;
        continue when not found;
        v_found := v_found + 1;
        v_old := session.run_status;
        refused := case
            when session.updated_at <> v_end.updated_at or session.last_active_at <> v_end.last_active_at
                then 'changed'
            when v_end.status <> 'expired' and session.run_endings is not null and (
                    session.status not in ('active', v_end.status)
                    or session.run_ended_at is not null and not coalesce(v_end.keeps_run, false)
                    and v_old <> session.run_endings ->> v_end.status
                    and v_old in (session.run_endings ->> 'completed', session.run_endings ->> 'failed'))
                then (case session.status when 'active' then v_old else session.status end) || ' ' || v_end.status
            end;
        if p_strict and refused = 'changed' then
            raise exception 'the session has changed' using errcode = 'serialization_failure';
        elsif p_strict and refused is not null then
            raise exception 'the run has ended otherwise' using errcode = 'CM412', detail = refused;
        end if;
        if session.status = 'active' and refused is null then
            update chatmemory.sessions s set
                status = v_end.status, ended_at = clock_timestamp(), updated_at = clock_timestamp(),
                last_active_at = case
                    when s.imported_at is not null and s.run_endings is null
                        then coalesce(s.last_message_at, s.created_at)
                    when v_end.is_work then clock_timestamp()
                    else s.last_active_at end,
                metadata = coalesce(v_end.metadata::json, s.metadata),
                details = coalesce(v_end.details::json, s.details),
                results = coalesce(v_end.results::json, s.results),
                progress = coalesce(v_end.progress, s.progress), error = coalesce(v_end.error, s.error),
                run_status = case when s.run_ended_at is null then s.run_endings ->> v_end.status
                    else s.run_status end,
                run_ended_at = case when s.run_endings is not null then
                    coalesce(s.run_ended_at, clock_timestamp()) end,
                processed_for_ltm = case s.learns
                    when 'messages' then s.last_seq = 0 or s.processed_for_ltm and s.last_seq = s.summary_seq
                    when 'result' then coalesce(v_end.has_result, false)
                    else true end
                where s.tenant_id = p_tenant and s.id = v_end.id
                returning s.* into session;
            if session.run_status <> v_old then
                insert into chatmemory.events (tenant_id, session_id, type, data) values (
                    p_tenant, v_end.id, 'moved', json_strip_nulls(json_build_object(
                        'old', v_old, 'new', session.run_status, 'by', v_end.ended_by, 'reason', v_end.reason)));
            end if;
            insert into chatmemory.events (tenant_id, session_id, type, data) values (
                p_tenant, v_end.id, case v_end.status when 'expired' then 'expired' else 'ended' end,
                json_strip_nulls(json_build_object('status', v_end.status, 'reason', v_end.reason)));
            v_is_due := v_is_due or session.due_at is not null;
            if session.learns = 'result' and session.due_at is not null then
                v_results_due := v_results_due || v_end.id;
            end if;
        end if;
        return next;
    end loop;
    if p_strict and v_found < json_array_length(p_ends) then
        raise exception 'session not found' using errcode = 'CM404';
    end if;
    if v_is_due then
        perform pg_notify('chatmemory_due', '');
    end if;
    if v_results_due is not null then  -- for the statement that called make_room
        perform set_config('chatmemory.results_due', array_to_json(v_results_due)::text, true);
    end if;
end $$;
