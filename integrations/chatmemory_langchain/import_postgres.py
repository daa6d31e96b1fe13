"""Conversations in the table of LangChain's PostgresChatMessageHistory."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from psycopg import sql

from chatmemory import ConfigurationError, Conversation, NewMessage, RefusedConversation
from chatmemory_langchain import import_queries as queries
from chatmemory_langchain.import_connection import Source, columns_of, connected, fetch
from chatmemory_langchain.import_messages import MessageReader

NAME = "langchain-postgres"
NEEDED = {"id", "session_id", "message"}


def langchain_postgres_conversations(
    url: str, *, table: str = "chat_history", tenant_column: str | None = None, user_column: str | None = None
) -> Iterator[Conversation | RefusedConversation]:
    """Read the conversations of langchain-postgres' and langchain-community's PostgresChatMessageHistory.

    They are read in pieces, while they are iterated; for Tenant.import_conversations().

    Args:
        url: The URL of the database.
        table: The table, as the app names it; schema.table for one that is not on the search path.
        tenant_column: A column that the app has added, with each message's tenant.
        user_column: Likewise, with its user.

    Raises:
        ConfigurationError: The source cannot be reached, or has no such table or column.
        StorageUnavailableError: The source stopped answering.
    """
    with connected(url) as connection:
        yield from _conversations(connection, _Table(connection, table, tenant_column, user_column))


class _Table:
    """The statements for one table."""

    def __init__(self, connection: Source, table: str, tenant: str | None, user: str | None) -> None:
        name = sql.Identifier(*table.split("."))
        columns = columns_of(connection, queries.COLUMNS.format(table=name))
        for missing in sorted((NEEDED | ({tenant, user} - {None})) - columns, key=str):
            raise ConfigurationError(f"The table {table!r} has no column {missing!r}.")
        time = sql.Identifier("created_at") if "created_at" in columns else queries.NO_TIME
        owners = {
            key: queries.NO_TEXT if column is None else sql.Identifier(column)
            for key, column in (("tenant", tenant), ("user", user))
        }
        empty = sql.SQL("")
        self.first = queries.SESSIONS.format(table=name, time=time, after=empty, **owners)
        self.next = queries.SESSIONS.format(table=name, time=time, after=queries.AFTER, **owners)
        self.messages = queries.MESSAGES.format(table=name, time=time)


def _conversations(connection: Source, table: _Table) -> Iterator[Conversation | RefusedConversation]:
    rows = fetch(connection, table.first, {})
    while rows:
        for id, began, last, *owners in rows:
            yield _conversation(connection, table, str(id), (_aware(began), _aware(last)), owners)
        rows = fetch(connection, table.next, {"after": str(rows[-1][0])})


def _conversation(
    connection: Source, table: _Table, id: str, times: tuple[datetime | None, datetime | None], owners: list[Any]
) -> Conversation | RefusedConversation:
    tenant, other_tenant, user, other_user = owners
    if (tenant, user) != (other_tenant, other_user):
        return RefusedConversation(id, "its rows name several users or tenants")
    left_out: dict[str, int] = {}
    began, last = times
    return Conversation(
        id=id,
        source=NAME,
        origin={"from": NAME, "id": id},
        messages=_messages(connection, table, id, MessageReader(left_out)),
        created_at=began,
        last_active_at=last,
        tenant_id=tenant,
        user_id=user,
        status="expired",
        left_out=left_out,
    )


def _messages(connection: Source, table: _Table, session: str, reader: MessageReader) -> Iterator[NewMessage]:
    after = -1
    while rows := fetch(connection, table.messages, {"session": session, "after": after}):
        for row, stored, at in rows:
            message = reader.read(stored, row=row, at=_aware(at))
            if message is not None:
                yield message
        after = rows[-1][0]


def _aware(at: datetime | None) -> datetime | None:
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)
