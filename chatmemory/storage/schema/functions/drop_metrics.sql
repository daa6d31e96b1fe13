-- revision: 1; owner: app
-- Remove the points of a session from a step on that were measured before a time, and return their number: of the
-- metrics p_names, or of all if it is null. p_of is when the session was stored: a later session with the same id does
-- not match.
create or replace function chatmemory.drop_metrics(
    p_tenant text, p_session text, p_of timestamptz, p_from bigint, p_before timestamptz, p_names text[]
) returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_before double precision := coalesce(extract(epoch from p_before), 'Infinity');
    v_row record;
    v_gone bigint := 0;
begin
    perform chatmemory.enter(p_tenant);
    perform from chatmemory.sessions s
        where s.tenant_id = p_tenant and s.id = p_session and s.born_at = p_of and s.deleted_at is null for key share;
    if not found then
        raise exception 'session not found' using errcode = 'CM404';
    end if;
    perform from (  -- first, in one order, so that what follows reads what no writer changes any more
        select from chatmemory.metrics m
            where m.tenant_id = p_tenant and m.session_id = p_session and m.to_step >= p_from
              and (p_names is null or m.name = any(p_names))
            order by m.name, m.id for no key update) locked;
    for v_row in
        select m.name, m.id, m.count, k.*
            from chatmemory.metrics m cross join lateral (
                select array_agg(p.step order by p.number) as steps,
                       array_agg(p.reading order by p.number) as readings,
                       array_agg(p.at order by p.number) as times,
                       count(*) as kept,
                       (array_agg(p.number order by p.reading = 'NaN', p.reading, p.step))[1] as low,
                       (array_agg(p.number order by p.reading = 'NaN', p.reading desc, p.step))[1] as high
                from unnest(m.steps, m.readings, m.times) with ordinality p(step, reading, at, number)
                where p.step < p_from or p.at >= v_before) k
            where m.tenant_id = p_tenant and m.session_id = p_session and m.to_step >= p_from and k.kept < m.count
              and (p_names is null or m.name = any(p_names))
    loop
        v_gone := v_gone + v_row.count - v_row.kept;
        if v_row.kept = 0 then
            delete from chatmemory.metrics m
                where m.tenant_id = p_tenant and m.session_id = p_session and m.name = v_row.name and m.id = v_row.id;
        else
            update chatmemory.metrics m set
                count = v_row.kept, steps = v_row.steps, readings = v_row.readings, times = v_row.times,
                from_step = v_row.steps[1], to_step = v_row.steps[v_row.kept],
                low = m.readings[v_row.low], low_step = m.steps[v_row.low], low_at = m.times[v_row.low],
                high = m.readings[v_row.high], high_step = m.steps[v_row.high], high_at = m.times[v_row.high]
                where m.tenant_id = p_tenant and m.session_id = p_session and m.name = v_row.name and m.id = v_row.id;
        end if;
    end loop;
    return v_gone;
end $$;
