"""Conversations in LangGraph's checkpoints in Postgres."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from chatmemory import ChatMemoryError, Conversation, NewMessage, RefusedConversation
from chatmemory.errors import missing_extra
from chatmemory_langchain import import_queries as queries
from chatmemory_langchain.import_connection import Source, connected, fetch, translated
from chatmemory_langchain.import_messages import MessageReader

NAME = "langgraph-postgres"


def langgraph_postgres_conversations(
    url: str, *, tenant_column: str | None = None, user_column: str | None = None
) -> Iterator[Conversation | RefusedConversation]:
    """Read the messages in the newest checkpoint of each thread of LangGraph's PostgresSaver.

    They are read in pieces, while they are iterated; one thread's checkpoint is in memory at a time. For
    Tenant.import_conversations().

    Args:
        url: The URL of the database.
        tenant_column: The key of the checkpoint's metadata with the tenant; a run's "configurable" is stored there.
        user_column: Likewise, with the user.

    Raises:
        MissingExtraError: langgraph-checkpoint-postgres is not installed.
        ConfigurationError: The source cannot be reached, or has no checkpoints.
        StorageUnavailableError: The source stopped answering.
    """
    try:
        from langgraph.checkpoint.postgres import PostgresSaver
    except ImportError as error:
        needed, extra = "langgraph-checkpoint-postgres", "langgraph-postgres"
        raise missing_extra("An import from langgraph-postgres", needed, extra) from error
    with connected(url) as connection:
        saver = PostgresSaver(connection)
        after = ""
        while threads := fetch(connection, queries.THREADS, {"after": after}):
            for [thread] in threads:
                yield _conversation(connection, saver, thread, (tenant_column, user_column))
            after = threads[-1][0]


def _conversation(
    connection: Source, saver: Any, thread: str, columns: tuple[str | None, str | None]
) -> Conversation | RefusedConversation:
    began = [row[0] for row in fetch(connection, queries.BEGINNING, {"thread": thread})]
    found = _newest(saver, thread)
    if isinstance(found, RefusedConversation):
        return found
    last = _time(found.checkpoint.get("ts"))
    tenant, user = (_text(found.metadata.get(column)) if column else None for column in columns)
    left_out: dict[str, int] = {}
    messages = found.checkpoint["channel_values"].get("messages")
    if not isinstance(messages, list):
        return RefusedConversation(thread, 'its newest checkpoint has no list of "messages"')
    return Conversation(
        id=thread,
        source=NAME,
        origin={"from": NAME, "id": thread, "checkpoint": found.checkpoint["id"]},
        messages=_messages(messages, last, MessageReader(left_out)),
        created_at=_time(next(iter(began), None)),
        last_active_at=last,
        tenant_id=tenant,
        user_id=user,
        status="expired",
        left_out=left_out,
    )


def _newest(saver: Any, thread: str) -> Any:
    """Return the newest checkpoint of a thread, whose objects may need the app's own classes or keys."""
    try:
        with translated():
            found = saver.get_tuple({"configurable": {"thread_id": thread}})
    except ChatMemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever the stored objects raise when they are restored
        return RefusedConversation(thread, f"its checkpoint cannot be restored: {type(error).__name__}")
    return found or RefusedConversation(thread, "its checkpoint is gone")


def _messages(stored: list[Any], at: datetime | None, reader: MessageReader) -> Iterator[NewMessage]:
    for each in stored:
        message = reader.read(each, at=at)
        if message is not None:
            yield message


def _time(text: object) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
