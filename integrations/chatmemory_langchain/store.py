"""A LangGraph BaseStore on chatmemory's items."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
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
    TTLConfig,
)

from chatmemory import AsyncTenant, InvalidInputError, NewItem, Tenant
from chatmemory import Item as StoredItem
from chatmemory_langchain.messages import json_equivalent
from chatmemory_langchain.store_index import Embedded, StoreIndex, StoreIndexConfig, texts_at
from chatmemory_langchain.sweeper import AsyncSweeper, Sweeper
from chatmemory_langchain.sync_or_async import check_tenant, sync_tenant

SWEEP_MINUTES = 5.0  # as LangGraph's Postgres store
MOST_MINUTES = 365 * 24 * 60
NOTHING_EMBEDDED = Embedded({}, {})


class ChatMemoryStore(BaseStore):
    """A LangGraph BaseStore over one tenant's items: for `create_agent(store=…)`, `compile(store=…)`, LangMem's tools.

    The store is bound to a tenant by the app, and the database lets it see nothing else. The app also sets
    the position of the user in a namespace: with user_at=1, ("memories", "ann") and below belong to ann, so that
    `tenant.users.export("ann")` includes them and `tenant.users.erase("ann")` removes them; shorter namespaces belong
    to no single user. The graph decides which namespaces it uses, as with every store: take the user from the runtime
    context and not from the model. user_at must not change while there are items.

    Each value is stored as JSON, is returned unchanged (tuples as lists, pydantic models as dicts) and is durable when
    put() returns. Each operation costs one transaction, a read that refreshes a second one, and all puts of a batch()
    together one; a search reads the items of the user in its namespace, or of the tenant if there is none. As in
    LangGraph's InMemoryStore, the reads of a batch see the state before its puts. With an AsyncTenant the async methods
    are native, and the sync ones raise ConfigurationError; with a Tenant the sync methods are native, and the async
    ones run them in a thread.

    search() with a query ranks by words: items that share words with it come first, with a score, then the others;
    `index=[…]` of put() limits the fields that are searched, `index=False` excludes the item. With an `index` of the
    store it ranks by meaning: items with vectors come first, the nearest vector of each counts, then the others.

    An item with a TTL is shown to nobody once it has expired; the memory's clean-up, sweep_ttl() or a sweeper removes
    it. A read begins its time anew unless `refresh_ttl=False` or the `refresh_on_read` of the store says otherwise.

    Args:
        tenant: The items' tenant, as returned by memory.tenant(id).
        user_at: Index of the user in a namespace, 0 or more; None: items belong to no single user.
        index: LangGraph's IndexConfig (dims, embed, fields), with distance_type and the model's name; needs pgvector.
            None: no vectors.
        ttl: LangGraph's TTLConfig: default_ttl and sweep_interval_minutes in minutes, refresh_on_read; expired items
            are omitted whatever omit_expired says. None: only items that are put with a TTL expire.

    Raises:
        ConfigurationError: tenant is neither a Tenant nor an AsyncTenant, or index cannot be used.
        InvalidInputError: default_ttl is no number of minutes.
    """

    supports_ttl = True

    def __init__(
        self,
        tenant: Tenant | AsyncTenant,
        *,
        user_at: int | None,
        index: StoreIndexConfig | None = None,
        ttl: TTLConfig | None = None,
    ) -> None:
        check_tenant(tenant, "ChatMemoryStore")
        self._tenant = tenant
        self._user_at = user_at
        self.index_config, self._index = index, None if index is None else StoreIndex(index)
        self.embeddings = self._index and self._index.embeddings
        self.ttl_config = ttl
        _lifetime(ttl.get("default_ttl") if ttl else None)
        self._sweeper: Sweeper | None = None
        self._async_sweeper: AsyncSweeper | None = None

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations: first the reads, then the puts and deletions together."""
        items = sync_tenant(self._tenant, "ChatMemoryStore").items
        operations = _checked_operations(ops)
        embedded = self._index.embed(operations) if self._index else NOTHING_EMBEDDED
        results: list[Result] = [None] * len(operations)
        for number, op in enumerate(operations):
            if isinstance(op, GetOp):
                results[number] = _to_item(items.get(op.namespace, op.key, refresh=op.refresh_ttl))
            elif isinstance(op, SearchOp):
                found = items.search(op.namespace_prefix, **self._search_arguments(op, embedded.queries.get(number)))
                results[number] = list(map(_to_search_item, found))
            elif isinstance(op, ListNamespacesOp):
                results[number] = _matching_namespaces(op, items.namespaces(user_id=self._user_of(op)))
        items.put_many(self._new_items(operations, embedded))
        return results

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Run operations: first the reads, then the puts and deletions together."""
        if isinstance(self._tenant, Tenant):
            return await run_in_executor(None, self.batch, ops)
        items = self._tenant.items
        operations = _checked_operations(ops)
        embedded = await self._index.aembed(operations) if self._index else NOTHING_EMBEDDED
        results: list[Result] = [None] * len(operations)
        for number, op in enumerate(operations):
            if isinstance(op, GetOp):
                results[number] = _to_item(await items.get(op.namespace, op.key, refresh=op.refresh_ttl))
            elif isinstance(op, SearchOp):
                arguments = self._search_arguments(op, embedded.queries.get(number))
                results[number] = list(map(_to_search_item, await items.search(op.namespace_prefix, **arguments)))
            elif isinstance(op, ListNamespacesOp):
                results[number] = _matching_namespaces(op, await items.namespaces(user_id=self._user_of(op)))
        await items.put_many(self._new_items(operations, embedded))
        return results

    def sweep_ttl(self) -> int:
        """Remove the tenant's expired items now, and return how many."""
        return sync_tenant(self._tenant, "ChatMemoryStore").items.sweep()

    async def asweep_ttl(self) -> int:
        """Remove the tenant's expired items now, and return how many."""
        if isinstance(self._tenant, Tenant):
            return await run_in_executor(None, self.sweep_ttl)
        return await self._tenant.items.sweep()

    def start_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> None:
        """Remove the tenant's expired items at intervals, in a thread, until stop_ttl_sweeper().

        Without it, they are removed by the clean-up, every cleanup_interval_hours.

        Args:
            sweep_interval_minutes: The interval; None: that of the store's ttl, or 5.
        """
        sync_tenant(self._tenant, "ChatMemoryStore")
        if self._sweeper is None:
            self._sweeper = Sweeper(self.sweep_ttl, self._interval(sweep_interval_minutes))

    def stop_ttl_sweeper(self, timeout: float | None = None) -> bool:
        """Stop the thread after the sweep in progress; return whether it has ended within `timeout` seconds."""
        if self._sweeper is None or self._sweeper.stop(timeout):
            self._sweeper = None
        return self._sweeper is None

    async def astart_ttl_sweeper(self, sweep_interval_minutes: float | None = None) -> None:
        """Remove the tenant's expired items at intervals, in a task of this loop, until astop_ttl_sweeper().

        Args:
            sweep_interval_minutes: The interval; None: that of the store's ttl, or 5.
        """
        if self._async_sweeper is None:
            self._async_sweeper = AsyncSweeper(self.asweep_ttl, self._interval(sweep_interval_minutes))

    async def astop_ttl_sweeper(self) -> None:
        """Stop the task after the sweep in progress."""
        if self._async_sweeper is not None:
            await self._async_sweeper.stop()
            self._async_sweeper = None

    def _interval(self, minutes: float | None) -> float:
        configured = self.ttl_config.get("sweep_interval_minutes") if self.ttl_config else None
        given = next((each for each in (minutes, configured) if each is not None), SWEEP_MINUTES)
        if not isinstance(given, (int, float)) or not 0 < given < MOST_MINUTES:
            raise InvalidInputError(f"sweep_interval_minutes is {given!r}; use more than 0, and less than a year.")
        return 60 * given

    def _search_arguments(self, op: SearchOp, vector: list[float] | None) -> dict[str, Any]:
        arguments: dict[str, Any] = {"query": op.query}
        if vector is not None and self._index is not None:
            arguments = {"vector": vector, "model": self._index.model, "distance": self._index.distance}
        return arguments | {
            "filter": op.filter, "limit": op.limit, "offset": op.offset, "refresh": op.refresh_ttl,
            "user_id": self._user_in(op.namespace_prefix),
        }  # fmt: skip

    def _new_items(self, operations: Sequence[Op], embedded: Embedded) -> list[NewItem]:
        model = self._index.model if self._index else ""
        return [
            NewItem(
                op.namespace,
                op.key,
                json_equivalent(op.value),
                user_id=self._user_in(op.namespace),
                text=_search_text(op),
                ttl=_lifetime(op.ttl),
                vectors=embedded.items.get(number, ()),
                model=model,
            )
            for number, op in enumerate(operations)
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
    """Return the text whose words an item is found by; None: its whole value."""
    return None if op.value is None or op.index is None else "\n".join(texts_at(op, op.index))


def _lifetime(minutes: float | None) -> timedelta | None:
    try:
        return None if minutes is None else timedelta(minutes=minutes)
    except (TypeError, ValueError, OverflowError):
        raise InvalidInputError("a TTL must be a number of minutes.") from None


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
