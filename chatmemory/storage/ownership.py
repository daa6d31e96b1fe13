"""The registry of what belongs to a session, a user and a tenant: one entry for each table of the schema.

Erasure, export, fork, doctor and the tests are made from it, so a new table is one entry here. Every table has a
`tenant_id`, which ties its rows to a tenant. Rows are erased in the order of TABLES: what belongs to a session stands
before `sessions`. Locks are taken before that, in an order of their own: the users' advisory locks, then their rows in
`memory_users`, then sessions, then memories.
"""

from dataclasses import dataclass

from chatmemory.items.records import ITEM_COLUMNS
from chatmemory.memories.records import EXPENSE_COLUMNS, MEMORY_COLUMNS
from chatmemory.messages.records import MESSAGE_COLUMNS
from chatmemory.sessions.records import EVENT_COLUMNS, SESSION_COLUMNS


@dataclass(frozen=True, kw_only=True)
class Export:
    """The lines that a table's rows become in an export.

    Attributes:
        record: What each line is.
        named: Columns that stand in the line under their own names.
        columns: The columns of the record after those, in the order from which it is built.
        order: The columns by which the rows of one owner are sorted.
    """

    record: str
    named: tuple[str, ...] = ()
    columns: tuple[str, ...]
    order: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Copy:
    """How a fork copies a table's rows.

    Attributes:
        columns: The columns that stay as they are: all but `tenant_id` and the one that names the session.
        up_to: The column that is compared with the fork's at_seq.
    """

    columns: tuple[str, ...]
    up_to: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table, and whose its rows are.

    Attributes:
        name: Its name in the schema chatmemory.
        user: The column that names the user; an empty one stands for the tenant as a whole. None: there is none.
        session: The column that names the session. None: there is none.
        cites: The table that says which sessions a row was made from, where no column does.
        part_of: The table whose rows these are a part of: they go, and are counted, with those.
        receipt: The field of Erasure that counts them; None for parts and for rows that hold nothing but locks.
        counted: The column that says how many a row counts for; None: each is one.
        cascades: Whether a foreign key removes the rows with the row they are a part of.
        hidden: Whether deleting their session hides them.
        optional: Whether a database may lack the table.
        export: The lines they become in an export.
        copy: How a fork copies them; None: it does not.
    """

    name: str
    user: str | None = None
    session: str | None = None
    cites: str | None = None
    part_of: str | None = None
    receipt: str | None = None
    counted: str | None = None
    cascades: bool = False
    hidden: bool = False
    optional: bool = False
    export: Export | None = None
    copy: Copy | None = None


TABLES = (
    Table(name="memory_vectors", user="user_id", part_of="memories", cascades=True, optional=True, hidden=True),
    Table(name="memory_sources", session="session_id", part_of="memories", cascades=True, hidden=True),
    Table(name="memory_terms", user="user_id", part_of="memories", hidden=True),
    Table(
        name="memories",
        user="user_id",
        cites="memory_sources",
        receipt="memories",
        hidden=True,
        export=Export(record="memory", columns=MEMORY_COLUMNS, order=("created_at", "id")),
    ),
    Table(
        name="messages",
        session="session_id",
        receipt="messages",
        hidden=True,
        export=Export(record="message", named=("session_id",), columns=MESSAGE_COLUMNS, order=("seq",)),
        copy=Copy(columns=MESSAGE_COLUMNS, up_to="seq"),
    ),
    Table(
        name="events",
        session="session_id",
        receipt="events",
        hidden=True,
        export=Export(record="event", named=("session_id",), columns=EVENT_COLUMNS, order=("number",)),
    ),
    Table(
        name="metrics",
        session="session_id",
        receipt="metrics",
        counted="count",
        hidden=True,
        export=Export(
            record="metrics",
            named=("session_id",),
            columns=("name", "steps", "readings", "times"),
            order=("name", "from_step", "id"),
        ),
    ),
    Table(
        name="spend",
        user="user_id",
        session="session_id",
        receipt="spend",
        export=Export(record="spend", named=("user_id",), columns=EXPENSE_COLUMNS, order=("number",)),
    ),
    Table(
        name="store_items",
        user="user_id",
        receipt="items",
        export=Export(
            record="item",
            columns=tuple(column for column in ITEM_COLUMNS if column != "score"),
            order=("path", "key"),
        ),
    ),
    Table(
        name="sessions",
        user="user_id",
        session="id",
        receipt="sessions",
        hidden=True,
        export=Export(record="session", named=("deleted_at",), columns=SESSION_COLUMNS, order=("created_at", "id")),
    ),
    Table(name="memory_users", user="user_id"),
)
BY_NAME = {table.name: table for table in TABLES}
EXPORTS = {table.name: table.export for table in TABLES if table.export is not None}

# Tables that hold no tenant's rows, and why.
NOT_OWNED = {
    "schema_migrations": "the versions of the schema itself",
    "schema_parts": "the revisions of its functions and rights",
}


def exported() -> tuple[Table, ...]:
    """The tables that an export reads, a session before what belongs to it."""
    return tuple(sorted((table for table in TABLES if table.export), key=lambda table: table.name != "sessions"))


def of_sessions() -> tuple[Table, ...]:
    """The tables of an export whose rows are tied to a user only through their session, and `sessions` first."""
    return tuple(table for table in exported() if table.name == "sessions" or table.user is None)


def of_users() -> tuple[Table, ...]:
    """The tables of an export whose rows name their user themselves."""
    return tuple(table for table in exported() if table not in of_sessions())
