-- revision: 1; owner: app
-- Find the p_top vectors nearest to a query, by memory. For users with more than 20,000 memories, only 3 * p_top
-- vectors are compared: those whose signs, which are in the index, differ least from the query's.
-- The schema of pgvector may be open to others: what is called there has exactly the declared types.
create or replace function chatmemory.find_near(
    p_tenant text, p_users text[], p_kinds "char"[], p_model text, p_query text, p_top bigint,
    p_from bigint, p_to bigint
) returns table (memory_id text, similarity float8) language plpgsql security definer
set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    v_query {vector}.vector := p_query::{vector}.vector;
    v_signs bit varying := {vector}.binary_quantize(v_query);
    v_total bigint;
begin
    perform chatmemory.enter(p_tenant);
    select sum(u.places) into v_total
        from chatmemory.memory_users u where u.tenant_id = p_tenant and u.user_id = any(p_users);
    if v_total > 20000 then
        return query
            with alike as materialized (
                select n.memory_id, n.part from chatmemory.memory_vectors n
                where n.tenant_id = p_tenant and n.user_id = any(p_users) and n.model = p_model
                  and n.kind = any(p_kinds)
                  and (n.kind <> 'e' or n.place between p_from and p_to or n.place & 16777215 = 0)
                  and length(n.signs) = length(v_signs)
                order by {vector}.hamming_distance(n.signs::"bit", v_signs::"bit") limit 3 * p_top
            )
            select v.memory_id, max(-v.distance) from (
                select a.memory_id, n.embedding operator({vector}.<#>) v_query as distance
                from alike a join chatmemory.memory_vectors n on n.tenant_id = p_tenant
                 and n.memory_id = a.memory_id and n.model = p_model and n.part = a.part
                order by 2 limit p_top) v
            group by 1;
    else
        return query
            select v.memory_id, max(-v.distance) from (
                select n.memory_id, n.embedding operator({vector}.<#>) v_query as distance
                from chatmemory.memory_vectors n
                where n.tenant_id = p_tenant and n.user_id = any(p_users) and n.model = p_model
                  and n.kind = any(p_kinds)
                  and (n.kind <> 'e' or n.place between p_from and p_to or n.place & 16777215 = 0)
                  and {vector}.vector_dims(n.embedding) = {vector}.vector_dims(v_query)
                order by 2 limit p_top) v
            group by 1;
    end if;
end $$;
