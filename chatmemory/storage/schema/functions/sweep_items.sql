-- revision: 1; owner: worker
-- Remove at most p_limit expired items, of any tenants.
-- This role finds the tenants; it cannot remove an item.
create or replace function chatmemory.sweep_items(p_limit bigint) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
declare
    v_tenant text;
    v_removed bigint := 0;
begin
    perform chatmemory.enter(null);
    for v_tenant in
        select distinct e.tenant_id from (
            select i.tenant_id from chatmemory.store_items i where i.expires_at <= now() limit p_limit) e
    loop
        exit when v_removed >= p_limit;
        v_removed := v_removed + chatmemory.remove_expired_items(v_tenant, p_limit - v_removed);
    end loop;
    return v_removed;
end $$;
