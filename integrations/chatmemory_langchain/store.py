"""A LangGraph BaseStore on chatmemory's items."""

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.runnables import run_in_executor
from langgraph.store.base import (
    BaseStore,
    GetOp,
    Item,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    Result,
    SearchItem,
    SearchOp,
)
from langgraph.store.base.embed import get_text_at_path, tokenize_path

from chatmemory import AsyncTenant, InvalidInputError, NewItem, Tenant
from chatmemory import Item as StoredItem
from chatmemory_langchain.messages import json_equivalent
from chatmemory_langchain.sync_or_async import check_tenant, sync_tenant


class ChatMemoryStore(BaseStore):
    """A LangGraph BaseStore over one tenant's items: for `create_agent(store=…)`, `compile(store=…)`, LangMem's tools.

    The store is bound to a tenant by the app, and the database lets it see nothing else. The app also sets
    the position of the user in a namespace: with user_at=1, ("memories", "ann") and below belong to ann, so that
    `tenant.users.export("ann")` includes them and `tenant.users.erase("ann")` removes them; shorter namespaces belong
    to no single user. The graph decides which namespaces it uses, as with every store: take the user from the runtime
    context and not from the model. user_at must not change while there are items.

    Each value is stored as JSON, is returned unchanged (tuples as lists, pydantic models as dicts) and is durable when
    put() returns. search() with a query ranks by words: items that share words with it come first, with a score, then
    the others; `index=[…]` limits the fields that are searched, `index=False` excludes the item. Each operation costs
    one transaction, all puts of a batch() together one; a search reads the items of the user in its namespace, or of
    the tenant if there is none. As in LangGraph's InMemoryStore, the reads of a batch see the state before its puts.
    There is no TTL. With an AsyncTenant the async methods are native,
    and the sync ones raise ConfigurationError; with a Tenant the sync methods are native, and the async ones run them
    in a thread.

    Args:
        tenant: The items' tenant, as returned by memory.tenant(id).
        user_at: Index of the user in a namespace, 0 or more; None: items belong to no single user.

    Raises:
        ConfigurationError: tenant is neither a Tenant nor an AsyncTenant.
    """

    def __init__(self, tenant: Tenant | AsyncTenant, *, user_at: int | None) -> None:
        check_tenant(tenant, "ChatMemoryStore")
        self._tenant = tenant
        self._user_at = user_at

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations: first the reads, then the puts and deletions together."""
        items = sync_tenant(self._tenant, "ChatMemoryStore").items
        operations = _checked_operations(ops)
        results: list[Result] = [None] * len(operations)
        for index, op in enumerate(operations):
            if isinstance(op, GetOp):
                results[index] = _to_item(items.get(op.namespace, op.key))
            elif isinstance(op, SearchOp):
                results[index] = list(
                    map(_to_search_item, items.search(op.namespace_prefix, **self._search_arguments(op)))
                )
            elif isinstance(op, ListNamespacesOp):
                results[index] = _matching_namespaces(op, items.namespaces(user_id=self._user_of(op)))
        items.put_many(self._new_items(operations))
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations: first the reads, then the puts and deletions together."""
        if isinstance(self._tenant, Tenant):
            return await run_in_executor(None, self.batch, ops)
        items = self._tenant.items
        operations = _checked_operations(ops)
        results: list[Result] = [None] * len(operations)
        for index, op in enumerate(operations):
            if isinstance(op, GetOp):
                results[index] = _to_item(await items.get(op.namespace, op.key))
            elif isinstance(op, SearchOp):
                results[index] = list(
                    map(_to_search_item, await items.search(op.namespace_prefix, **self._search_arguments(op)))
                )
            elif isinstance(op, ListNamespacesOp):
                results[index] = _matching_namespaces(op, await items.namespaces(user_id=self._user_of(op)))
        await items.put_many(self._new_items(operations))
        return results

    def _search_arguments(self, op: SearchOp) -> dict[str, Any]:
        user = self._user_in(op.namespace_prefix)
        return {"query": op.query, "filter": op.filter, "limit": op.limit, "offset": op.offset, "user_id": user}

    def _new_items(self, operations: Sequence[Op]) -> list[NewItem]:
        return [
            NewItem(op.namespace, op.key, json_equivalent(op.value), self._user_in(op.namespace), _search_text(op))
            for op in operations
            if isinstance(op, PutOp)
        ]

    def _user_in(self, namespace: Sequence[str]) -> str | None:
        at = self._user_at
        return namespace[at] if at is not None and at < len(namespace) else None

    def _user_of(self, op: ListNamespacesOp) -> str | None:
        """Return the user named by a prefix, if any."""
        for condition in op.match_conditions or ():
            user = self._user_in(condition.path) if condition.match_type == "prefix" else None
            if user not in (None, "*"):
                return user
        return None


def _checked_operations(ops: Iterable[Op]) -> list[Op]:
    operations = list(ops)
    for op in operations:
        if not isinstance(op, (GetOp, SearchOp, PutOp, ListNamespacesOp)):
            raise InvalidInputError(
                f"a {type(op).__name__} is not an operation; use GetOp, SearchOp, PutOp, ListNamespacesOp."
            )
    return operations


def _to_item(stored: StoredItem | None) -> Item | None:
    if stored is None:
        return None
    return Item(
        value=stored.value,
        key=stored.key,
        namespace=stored.namespace,
        created_at=stored.created_at,
        updated_at=stored.updated_at,
    )


def _to_search_item(stored: StoredItem) -> SearchItem:
    return SearchItem(
        stored.namespace, stored.key, stored.value, stored.created_at, stored.updated_at, score=stored.score
    )


def _search_text(op: PutOp) -> str | None:
    """Return the text that an item is searched by; None: its whole value."""
    if op.value is None or op.index is None:
        return None
    if op.index is False:
        return ""
    value = json_equivalent(op.value)
    return "\n".join(text for path in op.index for text in get_text_at_path(value, tokenize_path(path)))


def _matching_namespaces(op: ListNamespacesOp, namespaces: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    matching = [
        each for each in namespaces if all(_matches(condition, each) for condition in op.match_conditions or ())
    ]
    cut = matching if op.max_depth is None else sorted({each[: op.max_depth] for each in matching})
    return cut[op.offset : op.offset + op.limit]


def _matches(condition: MatchCondition, namespace: tuple[str, ...]) -> bool:
    path = condition.path
    if len(namespace) < len(path):
        return False
    part = namespace[: len(path)] if condition.match_type == "prefix" else namespace[len(namespace) - len(path) :]
    return all(wanted in ("*", label) for wanted, label in zip(path, part, strict=True))
