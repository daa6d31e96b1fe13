-- revision: 1; owner: app
-- Store vectors of memories under their model; existing ones stay.
create or replace function chatmemory.add_vectors(p_tenant text, p_model text, p_vectors json)
returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_dimensions text;
begin
    perform chatmemory.enter(p_tenant);
    select {vector}.vector_dims(n.embedding) || ' ' || {vector}.vector_dims(g.embedding) into v_dimensions
        from (select m.user_id, v.embedding::{vector}.vector
              from json_to_recordset(p_vectors) as v(memory_id text, embedding text)
              join chatmemory.memories m on m.tenant_id = p_tenant and m.id = v.memory_id limit 1) g
        cross join lateral (select n.embedding from chatmemory.memory_vectors n
              where n.tenant_id = p_tenant and n.user_id = g.user_id and n.model = p_model limit 1) n
        where {vector}.vector_dims(n.embedding) <> {vector}.vector_dims(g.embedding);
    if found then
        raise exception 'another dimension' using errcode = 'CM422', detail = v_dimensions;
    end if;
    insert into chatmemory.memory_vectors
        (tenant_id, user_id, model, memory_id, part, kind, place, embedding)
        select p_tenant, m.user_id, p_model, m.id, v.part, left(m.kind, 1)::"char", m.place, v.embedding::{vector}.vector
        from json_to_recordset(p_vectors) as v(memory_id text, part smallint, embedding text)
        join chatmemory.memories m on m.tenant_id = p_tenant and m.id = v.memory_id
        on conflict do nothing;
end $$;
