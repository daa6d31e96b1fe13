-- revision: 1; owner: worker
-- Expire idle sessions, end lost runs as failed, and archive ended sessions that have nothing left to learn, over all
-- tenants.
-- Any number may run at once; each takes at most p_limit rows that nobody else has locked. The indexed hour of the last
-- activity finds candidates; the exact time decides.
create or replace function chatmemory.clean_up(
    p_timeout interval, p_archive boolean, p_limit bigint, out expired bigint, out archived bigint
) language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    v_before timestamptz := now() - p_timeout;
    v_hour timestamp := date_trunc('hour', v_before at time zone 'UTC');
    v_idle record;
begin
    perform chatmemory.enter(null);
    expired := 0;
    for v_idle in
        with idle as (
            select s.tenant_id, s.id from chatmemory.sessions s
                where s.ended_at is null and s.deleted_at is null and s.lost_after_seconds is null
                  and s.last_active_hour <= v_hour and s.last_active_at < v_before
                limit p_limit for no key update skip locked
        )
        select i.tenant_id, json_agg(json_build_object('id', i.id, 'status', 'expired', 'reason', 'idle')) as ends
            from idle i group by i.tenant_id
    loop
        expired := expired + (select count(*) from chatmemory.end_sessions(v_idle.tenant_id, v_idle.ends, false));
    end loop;
    for v_idle in
        select distinct l.tenant_id from (
            select s.tenant_id from chatmemory.sessions s
                where s.ended_at is null and s.deleted_at is null and s.lost_after_seconds is not null
                  and s.last_active_at < now() - make_interval(secs => s.lost_after_seconds) limit p_limit) l
    loop
        exit when expired >= p_limit;
        expired := expired + chatmemory.end_lost(v_idle.tenant_id, null, p_limit - expired);
    end loop;
    with finished as (
        select s.tenant_id, s.id from chatmemory.sessions s
            where p_archive and s.processed_for_ltm and s.archived_at is null and s.ended_at < v_before
              and s.deleted_at is null
            limit p_limit for no key update skip locked
    ), done as (
        update chatmemory.sessions s set archived_at = now()
            from finished where s.tenant_id = finished.tenant_id and s.id = finished.id
            returning s.tenant_id, s.id
    ), noted as (
        insert into chatmemory.events (tenant_id, session_id, type)
            select done.tenant_id, done.id, 'archived' from done
    )
    select count(*) into archived from done;
end $$;
