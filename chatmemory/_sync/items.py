# Generated from chatmemory/_async/items.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""One tenant's items: what an app keeps under namespaces and keys."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, LiteralString

from chatmemory._public import public
from chatmemory._sync.shared import Shared
from chatmemory._sync.storage.transaction import Row, Statement
from chatmemory.errors import InvalidInputError
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
from chatmemory.paging import check_page
from chatmemory.records import JsonObject, Page, to_json
from chatmemory.storage import queries
from chatmemory.validation import check_id, check_text

PAGE = 500  # items that a filter looks at in one go


@public
class Items:
    """JSON objects that an app stores under namespaces and keys."""

    def __init__(self, tenant_id: str, parts: Shared) -> None:
        self._tenant_id = tenant_id
        self._database, self._settings = parts.database, parts.settings

    def put(
        self,
        namespace: Sequence[str],
        key: str,
        value: Mapping[str, Any],
        *,
        user_id: object = None,
        text: str | None = None,
    ) -> None:
        """Keep a value; one that stands there already is replaced.

        Args:
            namespace: Where, from the widest to the narrowest.
            key: Under which key, unique in its namespace.
            value: A JSON object.
            user_id: Whose it is: users.export() has it, and users.erase() removes it. None: of no single user.
            text: The words it is found by; None: all strings in the value, "": none.

        Raises:
            InvalidInputError: It cannot be stored as it is.
        """
        if value is None:
            raise InvalidInputError("value must be a mapping, not None; use delete() to remove an item.")
        self.put_many([NewItem(namespace, key, value, user_id, text)])

    def put_many(self, items: Iterable[NewItem]) -> None:
        """Put and delete items, all or none, in one transaction; of two under one key the last counts.

        Raises:
            InvalidInputError: One cannot be stored as it is; nothing was written.
        """
        new = checked(items)
        if not new:
            return
        self._database.run(self._tenant_id, *(self._put(*place, item) for place, item in new.items()))

    def _put(self, path: str, key: str, item: NewItem) -> Statement:
        if item.value is None:
            return queries.items.DELETE_ITEM, (self._tenant_id, path, key)
        user = "" if item.user_id is None else check_id(item.user_id, "user_id")
        stored = (list(item.namespace), to_json(dict(item.value)), self._settings.language, words_of(item))
        return queries.items.PUT_ITEM, (self._tenant_id, path, key, user, *stored)

    def get(self, namespace: Sequence[str], key: str) -> Item | None:
        """The item under this very namespace and key; None: there is none."""
        place = place_of(namespace, key)
        rows = self._database.fetch(self._tenant_id, queries.items.GET_ITEM, (place.path, place.key))
        return item_from_row(rows[0]) if rows else None

    def delete(self, namespace: Sequence[str], key: str) -> None:
        """Remove an item for good, if there is one."""
        self.put_many([NewItem(namespace, key, None)])

    def search(
        self,
        prefix: Sequence[str] = (),
        *,
        query: str | None = None,
        filter: Mapping[str, Any] | None = None,
        user_id: object = None,
        limit: int = 10,
        offset: int = 0,
        cursor: str | None = None,
    ) -> Page[Item]:
        """List the items in a namespace and below it by page, the newest first.

        Args:
            prefix: The namespace; (): everywhere.
            query: Those that share words with it stand first, the best first; the others follow.
            filter: What a value must have: {"color": "red", "size": {"$gte": 3}}, with $eq, $ne, $gt, $gte, $lt, $lte,
                and $and and $or with lists of filters.
            user_id: Only this user's, which is also what makes it fast in a tenant with many.
            limit: How many at most.
            offset: How many to skip, at most 10,000.
            cursor: `next` of the page before; not with a query, which sorts otherwise. None: the first page.

        Returns:
            The page. With its `next` as cursor, the same call returns the page after it; None: it is the last, or
            there is a query.

        Raises:
            InvalidInputError: A value cannot be used, or the cursor belongs to another list.
        """
        check_text("" if query is None else query, "query")
        if query and cursor is not None:
            raise InvalidInputError("items that are sorted by a query have no cursor; give an offset.")
        check_filter({} if filter is None else filter)
        params = {
            "prefix": check_namespace(prefix), "query": query or "", "language": self._settings.language,
            "user_id": None if user_id is None else check_id(user_id, "user_id"),
        }  # fmt: skip
        scope = {**params, "filter": filter and dict(filter), "tenant": self._tenant_id}
        request = check_page("items", scope, limit, offset, cursor, numbered=True)
        which = {"of_user": user_id is not None, "below": bool(prefix)}
        if query:
            statement = queries.items.find_items(**which)
        else:
            statement = queries.items.list_items(**which, after=request.after is not None)
        params |= request.params
        rows = self._kept(statement, params, filter) if filter else self._fetch(statement, params)
        page = request.page(rows, lambda row: item_from_row(row[:-1]), lambda row: int(row[-1]))
        return replace(page, next=None) if query else page

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

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of tenant {self._tenant_id!r}>"
