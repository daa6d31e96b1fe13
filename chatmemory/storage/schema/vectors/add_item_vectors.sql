-- revision: 1; owner: app
-- Store vectors of items that have none.
create or replace function chatmemory.add_item_vectors(p_tenant text, p_vectors json)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform chatmemory.enter(p_tenant);
    insert into chatmemory.item_vectors (tenant_id, path, key, model, part, embedding)
        select p_tenant, v.path, v.key, v.model, v.part, v.embedding::{vector}.vector
        from json_to_recordset(p_vectors) as v(path text, key text, model text, part integer, embedding text);
end $$;
