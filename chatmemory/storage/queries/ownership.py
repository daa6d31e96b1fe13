"""Statements on everything that belongs to a session, to users or to a tenant, made from the registry of tables.

Their parameters:

- tenant: The tenant's id.
- session, of: The session's id, and when it was stored; a later session with the same id does not match.
- users: The users in scope; empty if the scope is one session.
- owners: The users in scope, or the session's user.
"""

from typing import Literal, LiteralString, NamedTuple, TypeAlias

from chatmemory.storage.ownership import TABLES, Table, of_sessions, of_users
from chatmemory.storage.queries.columns import ITEM, MEMORY

Scope: TypeAlias = Literal["session", "users"]

_USERS = "%(users)s::text[]"
_SESSIONS: dict[Scope, LiteralString] = {
    "session": "select s.id from chatmemory.sessions s where s.id = %(session)s and s.born_at = %(of)s::timestamptz",
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
    """Return the condition under which a row of `m` belongs to the scope; None: no row does."""
    if table.cites is not None:
        return _MEMORIES[scope]
    if scope == "users" and table.user is not None:
        return f"m.{table.user} = any({_USERS})"
    if table.session is None:
        return None
    by_session = f"m.{table.session} in ({_SESSIONS[scope]})"
    return f"{by_session} and m.{table.user} = any(%(owners)s::text[])" if table.user else by_session


# The locks of an erasure, in this order. First: no session of the owners is created or resumed meanwhile.
LOCK_OWNERS = "select chatmemory.lock_user(%(tenant)s, o.id) from unnest(%(owners)s::text[]) o(id)"
# Second: nobody changes memories that may be erased: the owners', the tenant's, and others' that cite the sessions.
LOCK_MEMORY_USERS: dict[Scope, LiteralString] = {
    scope: (
        "select u.user_id from chatmemory.memory_users u where u.user_id = any(array[''] || %(owners)s::text[] || "
        f"array(select m.user_id from chatmemory.memories m where m.id in ({citing}))) "
        "order by u.user_id for no key update"
    )
    for scope, citing in _CITING.items()
}
# Owners without a row in memory_users get one, so that it can be locked.
LOCK_NEW_OWNERS = (
    "insert into chatmemory.memory_users (tenant_id, user_id) "
    "select %(tenant)s, o.id from unnest(%(owners)s::text[]) o(id) "
    "on conflict (tenant_id, user_id) do update set places = memory_users.places"
)
# and nobody changes the sessions, or cites them: some at a time, in the order in which sessions are locked everywhere.
MAX_SESSIONS = 10_000
LOCK_SESSIONS: dict[Scope, LiteralString] = {
    scope: (
        f"select m.created_at, m.id from chatmemory.sessions m where m.id in ({sessions}) "
        "and (m.created_at, m.id) > (%(after_time)s::timestamptz, %(after)s) "
        f"order by m.created_at, m.id limit {MAX_SESSIONS} for update"
    )
    for scope, sessions in _SESSIONS.items()
}
# The users whose memories cite the sessions, read once no new citation is possible.
CITING_USERS: dict[Scope, LiteralString] = {
    scope: f"select distinct m.user_id from chatmemory.memories m where m.id in ({citing})"
    for scope, citing in _CITING.items()
}


# What a session has passed on to those that continue it. Those of erased users go with their users.
WITHDRAW: dict[Scope, LiteralString] = {
    "session": "select chatmemory.withdraw_summary(%(tenant)s, %(session)s)",
    "users": "select",
}


def _remove_memories(scope: Scope) -> LiteralString:
    """Remove memories; for users who stay, also their words, their count, and references in `superseded_by`."""
    return (
        f"with gone as (delete from chatmemory.memories m where {_MEMORIES[scope]} returning m.id, m.user_id, m.place, "
        f"case when m.user_id = any({_USERS}) then null else m.lexemes end as lexemes), "
        f"others as (select * from gone where user_id <> all({_USERS})), "
        "terms as (select chatmemory.remove_terms(%(tenant)s, o.user_id, o.place, o.lexemes) as call from others o), "
        "places as (update chatmemory.memory_users u set places = u.places - o.count "
        "from (select user_id, count(*) as count from others group by user_id) o where u.user_id = o.user_id), "
        "pointing as (update chatmemory.memories m set superseded_by = null from others o "
        "where m.user_id = o.user_id and m.superseded_by = o.id and m.id not in (select id from gone)) "
        "select count(*) from gone where (select count(call) from terms) >= 0"  # terms runs only if it is read
    )


def _erase(table: Table, scope: Scope) -> LiteralString | None:
    """Remove and count a table's rows in scope; None: another statement or a foreign key removes them."""
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

# Every user that a row names; and those of whom there is more than the row that counts their memories.
_NAMING = {
    table.name: f"select m.{table.user} from chatmemory.{table.name} m"
    for table in TABLES
    if table.user is not None and table.part_of is None and table.cites is None
}
_USERS_NAMED = " union ".join(_NAMING.values())
_USERS_STORED = " union ".join({**_NAMING, "memory_users": _NAMING["memory_users"] + " where m.places > 0"}.values())

# All users of a tenant, one batch at a time; the empty name stands for the tenant as a whole. The users of memories are
# read from memory_users.
MAX_USERS = 200
USERS_OF_TENANT = (
    f"select u.id from ({_USERS_NAMED}) u(id) where %(after)s::text is null or u.id > %(after)s "
    f"order by u.id limit {MAX_USERS}"
)


# The users of a tenant, by their ids, with their sessions that are not deleted.
LIST_USERS = (
    "select u.id, s.count, s.last_active_at from ("
    f"select n.id from ({_USERS_STORED}) n(id) where n.id <> '' "
    "and (%(after_id)s::text is null or n.id > %(after_id)s) order by n.id limit %(limit)s offset %(offset)s) u "
    "cross join lateral (select count(*) as count, max(m.last_active_at) as last_active_at "
    "from chatmemory.sessions m where m.user_id = u.id and m.deleted_at is null) s order by u.id"
)
LIST_TENANTS = "select id, last_active_at from chatmemory.list_tenants(%(after_id)s, %(limit)s, %(offset)s)"


# Exports.
class Read(NamedTuple):
    """A statement that reads rows of an export, without a limit and with one.

    Attributes:
        all: Reads all rows.
        few: Reads at most FEW + 1 rows: more than FEW means that `all` is needed.
    """

    all: LiteralString
    few: LiteralString


FEW = 200  # rows of a table that are read in one round trip
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
    """Return the condition of an export: as _is_owned(), without memories of other users that cite the scope."""
    if table.cites is not None:
        users_own = f"m.user_id = any({_USERS}) or {_SHARED}"
        return users_own if scope == "users" else f"{_MEMORIES['session']} and {_OF_OWNERS}"
    return _is_owned(table, scope) or "false"


# Tables that name no user, read session by session; the session itself comes first.
READ_SESSION = {table.name: _read(table, _is_owned(table, "session") or "false") for table in of_sessions()}
# Tables that name their user, by the scope of the export.
READ_REST: dict[str, dict[str, Read]] = {
    "session": {
        table.name: _read(table, _is_exported(table, "session"))
        for table in of_users()
        if table.session is not None or table.cites is not None
    },
    "users": {table.name: _read(table, _is_exported(table, "users")) for table in of_users()},
    "tenant": {table.name: _read(table, "true") for table in of_users()},
}
_BEGUN = "select m.id, m.born_at, m.user_id from chatmemory.sessions m where "
_IN_ORDER = " order by m.created_at, m.id"
READ_SESSIONS: dict[str, Read] = {
    "users": _limited(_BEGUN + f"m.user_id = any({_USERS})" + _IN_ORDER),
    "tenant": _limited(_BEGUN + "true" + _IN_ORDER),
}

# Forks: copy the rows of a session into another session, up to a seq.
COPY: tuple[LiteralString, ...] = tuple(
    f"insert into chatmemory.{table.name} (tenant_id, {table.session}, {', '.join(table.copy.columns)}) "
    f"select tenant_id, %(to)s, {', '.join(table.copy.columns)} from chatmemory.{table.name} "
    f"where {table.session} = %(from)s and {table.copy.up_to} <= %(at_seq)s"
    for table in TABLES
    if table.copy is not None
)

# Count the visible rows of all tables.
COUNT_ALL = "select " + " + ".join(
    f"(select count(*) from chatmemory.{table.name})" for table in TABLES if not table.optional
)
