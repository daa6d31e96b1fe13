"""Items that an app stores under namespaces and keys."""

from chatmemory.storage.queries.columns import ITEM

PUT_ITEM = (
    "insert into chatmemory.store_items (tenant_id, path, key, user_id, namespace, value, lexemes) "
    "values (%s, %s, %s, %s, %s, %s::json, to_tsvector(%s::regconfig, %s)) "
    "on conflict (tenant_id, path, key) do update set user_id = excluded.user_id, value = excluded.value, "
    "lexemes = excluded.lexemes, number = excluded.number, updated_at = clock_timestamp()"
)
DELETE_ITEM = "delete from chatmemory.store_items where tenant_id = %s and path = %s and key = %s"
GET_ITEM = "select " + ITEM + ", null from chatmemory.store_items where path = %s and key = %s"
# Find the items below a namespace: matches of the query first, best first; then the others, newest first.
FIND_ITEMS = (
    "with asked as (select string_agg("
    r"'''' || replace(replace(w, '\', '\\'), '''', '''''') || '''', ' | ')::tsquery as words "
    "from unnest(tsvector_to_array(to_tsvector(%(language)s::regconfig, %(query)s))) w) "
    "select " + ITEM + ", nullif(ts_rank(lexemes, words, 1), 0) as score from chatmemory.store_items, asked "
    "where (%(user_id)s::text is null or user_id = %(user_id)s) "
    "and namespace[1:cardinality(%(prefix)s::text[])] = %(prefix)s::text[] "
    "order by score desc nulls last, number desc limit %(limit)s offset %(offset)s"
)
NAMESPACES = (
    "select distinct namespace from chatmemory.store_items where %(user_id)s::text is null or user_id = %(user_id)s"
)
