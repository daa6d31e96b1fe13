"""Long-term memories: find, store, supersede, remove."""

from typing import LiteralString

from chatmemory.storage.queries.columns import MEMORY

# Memories that cite a deleted session are hidden.
_SHOWN = (
    " and not exists (select from chatmemory.memory_sources s join chatmemory.sessions t "
    "on t.tenant_id = s.tenant_id and t.id = s.session_id "
    "where s.tenant_id = m.tenant_id and s.memory_id = m.id and t.deleted_at is not null)"
)
# Without a time, valid_to decides alone: valid_from comes from an app's clock, which may be ahead of Postgres' clock.
_VALID = (
    " and case when %(at)s::timestamptz is null then m.valid_to is null "
    "else m.valid_from <= %(at)s and coalesce(m.valid_to > %(at)s, true) end"
)
ADD_MEMORIES = "select chatmemory.add_memories(%s, %s, %s)"
REMOVE_MEMORIES = "select chatmemory.remove_memories(%s, %s)"
LOCK_MEMORIES = (
    "insert into chatmemory.memory_users (tenant_id, user_id) values (%s, %s) "
    "on conflict (tenant_id, user_id) do update set places = memory_users.places"
)
LOCK_MEMORIES_OF = (
    "insert into chatmemory.memory_users (tenant_id, user_id) select %s, u.id from unnest(%s::text[]) u(id) "
    "order by u.id on conflict (tenant_id, user_id) do update set places = memory_users.places"
)
# A writer locks the rows of the memories' users first, in this order; then sessions; then memories.
LOCK_USERS = (
    "select from chatmemory.memory_users where %(users)s::text[] is null or user_id = any(%(users)s) "
    "order by user_id for no key update"
)
_TERMS = (
    "select place, term, count, length, frequency, total from chatmemory.find_terms("
    "%(tenant)s, %(users)s, %(letters)s, %(language)s, %(query)s, %(top)s, %(most)s, "
)
_NEAR = "select * from chatmemory.find_near(%(tenant)s, %(users)s, %(letters)s, %(model)s, %(vector)s, %(top)s, "
# Between which places to look: everywhere, or where a session's turns lie; nowhere, if there is no such session.
_EVERYWHERE = "0, %(last)s)"
_OF_SESSION = " from chatmemory.sessions s where s.id = %(session_id)s and s.deleted_at is null)"
_IN_SESSION = (
    "(select coalesce(min(s.number) << 24, 0)" + _OF_SESSION + ", "
    "(select coalesce((min(s.number) + 1 << 24) - 1, 0)" + _OF_SESSION + ")"
)
FIND_TERMS, FIND_TERMS_IN_SESSION = _TERMS + _EVERYWHERE, _TERMS + _IN_SESSION
FIND_NEAR, FIND_NEAR_IN_SESSION = _NEAR + _EVERYWHERE, _NEAR + _IN_SESSION
ADD_VECTORS = "select chatmemory.add_vectors(%s, %s, %s)"
# Get the candidates of a recall, by place or id, that are visible and valid at the given time.
CANDIDATES = (
    "select m.id, m.place, m.speaker_terms, m.importance::text::float8 from chatmemory.memories m "
    "where (m.place = any(%(places)s) or m.id = any(%(ids)s)) and m.user_id = any(%(users)s) "
    "and m.kind = any(%(kinds)s) and m.trust >= %(trust)s"
    + _VALID
    + _SHOWN
    + " and (%(session_id)s::text is null or exists (select from chatmemory.memory_sources s "
    "where s.tenant_id = m.tenant_id and s.memory_id = m.id and s.session_id = %(session_id)s))"
)
# Those of them that will most likely be the best.
LIKELY_MEMORIES = (
    "select " + MEMORY + " from chatmemory.memories m where (m.place = any(%(likely_places)s) "
    "or m.id = any(%(likely_ids)s)) and m.user_id = any(%(users)s) and m.kind = any(%(kinds)s)"
)
MEMORIES_BY_ID = "select " + MEMORY + " from chatmemory.memories m where m.id = any(%s)"
# The first place of a memory's session, and the first place after that session, as in chatmemory/memories/places.py.
_FIRST_OF_SESSION = "m.place >> 24 << 24"
_BEHIND_SESSION = "(m.place >> 24) + 1 << 24"
# Memories without a vector of a model, by place. An episode comes with its two neighbours on each side in the session.
_WITHOUT_VECTOR = (
    " from chatmemory.memories m where not exists (select from chatmemory.memory_vectors v "
    "where v.tenant_id = m.tenant_id and v.memory_id = m.id and v.model = %(model)s)"
)
_NEIGHBOURS = (
    "(select array_agg(b.text order by b.place) from (select n.text, n.place from chatmemory.memories n "
    "where n.tenant_id = m.tenant_id and n.user_id = m.user_id and m.kind = 'episode' and n.kind = 'episode' and "
)
UNEMBEDDED = (
    "select m.id, m.user_id, m.place, m.kind, m.text, "
    + _NEIGHBOURS
    + "n.place < m.place and n.place >= "
    + _FIRST_OF_SESSION
    + " order by n.place desc limit 2) b), "
    + _NEIGHBOURS
    + "n.place > m.place and n.place < "
    + _BEHIND_SESSION
    + " order by n.place limit 2) b)"
    + _WITHOUT_VECTOR
    + " and m.place > %(place)s order by m.place limit %(limit)s"
)
COUNT_UNEMBEDDED = "select count(*)" + _WITHOUT_VECTOR
DROP_OLD_VECTORS = (
    "delete from chatmemory.memory_vectors v where v.model <> %(model)s and exists ("
    "select from chatmemory.memory_vectors n "
    "where n.tenant_id = v.tenant_id and n.memory_id = v.memory_id and n.model = %(model)s)"
)
# Counting a recall neither waits for the disk nor for a lock on a memory.
SOON = "set local synchronous_commit = off"
RECALLED = (
    "update chatmemory.memories m set recalled_at = clock_timestamp(), recall_count = m.recall_count + n.count "
    "from unnest(%(ids)s::text[], %(counts)s::bigint[]) n(id, count) where m.id = n.id and m.id in ("
    "select id from chatmemory.memories where id = any(%(ids)s) for no key update skip locked)"
)
GET_MEMORY = "select " + MEMORY + " from chatmemory.memories m where m.id = %s" + _SHOWN
_OF_USER = ("", " and m.user_id = %(user_id)s")
_LISTED_VALID = ("", _VALID)
_AFTER = ("", " and (m.valid_from, m.id) < (%(after)s, %(after_id)s)")
_NEWEST_FIRST: LiteralString = " order by m.valid_from desc, m.id desc"


def list_memories(*, of_user: bool, valid: bool, after: bool) -> LiteralString:
    """One page of memories, the newest first: so many of each kind, of which an index holds each in order."""
    return (
        "select " + MEMORY + " from (select p.id from unnest(%(kinds)s::text[]) k(kind) cross join lateral ("
        "select m.id, m.valid_from from chatmemory.memories m where m.kind = k.kind"
        + _OF_USER[of_user]
        + _LISTED_VALID[valid]
        + _SHOWN
        + _AFTER[after]
        + _NEWEST_FIRST
        + " limit %(limit)s::bigint + %(offset)s::bigint) p order by p.valid_from desc, p.id desc "
        "limit %(limit)s offset %(offset)s) page join chatmemory.memories m on m.id = page.id" + _NEWEST_FIRST
    )


def count_memories(*, of_user: bool, valid: bool) -> LiteralString:
    """Return the query for the number of memories on all pages."""
    listed = _OF_USER[of_user] + _LISTED_VALID[valid] + _SHOWN
    return "select count(*) from chatmemory.memories m where m.kind = any(%(kinds)s)" + listed


# A memory with all that it took the place of, and what took its place, oldest first.
MEMORY_HISTORY = (
    "with recursive line(id) as (values (%(id)s::text) union "
    "select case when m.id = l.id then m.superseded_by else m.id end from line l join chatmemory.memories m "
    "on (m.id = l.id and m.superseded_by is not null) or m.superseded_by = l.id) "
    "select "
    + MEMORY
    + " from chatmemory.memories m join line on line.id = m.id where true"
    + _SHOWN
    + " order by m.valid_from, m.created_at"
)
CLOSE_MEMORIES = (
    "update chatmemory.memories set valid_to = greatest(%(at)s, valid_from), superseded_by = %(by)s "
    "where id = any(%(ids)s) and user_id = %(user_id)s and valid_to is null"
)
# A memory that holds and says the same in the same words.
KNOWN_MEMORY = (
    "select m.id, m.text, true as same from chatmemory.memories m "
    "where m.digest = decode(%(digest)s, 'hex') and m.user_id = %(user_id)s "
    "and m.kind = any(%(kinds)s) and m.valid_to is null" + _SHOWN + " order by m.created_at limit 1"
)
# Where there is none, the nearest that may say the same; vectors are not looked at where there is one.
KNOWN_OR_NEAR = (
    "with same as ("
    + KNOWN_MEMORY
    + ") select id, text, same from same union all (select m.id, m.text, false from chatmemory.find_near("
    "%(tenant)s, %(users)s, %(letters)s, %(model)s, %(vector)s, %(top)s, 0, %(last)s) n "
    "join chatmemory.memories m on m.id = n.memory_id "
    "where not exists (select from same) and n.similarity >= %(same)s and m.valid_to is null"
    + _SHOWN
    + " order by n.similarity desc, m.created_at limit %(nearest)s)"
)
HOLDING = "select m.id from chatmemory.memories m where m.id = %s and m.valid_to is null" + _SHOWN
# One that said the same, held at that time, and was superseded since.
KNOWN_THEN = (
    "select m.id, m.text, true as same from chatmemory.memories m "
    "where m.digest = decode(%(digest)s, 'hex') and m.user_id = %(user_id)s "
    "and m.kind = any(%(kinds)s) and m.superseded_by is not null "
    "and m.valid_from <= %(at)s and m.valid_to > %(at)s" + _SHOWN + " order by m.created_at limit 1"
)
CONFIRM_MEMORY = (
    "update chatmemory.memories set confirmations = confirmations + 1, "
    "importance = greatest(importance, %(importance)s) where id = %(id)s and valid_to is null"
)
# One more source; none that is trusted less than the memory, which has the trust of the lowest of its sources.
ADD_SOURCE = (
    "insert into chatmemory.memory_sources (tenant_id, memory_id, session_id, from_seq, to_seq) "
    "select %(tenant)s, m.id, %(session)s, %(from)s, %(to)s from chatmemory.memories m "
    "where m.id = %(memory)s and m.trust <= %(trust)s on conflict do nothing"
)
MEMORY_STATS = (
    "select m.kind, count(*) filter (where m.valid_to is null), coalesce(sum(m.confirmations), 0), "
    "count(m.superseded_by), count(*) filter (where m.valid_to is null and m.recall_count = 0), count(m.pruned_at) "
    "from chatmemory.memories m where %(user_id)s::text is null or m.user_id = %(user_id)s group by m.kind"
)
_PRUNED = (
    " where m.valid_to is null and m.recall_count = 0 and m.importance <= %(importance)s "
    "and m.created_at < now() - %(age)s::interval and (%(user_id)s::text is null or m.user_id = %(user_id)s)"
)
TO_PRUNE = (
    "select " + MEMORY + " from chatmemory.memories m" + _PRUNED + _SHOWN + " order by m.created_at limit %(limit)s"
)
PRUNE = "update chatmemory.memories set valid_to = now(), pruned_at = now() where id = any(%s) and valid_to is null"
UNPRUNE = (
    "update chatmemory.memories m set valid_to = null, pruned_at = null where m.pruned_at is not null "
    "and (%(user_id)s::text is null or m.user_id = %(user_id)s) and not exists (select from chatmemory.memories k "
    "where k.digest = m.digest and k.user_id = m.user_id and (k.valid_to is null "  # it was learnt again meanwhile,
    "or k.pruned_at is not null and (k.created_at, k.id) > (m.created_at, m.id)))"  # and perhaps pruned again
)
