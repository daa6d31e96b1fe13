-- revision: 1; owner: app
-- Score items in a namespace and below it by the one of their vectors that is nearest to a query: the nearer, the
-- higher. Only vectors of the same model and dimension are compared; p_user null: items of all users.
-- The schema of pgvector may be open to others: what is called there has exactly the declared types.
create or replace function chatmemory.item_scores(
    p_tenant text, p_user text, p_prefix text[], p_model text, p_query text, p_distance text
) returns table (path text, key text, score float8) language plpgsql security definer
set search_path = pg_catalog, pg_temp set jit = off set plan_cache_mode = force_custom_plan as $$
declare
    v_query {vector}.vector := p_query::{vector}.vector;
begin
    perform chatmemory.enter(p_tenant);
    return query
        select v.path, v.key, max(nullif(case p_distance  -- NaN: the cosine of a vector of zeros
                when 'cosine' then 1 - (v.embedding operator({vector}.<=>) v_query)
                when 'inner_product' then -(v.embedding operator({vector}.<#>) v_query)
                else -(v.embedding operator({vector}.<->) v_query) end, 'NaN'))
        from chatmemory.store_items i join chatmemory.item_vectors v
            on v.tenant_id = p_tenant and v.path = i.path and v.key = i.key
        where i.tenant_id = p_tenant and (p_user is null or i.user_id = p_user)
          and i.namespace[1:cardinality(p_prefix)] = p_prefix
          and v.model = p_model and {vector}.vector_dims(v.embedding) = {vector}.vector_dims(v_query)
        group by v.path, v.key;
end $$;
