"""The registry of what belongs to a session, a user and a tenant: one entry for each table of the schema.

Erasure, export, fork, doctor and the tests are made from it, so a new table is one entry here. Every table has a
`tenant_id`. Rows are erased in the order of TABLES, in which the tables of a session come before `sessions`. Locks are
taken earlier, in their own order: the users' advisory locks, their rows in `memory_users`, sessions, memories.
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
        record: The value of `record` in each line.
        named: Columns that are put into the line beside the record, under their own names.
        columns: The columns from which the record is built, in order.
        order: The columns by which the rows of one owner are sorted.
    """

    record: str
    named: tuple[str, ...] = ()
    columns: tuple[str, ...]
    order: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Copy:
    """The rows of a table that a fork copies.

    Attributes:
        columns: The columns copied unchanged: all but `tenant_id` and the one that names the session.
        up_to: The column that is compared with the fork's at_seq.
    """

    columns: tuple[str, ...]
    up_to: str


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table, and the owners of its rows.

    Attributes:
        name: Its name in the schema chatmemory.
        user: The column that names the user, with "" for the tenant as a whole; None: no column does.
        session: The column that names the session; None: no column does.
        cites: The table that lists the sessions a row was made from, if no column names them.
        part_of: The table whose rows these belong to: they are erased and counted with those.
        receipt: The field of Erasure that counts the rows; None: they are not counted by themselves.
        counted: The column with the number that a row counts for; None: each counts as one.
        cascades: Whether a foreign key removes the rows together with those of `part_of`.
        hidden: Whether deleting the session hides the rows.
        optional: Whether a database may lack the table.
        export: The lines that the rows become in an export; None: they are not exported.
        copy: The rows that a fork copies; None: none.
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
    Table(name="item_vectors", part_of="store_items", cascades=True, optional=True),
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
    """Return the tables that an export reads, `sessions` first."""
    return tuple(sorted((table for table in TABLES if table.export), key=lambda table: table.name != "sessions"))


def of_sessions() -> tuple[Table, ...]:
    """Return the exported tables whose rows name a session and no user, with `sessions` first."""
    return tuple(table for table in exported() if table.name == "sessions" or table.user is None)


def of_users() -> tuple[Table, ...]:
    """Return the exported tables whose rows name their user."""
    return tuple(table for table in exported() if table not in of_sessions())
