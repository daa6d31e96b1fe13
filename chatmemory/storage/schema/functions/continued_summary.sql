-- revision: 1; owner: app
-- The summary with which the successor of an ended session begins: its end, if it is long. Both parts are separated as
-- by SUMMARY_BREAK in sessions/records.py.
create or replace function chatmemory.continued_summary(p_prior text, p_summary text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select case when length(t) > 4000 then '… ' || right(t, 4000) else t end
    from nullif(concat_ws(E'\n\n', p_prior, p_summary), '') as t;
$$;
