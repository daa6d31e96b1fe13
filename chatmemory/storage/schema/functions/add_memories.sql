-- revision: 1; owner: app
-- Store memories with their sources and index their words. A memory without a place gets a new one.
create or replace function chatmemory.add_memories(p_tenant text, p_language text, p_memories json) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    perform chatmemory.enter(p_tenant);
    with given as (
        select m.*, chatmemory.index_words(p_language, m.indexed) as lexemes,
               coalesce(m.near, nextval('chatmemory.numbers') << 24) as place
        from json_to_recordset(p_memories) as m(
            id text, user_id text, kind text, text text, indexed text, near bigint, speaker text, trust smallint,
            importance real, valid_from timestamptz, digest text, metadata json, sources json)
    ), added as (
        insert into chatmemory.memories
            (tenant_id, id, user_id, kind, text, place, speaker, speaker_terms, trust, importance, valid_from, digest,
             lexemes, metadata)
            select p_tenant, g.id, g.user_id, g.kind, g.text, g.place, g.speaker,
                   tsvector_to_array(chatmemory.index_words(p_language, coalesce(g.speaker, ''))), g.trust,
                   g.importance, g.valid_from, decode(g.digest, 'hex'), g.lexemes, g.metadata
            from given g
    ), cited as (
        insert into chatmemory.memory_sources (tenant_id, memory_id, session_id, from_seq, to_seq)
            select p_tenant, g.id, s.session_id, s.from_seq, s.to_seq
            from given g, json_to_recordset(g.sources) as s(session_id text, from_seq bigint, to_seq bigint)
            on conflict do nothing
    ), counted as (
        insert into chatmemory.memory_users as u (tenant_id, user_id, places)
            select p_tenant, g.user_id, count(*) from given g group by g.user_id
            on conflict (tenant_id, user_id) do update set places = u.places + excluded.places
    )
    insert into chatmemory.memory_terms (tenant_id, user_id, term, place, kind, count, length)
        select p_tenant, g.user_id, w.lexeme, g.place, left(g.kind, 1)::"char",
               least(coalesce(cardinality(w.positions), 1), 1000), least(length(g.lexemes), 30000)
        from given g, unnest(g.lexemes) w
        where octet_length(w.lexeme) <= 100
        on conflict do nothing;
end $$;
