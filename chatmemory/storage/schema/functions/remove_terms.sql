-- revision: 1; owner: app
-- Remove the indexed words of a memory, one look-up for each: a join would be planned for a few words, and cost the
-- square of many.
create or replace function chatmemory.remove_terms(p_tenant text, p_user text, p_place bigint, p_lexemes tsvector)
returns void language plpgsql security definer
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
    v_term text;
begin
    foreach v_term in array tsvector_to_array(p_lexemes) loop
        delete from chatmemory.memory_terms t
            where t.tenant_id = p_tenant and t.user_id = p_user and t.term = v_term and t.place = p_place;
    end loop;
end $$;
