# Generated from chatmemory/_async/items.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""One tenant's items: what an app keeps under namespaces and keys."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, LiteralString

from chatmemory._public import public
from chatmemory._sync.shared import Shared
from chatmemory._sync.storage.transaction import Row, Statement
from chatmemory.errors import InvalidInputError, StorageUnavailableError
from chatmemory.items.records import (
    Item,
    NewItem,
    check_filter,
    check_namespace,
    checked,
    item_from_row,
    keeps,
    place_of,
    words_of,
)
from chatmemory.items.vectors import DISTANCES, Distance, checked_vector, vector_rows
from chatmemory.paging import check_page
from chatmemory.records import JsonObject, Page, to_json
from chatmemory.storage import queries
from chatmemory.validation import check_choice, check_duration, check_id, check_text

PAGE = 500  # items that a filter looks at in one go
SWEEP_BATCH = 1000

LOG = logging.getLogger("chatmemory")


@public
class Items:
    """JSON objects that an app stores under namespaces and keys."""

    def __init__(self, tenant_id: str, parts: Shared) -> None:
        self._tenant_id = tenant_id
        self._database, self._settings, self._pgvector = parts.database, parts.settings, parts.pgvector

    def put(
        self,
        namespace: Sequence[str],
        key: str,
        value: Mapping[str, Any],
        *,
        user_id: object = None,
        text: str | None = None,
        ttl: timedelta | None = None,
        vectors: Sequence[Sequence[float]] = (),
        model: str = "",
    ) -> None:
        """Keep a value; one that stands there already is replaced, with all that was given with it.

        Args:
            namespace: Where, from the widest to the narrowest.
            key: Under which key, unique in its namespace.
            value: A JSON object.
            user_id: Whose it is: users.export() has it, and users.erase() removes it. None: of no single user.
            text: The words it is found by; None: all strings in the value, "": none.
            ttl: How long after this, and after each read that refreshes it, the item expires; None: never.
            vectors: Its vectors, of which the one nearest to the vector of a search counts.
            model: The name of the model that made the vectors; only vectors of one model are compared.

        Raises:
            InvalidInputError: It cannot be stored as it is.
            ConfigurationError: There are vectors, and Postgres has no pgvector.
        """
        if value is None:
            raise InvalidInputError("value must be a mapping, not None; use delete() to remove an item.")
        self.put_many([NewItem(namespace, key, value, user_id, text, ttl, vectors, model)])

    def put_many(self, items: Iterable[NewItem]) -> None:
        """Put and delete items, all or none, in one transaction; of two under one key the last counts.

        Raises:
            InvalidInputError: One cannot be stored as it is; nothing was written.
            ConfigurationError: There are vectors, and Postgres has no pgvector; nothing was written.
        """
        new = checked(items)
        if not new:
            return
        put = [(place, item) for place, item in new.items() if item.value is not None]
        vectors = vector_rows(put)
        statements = [self._put(*place, item) for place, item in new.items()]
        if put:
            paths, keys = zip(*(place for place, _ in put), strict=True)
            statements.append((queries.items.DROP_VECTORS, (self._tenant_id, list(paths), list(keys))))
        if vectors:
            self._check_pgvector()
            statements.append((queries.items.ADD_VECTORS, (self._tenant_id, to_json(vectors))))
        self._database.run(self._tenant_id, *statements)

    def _put(self, path: str, key: str, item: NewItem) -> Statement:
        if item.value is None:
            return queries.items.DELETE_ITEM, (self._tenant_id, path, key)
        return queries.items.PUT_ITEM, {
            "tenant": self._tenant_id, "path": path, "key": key,
            "user_id": "" if item.user_id is None else check_id(item.user_id, "user_id"),
            "namespace": list(item.namespace), "value": to_json(dict(item.value)),
            "language": self._settings.language, "text": words_of(item),
            "ttl": None if item.ttl is None else check_duration(item.ttl, "ttl"),
        }  # fmt: skip

    def _check_pgvector(self) -> None:
        self._pgvector.check("Items have vectors", "put and search them without")

    def get(self, namespace: Sequence[str], key: str, *, refresh: bool = False) -> Item | None:
        """Return the item under this very namespace and key; None: there is none.

        Args:
            namespace: Its namespace.
            key: Its key.
            refresh: Whether its time to live, if it has one, begins anew.
        """
        place = place_of(namespace, key)
        rows = self._database.fetch(self._tenant_id, queries.items.GET_ITEM, (place.path, place.key))
        item = item_from_row(rows[0]) if rows else None
        if refresh and item:
            self._refresh([item])
        return item

    def _refresh(self, items: Sequence[Item]) -> None:
        """Begin the time to live anew of those that have one; what was read is returned even if that fails."""
        places = [place_of(item.namespace, item.key) for item in items if item.expires_at is not None]
        if not places:
            return
        params = ([place.path for place in places], [place.key for place in places])
        try:
            self._database.run(self._tenant_id, (queries.items.REFRESH_ITEMS, params))
        except StorageUnavailableError as error:
            LOG.warning("the time to live of %s items that were read goes on: %s", len(places), error)

    def delete(self, namespace: Sequence[str], key: str) -> None:
        """Remove an item for good, if there is one."""
        self.put_many([NewItem(namespace, key, None)])

    def search(
        self,
        prefix: Sequence[str] = (),
        *,
        query: str | None = None,
        vector: Sequence[float] | None = None,
        model: str = "",
        distance: Distance = "cosine",
        filter: Mapping[str, Any] | None = None,
        user_id: object = None,
        limit: int = 10,
        offset: int = 0,
        cursor: str | None = None,
        refresh: bool = False,
    ) -> Page[Item]:
        """List the items in a namespace and below it by page, the newest first.

        Args:
            prefix: The namespace; (): everywhere.
            query: Those that share words with it stand first, the best first; the others follow.
            vector: Those with vectors of the model stand first, the nearest first; the others follow.
            model: The name of the model that made the vector.
            distance: How near is measured: the score is the cosine, the inner product, or 0 minus the distance (l2).
            filter: What a value must have: {"color": "red", "size": {"$gte": 3}}, with $eq, $ne, $gt, $gte, $lt, $lte,
                and $and and $or with lists of filters.
            user_id: Only this user's, which is also what makes it fast in a tenant with many.
            limit: How many at most.
            offset: How many to skip, at most 10,000.
            cursor: `next` of the page before; not with a query or a vector, which sort otherwise. None: the first page.
            refresh: Whether the time to live of the items on the page, if they have one, begins anew.

        Returns:
            The page. With its `next` as cursor, the same call returns the page after it; None: it is the last, or
            there is a query or a vector.

        Raises:
            InvalidInputError: A value cannot be used, or the cursor belongs to another list.
            ConfigurationError: There is a vector, and Postgres has no pgvector.
        """
        check_text("" if query is None else query, "query")
        if query and vector is not None:
            raise InvalidInputError("items are sorted by a query or by a vector; give one of them.")
        ranked = bool(query) or vector is not None
        if ranked and cursor is not None:
            raise InvalidInputError("items that are sorted by a query or a vector have no cursor; give an offset.")
        check_filter({} if filter is None else filter)
        params: JsonObject = {
            "prefix": check_namespace(prefix), "query": query or "", "language": self._settings.language,
            "user_id": None if user_id is None else check_id(user_id, "user_id"), "tenant": self._tenant_id,
        }  # fmt: skip
        request = check_page(
            "items", {**params, "filter": filter and dict(filter)}, limit, offset, cursor, numbered=True
        )
        which = {"of_user": user_id is not None, "below": bool(prefix)}
        if vector is not None:
            statement = queries.items.near_items(**which)
            params |= self._nearness(vector, model, distance)
        elif query:
            statement = queries.items.find_items(**which)
        else:
            statement = queries.items.list_items(**which, after=request.after is not None)
        params |= request.params
        rows = self._kept(statement, params, filter) if filter else self._fetch(statement, params)
        page = request.page(rows, lambda row: item_from_row(row[:-1]), lambda row: int(row[-1]))
        if refresh:
            self._refresh(page.items)
        return replace(page, next=None) if ranked else page

    def _nearness(self, vector: Sequence[float], model: str, distance: Distance) -> JsonObject:
        check_text(model, "model")
        params: JsonObject = {
            "vector": checked_vector(vector, "vector"), "model": model,
            "distance": check_choice(distance, "distance", DISTANCES),
        }  # fmt: skip
        self._check_pgvector()
        return params

    def _fetch(self, statement: LiteralString, params: JsonObject) -> list[Row]:
        return self._database.fetch(self._tenant_id, statement, params)

    def _kept(self, statement: LiteralString, params: JsonObject, filter: Mapping[str, Any]) -> list[Row]:
        """Return the rows of a page whose values a filter keeps."""
        found: list[Row] = []
        wanted = params["offset"] + params["limit"]
        with (
            self._database.transaction(self._tenant_id) as transaction,
            transaction.cursor("items") as cursor,
        ):
            cursor.execute(statement, {**params, "limit": None, "offset": 0})
            while len(found) < wanted and (rows := cursor.fetchmany(PAGE)):
                found += [row for row in rows if keeps(filter, item_from_row(row[:-1]).value)]
        return found[params["offset"] : wanted]

    def namespaces(self, *, user_id: object = None) -> list[tuple[str, ...]]:
        """All namespaces that hold items, sorted.

        Args:
            user_id: Only those that hold this user's.
        """
        params = {"user_id": None if user_id is None else check_id(user_id, "user_id")}
        rows = self._database.fetch(self._tenant_id, queries.items.NAMESPACES, params)
        return sorted(tuple(namespace) for (namespace,) in rows)

    def sweep(self) -> int:
        """Remove the items that have expired now, and return how many; the clean-up does it in all tenants."""
        removed = 0
        while True:
            params = (self._tenant_id, SWEEP_BATCH)
            [(more,)] = self._database.call(queries.items.SWEEP_ITEMS, params, patient=True)
            removed += int(more)
            if more < SWEEP_BATCH:
                return removed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of tenant {self._tenant_id!r}>"
