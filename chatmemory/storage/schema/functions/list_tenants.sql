-- revision: 1; owner: worker
-- List the tenants that have a session, by their ids: one step of an index for each, however many sessions they have.
create or replace function chatmemory.list_tenants(p_after text, p_limit bigint, p_offset bigint)
returns table (id text, last_active_at timestamptz) language plpgsql security definer
set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
#variable_conflict use_column
begin
    return query
        with recursive t(id) as (
            (select s.tenant_id from chatmemory.sessions s
                where p_after is null or s.tenant_id > p_after order by s.tenant_id limit 1)
            union all
            select (select s.tenant_id from chatmemory.sessions s
                    where s.tenant_id > t.id order by s.tenant_id limit 1)
                from t where t.id is not null
        )
        select t.id, (select s.last_active_at from chatmemory.sessions s
                where s.listed and s.tenant_id = t.id order by s.last_active_hour desc, s.last_active_at desc limit 1)
            from t where t.id is not null limit p_limit offset p_offset;
end $$;
