-- revision: 1; owner: app
-- Remove the vectors of items that were put again: they are of the old values. Without pgvector there are none.
create or replace function chatmemory.drop_item_vectors(p_tenant text, p_paths text[], p_keys text[])
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform chatmemory.enter(p_tenant);
    if to_regclass('chatmemory.item_vectors') is not null then
        delete from chatmemory.item_vectors v using unnest(p_paths, p_keys) as p(path, key)
            where v.tenant_id = p_tenant and v.path = p.path and v.key = p.key;
    end if;
end $$;
