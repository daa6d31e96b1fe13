"""Items that an app stores under namespaces and keys."""

from typing import LiteralString

from chatmemory.storage.queries.columns import ITEM

# Put an item; one that stands there and has expired is no older version of it.
PUT_ITEM = (
    "insert into chatmemory.store_items as i "
    "(tenant_id, path, key, user_id, namespace, value, lexemes, old_words, ttl, expires_at) "
    "values (%(tenant)s, %(path)s, %(key)s, %(user_id)s, %(namespace)s, %(value)s::json, "
    "chatmemory.words(%(language)s, %(text)s), false, %(ttl)s::interval, clock_timestamp() + %(ttl)s::interval) "
    "on conflict (tenant_id, path, key) do update set user_id = excluded.user_id, value = excluded.value, "
    "lexemes = excluded.lexemes, old_words = false, number = excluded.number, updated_at = clock_timestamp(), "
    "created_at = case when i.expires_at <= clock_timestamp() then excluded.created_at else i.created_at end, "
    "ttl = excluded.ttl, expires_at = excluded.expires_at"
)
DROP_VECTORS = "select chatmemory.drop_item_vectors(%s, %s, %s)"
ADD_VECTORS = "select chatmemory.add_item_vectors(%s, %s)"
DELETE_ITEM = "delete from chatmemory.store_items where tenant_id = %s and path = %s and key = %s"
_LIVE = " (expires_at is null or expires_at > clock_timestamp())"
GET_ITEM = "select " + ITEM + ", null from chatmemory.store_items where path = %s and key = %s and" + _LIVE
# Begin the time to live of items anew. One that somebody else puts, refreshes or removes now is left to them.
REFRESH_ITEMS = (
    "with read as (select i.path, i.key from unnest(%s::text[], %s::text[]) r(path, key) "
    "join chatmemory.store_items i using (path, key) where" + _LIVE + " for no key update of i skip locked) "
    "update chatmemory.store_items i set expires_at = clock_timestamp() + i.ttl "
    "from read r where i.path = r.path and i.key = r.key"
)
SWEEP_ITEMS = "select chatmemory.remove_expired_items(%s, %s)"
# Of an item that was put before chatmemory.words() was there, with its words in the new form.
_LEXEMES = (
    "case when old_words then chatmemory.words('simple', array_to_string(tsvector_to_array(lexemes), ' ')) "
    "else lexemes end"
)
_BELOW = ("", " and namespace[1:cardinality(%(prefix)s::text[])] = %(prefix)s::text[]")
_OF_USER = ("", " and user_id = %(user_id)s")
_AFTER = ("", " and number < %(after)s")


def list_items(*, of_user: bool, below: bool, after: bool) -> LiteralString:
    """The items in a namespace and below it, the newest first, each with its number."""
    which = _OF_USER[of_user] + _BELOW[below] + _AFTER[after]
    return (
        "select " + ITEM + ", null, number from chatmemory.store_items where" + _LIVE + which
        + " order by number desc limit %(limit)s offset %(offset)s"
    )  # fmt: skip


def find_items(*, of_user: bool, below: bool) -> LiteralString:
    """The same, but those that share one of the query's first words with it come first, the best first."""
    return (
        "with asked as (select string_agg(concat(chr(39), replace(replace(w.lexeme, chr(92), repeat(chr(92), 2)), "
        "chr(39), repeat(chr(39), 2)), chr(39)), ' | ')::tsquery as words from (select v.lexeme "
        "from unnest(chatmemory.words(%(language)s, %(query)s)) v "
        "order by v.positions[1], v.lexeme limit 1000) w) "
        "select " + ITEM + ", nullif(ts_rank(" + _LEXEMES + ", words, 1), 0)::text::float8 as score, number "
        "from chatmemory.store_items, asked "
        "where" + _LIVE + _OF_USER[of_user] + _BELOW[below]
        + " order by score desc nulls last, number desc limit %(limit)s offset %(offset)s"
    )  # fmt: skip


def near_items(*, of_user: bool, below: bool) -> LiteralString:
    """The same, but those with a vector of the model come first, the nearest first."""
    return (
        "select " + ITEM + ", s.score, number from chatmemory.store_items left join chatmemory.item_scores("
        "%(tenant)s, %(user_id)s, %(prefix)s, %(model)s, %(vector)s, %(distance)s) s using (path, key) "
        "where" + _LIVE + _OF_USER[of_user] + _BELOW[below]
        + " order by s.score desc nulls last, number desc limit %(limit)s offset %(offset)s"
    )  # fmt: skip


NAMESPACES = (
    "select distinct namespace from chatmemory.store_items "
    "where (%(user_id)s::text is null or user_id = %(user_id)s) and" + _LIVE
)
