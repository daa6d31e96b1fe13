"""`import --from`: import the conversations of another library's store."""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from chatmemory.cli.import_summary import Summary, after_failure, show
from chatmemory.cli.options import memory_on

if TYPE_CHECKING:
    from chatmemory import ChatMemory, Conversation, ImportedConversation, RefusedConversation

GROUPS = ("tenant", "user", "session")


class StoreName(StrEnum):
    """The stores that can be imported."""

    langchain_postgres = "langchain-postgres"
    langchain_redis = "langchain-redis"
    langgraph_postgres = "langgraph-postgres"
    openai_agents_sqlite = "openai-agents-sqlite"


class _Store(NamedTuple):
    package: str
    reader: str
    options: tuple[str, ...]


_STORES = {
    StoreName.langchain_postgres: _Store(
        "chatmemory_langchain", "langchain_postgres_conversations", ("table", "tenant_column", "user_column")
    ),
    StoreName.langchain_redis: _Store("chatmemory_langchain", "langchain_redis_conversations", ("prefix",)),
    StoreName.langgraph_postgres: _Store(
        "chatmemory_langchain", "langgraph_postgres_conversations", ("tenant_column", "user_column")
    ),
    StoreName.openai_agents_sqlite: _Store("chatmemory_openai_agents", "agents_sqlite_conversations", ("table",)),
}


@dataclass(frozen=True)
class Mapping:
    """The rules that find the tenant, the user and the session of a conversation.

    Attributes:
        tenant: The tenant, where neither the id nor a column names one.
        user: The user, likewise; None: such a conversation is refused.
        ids: A regular expression for whole session ids, with groups named tenant, user and session.
        tenant_column: The column of the tenant.
        user_column: The column of the user.
    """

    tenant: str
    user: str | None
    ids: str | None
    tenant_column: str | None
    user_column: str | None

    def check(self) -> re.Pattern[str] | None:
        """Return the expression; a mistake in the options is wrong usage."""
        try:
            pattern = None if self.ids is None else re.compile(self.ids)
        except re.error as error:
            raise typer.BadParameter(f"--ids is no regular expression: {error}.") from None
        groups = set() if pattern is None else set(pattern.groupindex)
        if pattern is not None and (not groups or groups - set(GROUPS)):
            raise typer.BadParameter("--ids needs groups named tenant, user or session, such as (?P<user>[^:]+).")
        if self.user is None and self.user_column is None and "user" not in groups:
            raise typer.BadParameter("nothing names the users; give --user, --user-column, or --ids with a group user.")
        return pattern

    def owned(
        self, conversation: "Conversation", pattern: re.Pattern[str] | None
    ) -> "Conversation | RefusedConversation":
        """Return a conversation with its tenant, its user and the id of its session."""
        from chatmemory import RefusedConversation

        match = None if pattern is None else pattern.fullmatch(conversation.id)
        if pattern is not None and match is None:
            return RefusedConversation(conversation.id, "its id does not match --ids")
        found = {} if match is None else match.groupdict()
        user = found.get("user") or conversation.user_id or self.user
        if user is None:
            return RefusedConversation(conversation.id, "nothing names its user; give --user for such conversations")
        return replace(
            conversation,
            id=found.get("session") or conversation.id,
            tenant_id=found.get("tenant") or conversation.tenant_id or self.tenant,
            user_id=user,
        )


def import_store(
    name: StoreName,
    urls: list[str],
    mapping: Mapping,
    options: dict[str, str | None],
    postgres: str | None,
    *,
    as_json: bool,
) -> None:
    """Import all conversations of a store, and show the results."""
    from chatmemory.errors import ChatMemoryError

    store = _STORES[name]
    given = {key: value for key, value in options.items() if value is not None}
    for key in given.keys() - set(store.options):
        raise typer.BadParameter(f"--{key.replace('_', '-')} means nothing for {name.value}.")
    if len(urls) != 1:
        raise typer.BadParameter("--from imports from one URL at a time.")
    pattern = mapping.check()
    summary = Summary()
    read = getattr(import_module(store.package), store.reader)
    try:
        with memory_on(postgres) as memory, closing(read(urls[0], **given)) as conversations:
            for result in _with_progress(_results(memory, conversations, mapping, pattern)):
                summary.add(result)
    except ChatMemoryError as error:
        show(summary, as_json, failed=True)
        raise type(error)(f"{error}{after_failure(summary.counts['imported'])}") from None
    show(summary, as_json)
    if summary.of("refused"):
        raise typer.Exit(1)


def _results(
    memory: "ChatMemory", conversations: Any, mapping: Mapping, pattern: re.Pattern[str] | None
) -> "Iterator[ImportedConversation]":
    from chatmemory import ImportedConversation, RefusedConversation

    for conversation in conversations:
        if not isinstance(conversation, RefusedConversation):
            conversation = mapping.owned(conversation, pattern)
        if isinstance(conversation, RefusedConversation):
            yield ImportedConversation(id=conversation.id, outcome="refused", reason=conversation.reason)
        else:
            yield _result(memory, conversation)


def _result(memory: "ChatMemory", conversation: "Conversation") -> "ImportedConversation":
    """Import one conversation into its tenant; an id that no tenant or user can have refuses it."""
    from chatmemory import ImportedConversation, InvalidInputError

    try:
        tenant = memory.tenant(conversation.tenant_id)
        [result] = tenant.import_conversations([conversation], user_id=conversation.user_id)
    except InvalidInputError as error:
        return ImportedConversation(id=conversation.id, outcome="refused", reason=str(error))
    return result


def _with_progress(results: "Iterator[ImportedConversation]") -> "Iterator[ImportedConversation]":
    """Yield the results, with their number on stderr."""
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from chatmemory.cli.terminal import stderr

    console = stderr()
    columns = (TextColumn("importing, conversations: {task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task("importing", total=None)
        for result in results:
            progress.advance(task)
            yield result
