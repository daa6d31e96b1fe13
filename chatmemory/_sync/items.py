# Generated from chatmemory/_async/items.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""One tenant's items: what an app keeps under namespaces and keys."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from chatmemory._public import public
from chatmemory._sync.shared import Parts
from chatmemory.errors import InvalidInputError
from chatmemory.items.records import Item, NewItem, check_namespace, checked, item_from_row, keeps, place_of, words_of
from chatmemory.records import to_json
from chatmemory.storage import queries
from chatmemory.validation import check_count, check_id, check_object, check_text

PAGE = 500  # items that a filter looks at in one go


@public
class Items:
    """What an app keeps of its own, as JSON objects under namespaces and keys."""

    def __init__(self, tenant_id: str, parts: Parts) -> None:
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
        with self._database.transaction(self._tenant_id) as connection:
            for (path, key), item in new.items():
                if item.value is None:
                    connection.execute(queries.items.DELETE_ITEM, (self._tenant_id, path, key))
                    continue
                user = "" if item.user_id is None else check_id(item.user_id, "user_id")
                kept = (list(item.namespace), to_json(dict(item.value)), self._settings.language, words_of(item))
                connection.execute(queries.items.PUT_ITEM, (self._tenant_id, path, key, user, *kept))

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
    ) -> list[Item]:
        """The items in a namespace and below it, the newest first.

        Args:
            prefix: The namespace; (): everywhere.
            query: Those that share words with it stand first, the best first; the others follow.
            filter: What a value must have: {"color": "red", "size": {"$gte": 3}}, with $eq, $ne, $gt, $gte, $lt, $lte.
            user_id: Only this user's, which is also what makes it fast in a tenant with many.
            limit: How many at most.
            offset: How many to pass over.

        Raises:
            InvalidInputError: A value cannot be used.
        """
        check_text(query or "", "query")
        check_object(filter, "filter")
        found: list[Item] = []
        params = {
            "prefix": check_namespace(prefix), "query": query or "", "language": self._settings.language,
            "user_id": None if user_id is None else check_id(user_id, "user_id"),
        }  # fmt: skip
        skip, wanted = check_count(offset, "offset"), check_count(limit, "limit")
        if not filter:
            rows = self._database.fetch(
                self._tenant_id, queries.items.FIND_ITEMS, {**params, "limit": wanted, "offset": skip}
            )
            return list(map(item_from_row, rows))
        with (
            self._database.transaction(self._tenant_id) as connection,
            connection.cursor("items") as cursor,
        ):
            cursor.execute(queries.items.FIND_ITEMS, {**params, "limit": None, "offset": 0})
            while len(found) < skip + wanted and (rows := cursor.fetchmany(PAGE)):
                found += [item for item in map(item_from_row, rows) if keeps(filter, item.value)]
        return found[skip : skip + wanted]

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
