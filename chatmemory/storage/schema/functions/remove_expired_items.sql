-- revision: 1; owner: app
-- Remove expired items of a tenant, the longest expired first; those that somebody puts or reads now are left alone.
create or replace function chatmemory.remove_expired_items(p_tenant text, p_limit bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    v_removed bigint;
begin
    perform chatmemory.enter(p_tenant);
    with expired as (
        select i.path, i.key from chatmemory.store_items i
            where i.tenant_id = p_tenant and i.expires_at <= now()
            order by i.expires_at limit p_limit for update skip locked
    )
    delete from chatmemory.store_items i using expired e
        where i.tenant_id = p_tenant and i.path = e.path and i.key = e.key;
    get diagnostics v_removed = row_count;
    return v_removed;
end $$;
