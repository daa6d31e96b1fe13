-- revision: 1; owner: app
-- Find the memories that contain words of a query: the best p_top places by BM25 of their own words, and the turns
-- around them. A word in more than p_most memories is looked up only in the newest of them. p_from and p_to bound the
-- places of episodes. Words of an older form are renewed first. Of a long query, the first thousand words count.
create or replace function chatmemory.find_terms(
    p_tenant text, p_users text[], p_kinds "char"[], p_language text, p_query text, p_top bigint, p_most bigint,
    p_from bigint, p_to bigint
) returns table (place bigint, term text, count smallint, length smallint, frequency bigint, total bigint)
language plpgsql security definer set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$    -- the planner cannot know how many hits there are
#variable_conflict use_column
declare
    v_total bigint;
    v_has_old boolean;
    v_terms text[] := array(select w.lexeme from unnest(chatmemory.words(p_language, p_query)) w
        order by w.positions[1], w.lexeme limit 1000);
begin
    perform chatmemory.enter(p_tenant);
    select coalesce(sum(u.places), 0), coalesce(bool_or(u.old_words_below > 0), false) into v_total, v_has_old
        from chatmemory.memory_users u where u.tenant_id = p_tenant and u.user_id = any(p_users);
    if v_has_old then
        perform chatmemory.renew_words(p_tenant, p_users, p_language);
    end if;
    return query
        with hits as materialized (
            select t.* from unnest(v_terms) q(term), unnest(p_users) o(user_id) cross join lateral (
                select t.place, t.term, t.count, t.length from chatmemory.memory_terms t
                where t.tenant_id = p_tenant and t.user_id = o.user_id and t.term = q.term
                  and t.kind = any(p_kinds)
                  and (t.kind <> 'e' or t.place between p_from and p_to or t.place & 16777215 = 0)  -- corrected
                order by t.place desc limit p_most
            ) t
        ), known as materialized (
            select h.term, count(*) as frequency from hits h group by h.term
        ), best as (
            select h.place from hits h join known k on k.term = h.term
            group by h.place
            order by sum(ln(1 + greatest(v_total, 1) / k.frequency::float8) * h.count * 2.2 / (h.count + 1.2)) desc, 1 desc
            limit p_top
        ), around as materialized (
            select distinct b.place + d.distance as place from best b, generate_series(-5, 5) d(distance)
        )
        select h.place, h.term, h.count, h.length, k.frequency, v_total
        from hits h join known k on k.term = h.term
        where h.place in (select a.place from around a);
end $$;
