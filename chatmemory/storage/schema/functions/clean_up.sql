-- revision: 1; owner: worker
-- Background work across tenants: expire idle sessions, archive ended ones that have nothing left to learn.
-- Any number may run at once; each takes at most p_limit rows that nobody else holds.
create or replace function chatmemory.clean_up(
    p_timeout interval, p_archive boolean, p_min_messages bigint, p_limit bigint, out expired bigint, out archived bigint
) language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    with idle as (
        select s.tenant_id, s.id, s.run_status from chatmemory.sessions s
            where s.ended_at is null and s.deleted_at is null and s.last_active_at < now() - p_timeout
            limit p_limit for no key update skip locked
    ), done as (
        update chatmemory.sessions s set status = 'expired', ended_at = now(), updated_at = now(),
            run_status = case when s.run_ended_at is null then s.run_endings ->> 'expired' else s.run_status end,
            run_ended_at = case when s.run_endings is not null then coalesce(s.run_ended_at, now()) end,
            processed_for_ltm = s.message_count < p_min_messages or s.kind not in ('chat', 'general')
            from idle where s.tenant_id = idle.tenant_id and s.id = idle.id
            returning s.tenant_id, s.id, idle.run_status as old, s.run_status as new
    ), told as (
        insert into chatmemory.events (tenant_id, session_id, type, data)
            select done.tenant_id, done.id, 'moved', json_build_object('old', old, 'new', new, 'reason', 'idle')
                from done where old <> new
            union all
            select done.tenant_id, done.id, 'expired', '{"status":"expired","reason":"idle"}' from done
    )
    select count(*) into expired from done;
    with finished as (
        select s.tenant_id, s.id from chatmemory.sessions s
            where p_archive and s.processed_for_ltm and s.archived_at is null and s.ended_at < now() - p_timeout
              and s.deleted_at is null
            limit p_limit for no key update skip locked
    ), done as (
        update chatmemory.sessions s set archived_at = now()
            from finished where s.tenant_id = finished.tenant_id and s.id = finished.id
            returning s.tenant_id, s.id
    ), told as (
        insert into chatmemory.events (tenant_id, session_id, type)
            select done.tenant_id, done.id, 'archived' from done
    )
    select count(*) into archived from done;
end $$;
