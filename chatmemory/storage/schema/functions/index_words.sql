-- revision: 1; owner: app
-- The words of a text, as to_tsvector; of a text with more words than a tsvector can hold (1 MB with their positions),
-- those of its beginning.
create or replace function chatmemory.index_words(p_language text, p_text text) returns tsvector
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    v_text text := left(p_text, 200000);
begin
    loop
        begin
            return to_tsvector(p_language::regconfig, v_text);
        exception when program_limit_exceeded then
            v_text := left(v_text, length(v_text) * 3 / 4);
        end;
    end loop;
end $$;
