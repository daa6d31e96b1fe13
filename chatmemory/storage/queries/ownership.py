"""Statements over all that belongs to a session, to users or to a tenant, made from the registry of tables.

They share their parameters:

- tenant: the tenant's id.
- session and of: a session's id, and when it began: another that has its id now is not meant.
- users: users of whom everything is meant; empty where one session is.
- owners: the users, or the session's.
"""

from typing import Literal, LiteralString, NamedTuple, TypeAlias

from chatmemory.storage.ownership import TABLES, Table, of_sessions, of_users
from chatmemory.storage.queries.columns import ITEM, MEMORY

Scope: TypeAlias = Literal["session", "users"]

_USERS = "%(users)s::text[]"
_SESSIONS: dict[Scope, LiteralString] = {
    "session": "select s.id from chatmemory.sessions s where s.id = %(session)s and s.created_at = %(of)s::timestamptz",
    "users": f"select s.id from chatmemory.sessions s where s.user_id = any({_USERS})",
}
_CITING: dict[Scope, LiteralString] = {
    scope: f"select c.memory_id from chatmemory.memory_sources c where c.session_id in ({sessions})"
    for scope, sessions in _SESSIONS.items()
}
_MEMORIES: dict[Scope, LiteralString] = {
    "session": f"m.id in ({_CITING['session']})",
    "users": (
        f"m.id in (select o.id from chatmemory.memories o where o.user_id = any({_USERS}) union {_CITING['users']})"
    ),
}


def _is_owned(table: Table, scope: Scope) -> LiteralString | None:
    """The condition under which a row of `m` belongs to the scope; None: no row does."""
    if table.cites is not None:
        return _MEMORIES[scope]
    if scope == "users" and table.user is not None:
        return f"m.{table.user} = any({_USERS})"
    if table.session is None:
        return None
    by_session = f"m.{table.session} in ({_SESSIONS[scope]})"
    return f"{by_session} and m.{table.user} = any(%(owners)s::text[])" if table.user else by_session


# Locks, in this order. No session of the owners begins or is resumed meanwhile;
LOCK_OWNERS = "select chatmemory.lock_user(%(tenant)s, o.id) from unnest(%(owners)s::text[]) o(id)"
# nobody changes memories that may have to go: the owners', the tenant's, and those of others that cite the sessions;
LOCK_MEMORY_USERS: dict[Scope, LiteralString] = {
    scope: (
        "select u.user_id from chatmemory.memory_users u where u.user_id = any(array[''] || %(owners)s::text[] || "
        f"array(select m.user_id from chatmemory.memories m where m.id in ({citing}))) "
        "order by u.user_id for no key update"
    )
    for scope, citing in _CITING.items()
}
# (owners who have none yet get a row to lock)
LOCK_NEW_OWNERS = (
    "insert into chatmemory.memory_users (tenant_id, user_id) "
    "select %(tenant)s, o.id from unnest(%(owners)s::text[]) o(id) "
    "on conflict (tenant_id, user_id) do update set places = memory_users.places"
)
# and nobody changes the sessions, or cites them: some at a time, in the order in which sessions are locked everywhere.
MOST_SESSIONS = 10_000
LOCK_SESSIONS: dict[Scope, LiteralString] = {
    scope: (
        f"select m.created_at, m.id from chatmemory.sessions m where m.id in ({sessions}) "
        "and (m.created_at, m.id) > (%(after_time)s::timestamptz, %(after)s) "
        f"order by m.created_at, m.id limit {MOST_SESSIONS} for update"
    )
    for scope, sessions in _SESSIONS.items()
}
# The other users whose memories cite the sessions, now that no more can come.
CITING_USERS: dict[Scope, LiteralString] = {
    scope: f"select distinct m.user_id from chatmemory.memories m where m.id in ({citing})"
    for scope, citing in _CITING.items()
}


def _remove_memories(scope: Scope) -> LiteralString:
    """Remove memories, and of users who stay also their words, their share of the count, and what points at them."""
    return (
        f"with gone as (delete from chatmemory.memories m where {_MEMORIES[scope]} returning m.id, m.user_id, m.place, "
        f"case when m.user_id = any({_USERS}) then null else m.lexemes end as lexemes), "
        f"others as (select * from gone where user_id <> all({_USERS})), "
        "terms as (delete from chatmemory.memory_terms t using others o, unnest(tsvector_to_array(o.lexemes)) w(term) "
        "where t.user_id = o.user_id and t.term = w.term and t.place = o.place), "
        "places as (update chatmemory.memory_users u set places = u.places - o.count "
        "from (select user_id, count(*) as count from others group by user_id) o where u.user_id = o.user_id), "
        "pointing as (update chatmemory.memories m set superseded_by = null from others o "
        "where m.user_id = o.user_id and m.superseded_by = o.id and m.id not in (select id from gone)) "
        "select count(*) from gone"
    )


def _erase(table: Table, scope: Scope) -> LiteralString | None:
    """Remove a table's rows of the scope, and count them; None: another statement or a foreign key does."""
    condition = _is_owned(table, scope)
    if condition is None or table.cascades:
        return None
    if table.cites is not None:
        return _remove_memories(scope)
    counted = f"m.{table.counted}" if table.counted else "1"
    return (
        f"with gone as (delete from chatmemory.{table.name} m where {condition} returning {counted} as count) "
        "select coalesce(sum(count), 0)::bigint from gone"
    )


ERASE: dict[Scope, dict[str, LiteralString]] = {
    scope: {table.name: query for table in TABLES if (query := _erase(table, scope)) is not None} for scope in _SESSIONS
}

# Everybody of whom a tenant has anything, some at a time; the empty name stands for the tenant as a whole. Whose
# memories there are stands in memory_users.
MOST_USERS = 200
USERS_OF_TENANT = (
    "select u.id from ("
    + " union ".join(
        f"select m.{table.user} from chatmemory.{table.name} m"
        for table in TABLES
        if table.user is not None and table.part_of is None and table.cites is None
    )
    + f") u(id) where %(after)s::text is null or u.id > %(after)s order by u.id limit {MOST_USERS}"
)


# Exports.
class Read(NamedTuple):
    """A statement that reads rows of an export: all of them, or the first of them if there are few."""

    all: LiteralString
    few: LiteralString


FEW = 200  # rows that are read in one go
_SELECTED = {"memories": MEMORY, "store_items": ITEM}
_SHARED = f"m.user_id = '' and m.id in ({_CITING['users']})"
_OF_OWNERS = "m.user_id = any(array[''] || %(owners)s::text[])"


def _limited(query: LiteralString) -> Read:
    return Read(query, f"{query} limit {FEW + 1}")


def _read(table: Table, condition: LiteralString) -> Read:
    assert table.export is not None
    named = "".join(f"m.{column}, " for column in table.export.named)
    columns = named + (_SELECTED.get(table.name) or ", ".join(f"m.{column}" for column in table.export.columns))
    order = ", ".join(f"m.{column}" for column in table.export.order)
    query = f"select {columns} from chatmemory.{table.name} m where {condition} order by {order}"
    return _limited(query)


def _is_exported(table: Table, scope: Scope) -> LiteralString:
    """As _is_owned(), but memories of other users are theirs, though they cite the session or the users'."""
    if table.cites is not None:
        users_own = f"m.user_id = any({_USERS}) or {_SHARED}"
        return users_own if scope == "users" else f"{_MEMORIES['session']} and {_OF_OWNERS}"
    return _is_owned(table, scope) or "false"


# What is tied to a user only through its session, and is read with it: the session itself stands first.
READ_SESSION = {table.name: _read(table, _is_owned(table, "session") or "false") for table in of_sessions()}
# All the rest of one session, of users, and of the tenant of the transaction.
READ_REST: dict[str, dict[str, Read]] = {
    "session": {
        table.name: _read(table, _is_exported(table, "session"))
        for table in of_users()
        if table.session is not None or table.cites is not None
    },
    "users": {table.name: _read(table, _is_exported(table, "users")) for table in of_users()},
    "tenant": {table.name: _read(table, "true") for table in of_users()},
}
_BEGUN = "select m.id, m.created_at, m.user_id from chatmemory.sessions m where "
_IN_ORDER = " order by m.created_at, m.id"
READ_SESSIONS: dict[str, Read] = {
    "users": _limited(_BEGUN + f"m.user_id = any({_USERS})" + _IN_ORDER),
    "tenant": _limited(_BEGUN + "true" + _IN_ORDER),
}

# Forks: what is copied from a session into another, up to a seq.
COPY: tuple[LiteralString, ...] = tuple(
    f"insert into chatmemory.{table.name} (tenant_id, {table.session}, {', '.join(table.copy.columns)}) "
    f"select tenant_id, %(to)s, {', '.join(table.copy.columns)} from chatmemory.{table.name} "
    f"where {table.session} = %(from)s and {table.copy.up_to} <= %(at_seq)s"
    for table in TABLES
    if table.copy is not None
)

# The rows of all tables that are in sight.
COUNT_ALL = "select " + " + ".join(
    f"(select count(*) from chatmemory.{table.name})" for table in TABLES if not table.optional
)
