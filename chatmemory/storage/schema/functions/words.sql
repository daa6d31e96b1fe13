-- revision: 1; owner: app
-- Return the words of a text, as they are stored and as they are searched for. Of a text in ASCII they are what
-- Postgres makes of it. Of any other text, forms of a letter are the same (folded_text), and script_words makes the words
-- in other scripts than Latin. Letters that English lacks are a sign of a language without a stemmer here: the first five
-- letters of its words are words too. A text with more words than a tsvector holds is cut.
create or replace function chatmemory.words(p_language text, p_text text) returns tsvector
language plpgsql stable strict security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_latin constant text := '\u0001-\u007f\u00aa-\u036f\u1e00-\u1eff\u2c60-\u2c7f\ua720-\ua7ff';
    v_letters constant text := '[\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]';  -- with accents, and the like
    v_accents constant boolean := p_language not in ('english', 'simple');  -- whether the language's stemmer needs them
    v_text text := left(p_text, 200000);
    v_words tsvector;
begin
    if octet_length(v_text) = length(v_text) or getdatabaseencoding() <> 'UTF8' then
        return to_tsvector(p_language::regconfig, v_text);
    end if;
    v_text := chatmemory.folded_text(v_text, v_accents);
    v_words := to_tsvector(p_language::regconfig, regexp_replace(v_text, '[^' || v_latin || ']+', ' ', 'g'));
    if v_accents then
        v_words := chatmemory.folded_text(v_words::text, false)::tsvector;
    elsif normalize(left(p_text, 200000), NFC) ~ v_letters then
        v_words := v_words || array_to_tsvector(array(
            select distinct left(m[1], 5) from regexp_matches(v_text, '[a-z]{6,}', 'g') m));
    end if;
    v_text := left(regexp_replace(v_text, '[' || v_latin || ']+', ' ', 'g'), 50000);
    return v_words || chatmemory.script_words(p_language, v_text);
exception when program_limit_exceeded then
    return chatmemory.words(p_language, left(p_text, least(length(p_text), 200000) / 2));
end $$;
