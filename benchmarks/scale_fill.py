"""A large database, filled by SQL directly into the tables; only this benchmark file names their columns.

Ordinary sessions have four messages and lie evenly over the tenants; of ten, nine ended long ago and have been learnt
from. The first tenant is larger, and so is its first user: their lists have a thousandth page. One session is as long
as all the messages that are left over allow. Nothing is due, and nothing is idle.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg

LARGE_TENANT, LARGE_USER, LONG_USER = "tenant-0", "user-0", "long"
LONG_SESSION = "session-long"
MESSAGES_EACH = 4
PAGES = 1_000
PAGE = 20
TEXT = "Could you look into the invoice of last month? It still shows the old address, and our accountant asks for it."
TABLES = ("sessions", "messages", "events", "memories", "memory_sources", "memory_terms", "memory_users")


class Size(NamedTuple):
    """The size of a database."""

    sessions: int
    messages: int
    tenants: int

    @property
    def in_large_tenant(self) -> int:
        """The sessions of the first tenant."""
        return min(self.sessions, max(self.sessions // 10, 3 * PAGE * PAGES // 2))

    @property
    def of_large_user(self) -> int:
        """The sessions of the first tenant's first user."""
        return min(self.in_large_tenant, 5 * PAGE * PAGES // 4)

    @property
    def in_long_session(self) -> int:
        """The messages of the longest session."""
        return max(1, self.messages - MESSAGES_EACH * self.sessions)

    @property
    def memories(self) -> int:
        """One episode for each fifth session."""
        return self.sessions // 5


# The values of session number i. Every tenth session is active, and began one to eleven hours ago.
SESSION_ID = "'01900000-0000-7000-8000-' || lpad(to_hex(i), 12, '0')"
TENANT = "'tenant-' || case when i < %(in_large_tenant)s then 0 else 1 + i %% greatest(%(tenants)s - 1, 1) end"
USER = (
    "'user-' || case when i < %(of_large_user)s then 0 when i < %(in_large_tenant)s then 1 + i %% 100 "
    "else i / %(tenants)s %% 10 end"
)
IS_ACTIVE = "i %% 10 = 0"
AT = (
    f"now() - case when {IS_ACTIVE} then interval '1 hour' + interval '10 hours' * (i / 10 %% 997) / 997 "
    "else interval '10 days' + interval '30 s' * i end"
)
LAST_AT = f"({AT}) + interval '1 hour'"
# The filled columns, with their expressions; a new column without a suitable default is added here.
SESSIONS = {
    "tenant_id": TENANT,
    "id": SESSION_ID,
    "user_id": USER,
    "kind": "'chat'",
    "status": f"case when {IS_ACTIVE} then 'active' else 'completed' end",
    "title": "'An invoice'",
    "created_at": AT,
    "updated_at": LAST_AT,
    "last_active_at": LAST_AT,
    "last_message_at": LAST_AT,
    "ended_at": f"case when not {IS_ACTIVE} then {LAST_AT} end",
    "archived_at": f"case when not {IS_ACTIVE} then {LAST_AT} + interval '2 days' end",
    "message_count": "%(each)s",
    "token_count": "%(each)s * 25",
    "last_seq": "%(each)s",
    "processed_for_ltm": f"not {IS_ACTIVE}",
    "number": "i + 1",
    "summary_seq": f"case when {IS_ACTIVE} then 0 else %(each)s end",
    "summary_tokens": f"case when {IS_ACTIVE} then 0 else %(each)s * 25 end",
}
LONG = {
    **SESSIONS,
    "tenant_id": f"'{LARGE_TENANT}'",
    "id": f"'{LONG_SESSION}'",
    "user_id": f"'{LONG_USER}'",
    **dict.fromkeys(("message_count", "last_seq", "summary_seq"), "%(in_long_session)s"),
    **dict.fromkeys(("token_count", "summary_tokens"), "%(in_long_session)s * 25"),
}
MESSAGES = {
    "tenant_id": TENANT,
    "session_id": SESSION_ID,
    "seq": "n",
    "id": "lpad(to_hex(i), 12, '0') || '-' || lpad(to_hex(n), 12, '0')",
    "role": "case n %% 2 when 1 then 'user' else 'assistant' end",
    "content": "%(text)s",
    "tokens": "25",
    "token_encoding": "'o200k_base'",
    "created_at": AT,
}
LONG_MESSAGES = {**MESSAGES, "tenant_id": f"'{LARGE_TENANT}'", "session_id": f"'{LONG_SESSION}'"}
EVENTS = {"tenant_id": TENANT, "session_id": SESSION_ID, "at": AT, "type": "'created'"}
MEMORY_ID = "'memory-' || i"
PLACE = "(i + 1)::bigint << 24 | 1"
MEMORIES = {
    "tenant_id": TENANT,
    "id": MEMORY_ID,
    "user_id": USER,
    "kind": "'episode'",
    "text": "%(text)s",
    "place": PLACE,
    "speaker": "'user'",
    "trust": "2",
    "importance": "0.5",
    "valid_from": AT,
    "lexemes": "to_tsvector('english', %(text)s)",
}
SOURCES = {"tenant_id": TENANT, "memory_id": MEMORY_ID, "session_id": SESSION_ID, "from_seq": "1", "to_seq": "2"}
TERMS = {
    "tenant_id": TENANT,
    "user_id": USER,
    "term": "w.lexeme",
    "place": PLACE,
    "kind": "'e'",
    "count": "cardinality(w.positions)",
    "length": "20",
}
USERS = {"tenant_id": TENANT, "user_id": USER, "places": "count(*)"}

EACH_SESSION = "generate_series(0, %(sessions)s - 1) i"
EACH_MEMORY = "generate_series(0, (%(memories)s - 1) * 5, 5) i"
FILL: list[tuple[str, dict[str, str], str]] = [
    ("sessions", SESSIONS, EACH_SESSION),
    ("sessions", LONG, "(values (%(sessions)s / 10 * 10)) v(i)"),
    ("messages", MESSAGES, f"{EACH_SESSION}, generate_series(1, %(each)s) n"),
    ("messages", LONG_MESSAGES, "(values (%(sessions)s / 10 * 10)) v(i), generate_series(1, %(in_long_session)s) n"),
    ("events", EVENTS, EACH_SESSION),
    ("memories", MEMORIES, EACH_MEMORY),
    ("memory_sources", SOURCES, EACH_MEMORY),
    ("memory_terms", TERMS, f"{EACH_MEMORY}, unnest(to_tsvector('english', %(text)s)) w"),
    ("memory_users", USERS, f"{EACH_MEMORY} group by 1, 2"),
]
# The foreign keys of other tables that refer to the filled ones.
CONSTRAINTS = """
select c.conrelid::regclass::text, quote_ident(c.conname), pg_get_constraintdef(c.oid) from pg_constraint c
join pg_class t on t.oid = c.conrelid or t.oid = c.confrelid and c.contype = 'f'
where t.relnamespace = 'chatmemory'::regnamespace and t.relname = any(%s) and c.contype in ('f', 'p', 'u')
group by c.oid, 1, 2, 3, c.contype order by c.contype = 'f'
"""
INDEXES = """
select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) from pg_index i
join pg_class t on t.oid = i.indrelid
where t.relnamespace = 'chatmemory'::regnamespace and t.relname = any(%s)
  and not exists (select from pg_constraint c where c.conindid = i.indexrelid and c.contype in ('p', 'u', 'x'))
"""


def fill(url: str, size: Size) -> float:
    """Fill an empty, migrated database as its superuser; return the seconds it took."""
    begun = time.perf_counter()
    names = ("sessions", "tenants", "in_large_tenant", "of_large_user", "in_long_session", "memories")
    params: dict[str, Any] = {name: getattr(size, name) for name in names}
    params |= {"each": MESSAGES_EACH, "text": TEXT}
    with psycopg.connect(url, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
        for setting in ("synchronous_commit = off", "maintenance_work_mem = '1GB'", "search_path = pg_catalog"):
            connection.execute(f"set {setting}".encode())
        with _without_indexes(connection):
            for table, columns, rows in FILL:
                statement = (
                    f"insert into chatmemory.{table} ({', '.join(columns)}) select {', '.join(columns.values())}"
                )
                connection.execute(f"{statement} from {rows}".encode(), params)
            connection.execute("select setval('chatmemory.numbers', %(sessions)s + 2)", params)
        connection.execute("vacuum (freeze, analyze)")
        connection.execute("checkpoint")
    return time.perf_counter() - begun


@contextmanager
def _without_indexes(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """Drop all indexes and foreign keys of the tables that are filled, and build them afterwards."""
    constraints = connection.execute(CONSTRAINTS, (list(TABLES),)).fetchall()
    indexes = connection.execute(INDEXES, (list(TABLES),)).fetchall()
    for table, name, _ in reversed(constraints):
        connection.execute(f"alter table {table} drop constraint {name}".encode())
    for name, _ in indexes:
        connection.execute(f"drop index {name}".encode())
    yield
    for _, definition in indexes:
        connection.execute(definition.encode())
    for table, name, definition in constraints:
        connection.execute(f"alter table {table} add constraint {name} {definition}".encode())
