-- revision: 1; owner: app
-- Return the words of a folded text that has no Latin letters. A word is stemmed as in the language that is most often
-- written in its script. Scripts without spaces between words have no words to cut out: each of their characters, a
-- consonant with its vowels being one, is a word, and so is each pair of neighbours.
create or replace function chatmemory.script_words(p_language text, p_text text) returns tsvector
language sql stable strict security definer set search_path = pg_catalog, pg_temp as $$
    with class as (
        select -- Thai, Lao, Burmese and Khmer; Hangul, Han and kana
               '\u0e01-\u0e4e\u0e81-\u0ecf\u0edc-\u0edf\u1000-\u103f\u1050-\u109f\u1780-\u17dd\uaa60-\uaa7f'
               '\ua9e0-\ua9ef\ua9fa-\ua9fe\u1100-\u11ff\uac00-\ud7a3\u3005-\u3007\u3021-\u3029\u3038-\u303a'
               '\u3041-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U000323af' as unspaced,
               -- a vowel that stands before its consonant; vowels, tones, and stacked and final consonants after it
               '[\u0e40-\u0e44\u0ec0-\u0ec4]?.(?:[\u0e30-\u0e3a\u0e45\u0e47-\u0e4e\u0eb0-\u0ebc\u0ec8-\u0ece'
               '\u17b4-\u17d1\u17d3\u17dd\u102b-\u1038\u103a-\u103e\u1056-\u1059\u105e-\u1060\u1062-\u1064\u1067-\u106d'
               '\u1071-\u1074\u1082-\u108d\u109a-\u109d\ua9e5\uaa7b-\uaa7d\u3099\u309a]'
               '|[\u17d2\u1039].|[\u1000-\u102a]\u103a)*' as one
    ), piece as materialized (
        select m[1] as run, m[2] as word, number
        from class, regexp_matches(p_text, format('([%1$s]+)|([^\s%1$s]+)', unspaced), 'g') with ordinality p(m, number)
    ), one as materialized (
        select p.number, m[1] as text, place
        from class, piece p, regexp_matches(p.run, one, 'g') with ordinality r(m, place)
    ), term as (
        select text as term from one
        union all
        select text || lead(text) over (partition by number order by place) from one
        union all
        select unnest(ts_lexize(case
            when p_language = 'simple' then 'simple'
            when word ~ '^[\u0400-\u052f]' then
                case p_language when 'serbian' then 'serbian_stem' else 'russian_stem' end
            when word ~ '^[\u0600-\u077f]' then 'arabic_stem'
            when word ~ '^[\u0370-\u03ff]' then 'greek_stem'
            when word ~ '^[\u0900-\u097f]' then case p_language when 'nepali' then 'nepali_stem' else 'hindi_stem' end
            when word ~ '^[\u0b80-\u0bff]' then 'tamil_stem'
            when word ~ '^[\u0530-\u058f]' then 'armenian_stem'
            else 'simple' end::regdictionary, word)) from piece where word is not null
        union all  -- Hebrew, without "and", "that", "in", "to", "from", "as", "the"
        select substring(word from '^ו?ש?[בלמכ]?ה?([\u05d0-\u05ea]{3,})$') from piece
        where word ~ '^[ושבלמכה][\u05d0-\u05ea]{3}'
    )
    select coalesce(string_agg(format('''%s'':%s', term, number), ' ')::tsvector, '')
    from (select term, row_number() over () as number from term where octet_length(term) <= 100) t
$$;
