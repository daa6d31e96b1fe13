-- revision: 1; owner: app
-- Give the newest memories of users whose words have an older form new ones, at most 500 of each user at a time: a recall
-- does it, so that a migration need not. Texts in ASCII have the words they had. The words of a message's metadata and
-- date are made from the old words. A user who is being written to is left to the next recall.
create or replace function chatmemory.renew_words(p_tenant text, p_users text[], p_language text) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    v_most constant bigint := 500;
    v_user text;
    v_below bigint;
    v_count bigint;
    v_memory record;
    v_words tsvector;
begin
    perform set_config('chatmemory.tenant_id', p_tenant, true);
    if current_setting('transaction_read_only')::boolean then
        return;
    end if;
    for v_user, v_below in
        select u.user_id, u.old_words_below from chatmemory.memory_users u
        where u.tenant_id = p_tenant and u.user_id = any(p_users) and u.old_words_below > 0
        order by u.user_id for no key update skip locked
    loop
        v_count := 0;
        for v_memory in
            with old as materialized (  -- by the index of the user's memories, not by that of all places
                select m.id, m.place, m.kind, m.text, m.speaker, m.lexemes from chatmemory.memories m
                where m.tenant_id = p_tenant and m.user_id = v_user and m.place < v_below
            )
            select * from old order by place desc limit v_most
        loop
            v_count := v_count + 1;
            v_below := v_memory.place;
            continue when octet_length(v_memory.text) = length(v_memory.text)
                and octet_length(v_memory.speaker) is not distinct from length(v_memory.speaker)
                and octet_length(v_memory.lexemes::text) = length(v_memory.lexemes::text);
            v_words := chatmemory.words(p_language, v_memory.text);
            if octet_length(v_memory.text) < 100000 then  -- in a longer text there may be no room for more
                v_words := v_words || chatmemory.words('simple', array_to_string(tsvector_to_array(ts_delete(
                    v_memory.lexemes, tsvector_to_array(to_tsvector(p_language::regconfig, v_memory.text)))), ' '));
            end if;
            update chatmemory.memories m
                set lexemes = v_words, speaker_terms = coalesce(chatmemory.speaker_words(p_language, m.speaker), '{}')
                where m.tenant_id = p_tenant and m.id = v_memory.id;
            delete from chatmemory.memory_terms t
                where t.tenant_id = p_tenant and t.user_id = v_user and t.place = v_memory.place
                  and t.term = any(tsvector_to_array(ts_delete(v_memory.lexemes, tsvector_to_array(v_words))));
            insert into chatmemory.memory_terms (tenant_id, user_id, term, place, kind, count, length)
                select p_tenant, v_user, w.lexeme, v_memory.place, left(v_memory.kind, 1)::"char",
                       least(coalesce(cardinality(w.positions), 1), 1000), least(length(v_words), 30000)
                from unnest(v_words) w where octet_length(w.lexeme) <= 100
                on conflict (tenant_id, user_id, term, place) do update
                    set count = excluded.count, length = excluded.length;
        end loop;
        update chatmemory.memory_users u set old_words_below = case when v_count < v_most then 0 else v_below end
            where u.tenant_id = p_tenant and u.user_id = v_user;
    end loop;
end $$;
