-- revision: 1; owner: app
-- Return the words by which a query names a speaker. Of a name without spaces between words these are the pairs of its
-- characters: one of its characters is no name.
create or replace function chatmemory.speaker_words(p_language text, p_speaker text) returns text[]
language plpgsql stable strict security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_words constant text[] := tsvector_to_array(chatmemory.words(p_language, p_speaker));
begin
    return array(
        select word from unnest(v_words) w(word)
        where octet_length(word) = length(word)
           or not exists (select from unnest(v_words) o(other) where other <> word and position(word in other) > 0));
end $$;
