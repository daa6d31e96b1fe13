-- revision: 1; owner: app
-- Remove memories for good, with their words, vectors and sources, and references to them in superseded_by.
create or replace function chatmemory.remove_memories(p_tenant text, p_ids text[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_count bigint;
begin
    perform chatmemory.enter(p_tenant);
    perform from chatmemory.memory_users u  -- first of all, in the order of LOCK_USERS in queries/memories.py
        where u.tenant_id = p_tenant and u.user_id in (
            select m.user_id from chatmemory.memories m where m.tenant_id = p_tenant and m.id = any(p_ids))
        order by u.user_id for no key update;
    perform chatmemory.remove_terms(p_tenant, m.user_id, m.place, m.lexemes)
        from chatmemory.memories m where m.tenant_id = p_tenant and m.id = any(p_ids);
    update chatmemory.memory_users u set places = u.places - gone.count
        from (select m.user_id, count(*) as count from chatmemory.memories m
              where m.tenant_id = p_tenant and m.id = any(p_ids) group by m.user_id) gone
        where u.tenant_id = p_tenant and u.user_id = gone.user_id;
    delete from chatmemory.memories m where m.tenant_id = p_tenant and m.id = any(p_ids);
    get diagnostics v_count = row_count;
    update chatmemory.memories m set superseded_by = null
        where m.tenant_id = p_tenant and m.superseded_by = any(p_ids);
    return v_count;
end $$;
