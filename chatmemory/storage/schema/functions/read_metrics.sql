-- revision: 1; owner: app
-- Read the metrics of a session, packed. With p_buckets, a metric with more than twice as many points is downsampled to
-- the minimum and the maximum of each bucket. Buckets hold equally many points, in the order of their steps; if there
-- are enough rows, a bucket is made of whole rows. p_of is when the session was stored: a later session with the same id
-- does not match.
create or replace function chatmemory.read_metrics(
    p_tenant text, p_session text, p_of timestamptz, p_names text[], p_buckets bigint
)
returns table (name text, total bigint, steps bigint[], readings double precision[], times double precision[])
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
begin
    perform chatmemory.enter(p_tenant);
    if not exists (select from chatmemory.sessions s
            where s.tenant_id = p_tenant and s.id = p_session and s.born_at = p_of and s.deleted_at is null) then
        raise exception 'session not found' using errcode = 'CM404';
    end if;
    return query
    with packed as materialized (
        select m.name, m.id, m.count, m.from_step, m.low, m.low_step, m.low_at, m.high, m.high_step, m.high_at,
               (sum(m.count) over one_name)::bigint as total, count(*) over one_name as rows,
               (sum(m.count) over in_order)::bigint - m.count as before
        from chatmemory.metrics m
        where m.tenant_id = p_tenant and m.session_id = p_session and (p_names is null or m.name = any(p_names))
        window one_name as (partition by m.name), in_order as (partition by m.name order by m.from_step, m.id)
    ), candidate as (
        select p.name, p.total, p.before * p_buckets / p.total as bucket,
               p.low, p.low_step, p.low_at, p.high, p.high_step, p.high_at
        from packed p where p.total > 2 * p_buckets and p.rows >= p_buckets / 2
        union all
        select p.name, p.total, (p.before + r.number - 1) * p_buckets / p.total,
               r.reading, r.step, r.at, r.reading, r.step, r.at
        from packed p
        join chatmemory.metrics m
            on m.tenant_id = p_tenant and m.session_id = p_session and m.name = p.name and m.id = p.id
        cross join lateral unnest(m.steps, m.readings, m.times) with ordinality r(step, reading, at, number)
        where p.total > 2 * p_buckets and p.rows < p_buckets / 2
    ), extreme as (
        (select distinct on (c.name, c.bucket) c.name, c.total, c.low_step as step, c.low as reading, c.low_at as at
         from candidate c order by c.name, c.bucket, c.low, c.low_step)
        union
        (select distinct on (c.name, c.bucket) c.name, c.total, c.high_step, c.high, c.high_at
         from candidate c order by c.name, c.bucket, c.high = 'NaN', c.high desc, c.high_step)
    )
    select e.name, e.total, array_agg(e.step order by e.step, e.at), array_agg(e.reading order by e.step, e.at),
           array_agg(e.at order by e.step, e.at)
    from extreme e group by e.name, e.total
    union all
    (select p.name, p.total, m.steps, m.readings, m.times
     from packed p
     join chatmemory.metrics m
         on m.tenant_id = p_tenant and m.session_id = p_session and m.name = p.name and m.id = p.id
     where p_buckets is null or p.total <= 2 * p_buckets order by p.name, p.from_step, p.id);
end $$;
