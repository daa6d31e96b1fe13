"""Pages of lists, and the cursors that continue them. Pure.

A cursor is the sort key of a page's last item and a checksum over that and the list: its tenant, its filter and its
order. The checksum keeps a cursor from being used where it means nothing. It is no secret and protects nothing: what a
list may show is decided by its query and by row-level security.
"""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple, TypeVar

from chatmemory.errors import InvalidInputError
from chatmemory.records import JsonObject, Page
from chatmemory.validation import check_count, check_id

MAX_OFFSET = 10_000
CHECKSUM_BYTES = 12
LARGEST_NUMBER = 2**63 - 1

T = TypeVar("T")
Key = tuple[datetime, str] | int  # a time and an id, or a number


class PageRequest(NamedTuple):
    """One page of a list.

    Attributes:
        list: The list: its name, its tenant, its filter and its order, as JSON.
        limit: How many items the page holds at most.
        offset: How many items to skip.
        after: The sort key of the item before the page; None: the page is found by its offset.
    """

    list: str
    limit: int
    offset: int
    after: Key | None

    @property
    def params(self) -> JsonObject:
        """The parameters of the list's statement, which reads one item more: there is a next page if it exists."""
        at, id = self.after if isinstance(self.after, tuple) else (self.after, None)
        return {"limit": min(self.limit + 1, LARGEST_NUMBER), "offset": self.offset, "after": at, "after_id": id}

    def page(
        self,
        rows: Sequence[Any],
        item: Callable[[Any], T],
        key: Callable[[Any], Key],
        total: int | None = None,
        reached: Key | None = None,
    ) -> Page[T]:
        """Make the page.

        Args:
            rows: At most one more than the limit.
            item: Makes an item from a row.
            key: Returns the sort key of a row.
            total: How many items the list has.
            reached: The sort key up to which a search has looked; None: to the end.
        """
        shown = rows[: self.limit]
        last = key(shown[-1]) if shown and len(rows) > self.limit else reached
        following = None if last is None else _cursor(self.list, last)
        offset = self.offset if self.after is None else None
        return Page(tuple(map(item, shown)), self.limit, offset, following, total)


def check_page(
    name: str, filter: Mapping[str, Any], limit: object, offset: object, cursor: object, *, numbered: bool = False
) -> PageRequest:
    """Return the page that is asked for.

    Args:
        name: The list's.
        filter: All that decides which items the list has, and in which order: with the tenant.
        limit: How many items a page holds at most.
        offset: How many items to skip.
        cursor: `next` of the page before; None: the first page.
        numbered: Whether the list is sorted by a number, and not by a time and an id.

    Raises:
        InvalidInputError: The cursor belongs to another list, or the offset is too large.
    """
    of = json.dumps([name, filter], default=str, sort_keys=True)
    skipped = check_count(offset, "offset")
    if skipped > MAX_OFFSET:
        raise InvalidInputError(
            f"offset is {skipped}, and at most {MAX_OFFSET:,}; beyond that, give cursor=Page.next of the page before."
        )
    if cursor is not None and skipped:
        raise InvalidInputError("offset and cursor were both given; give one of them.")
    return PageRequest(of, check_count(limit, "limit"), skipped, None if cursor is None else _key(of, cursor, numbered))


def _cursor(list: str, key: Key) -> str:
    value = [key[0].isoformat(), key[1]] if isinstance(key, tuple) else key
    data = json.dumps(value).encode()
    return urlsafe_b64encode(_checksum(list, data) + data).decode().rstrip("=")


def _key(list: str, cursor: object, numbered: bool) -> Key:
    """Return the sort key in a cursor of this list."""
    try:
        raw = urlsafe_b64decode(f"{cursor}===") if isinstance(cursor, str) and len(cursor) < 1000 else b""
        data = raw[CHECKSUM_BYTES:]
        if not data or raw[:CHECKSUM_BYTES] != _checksum(list, data):
            raise ValueError
        value = json.loads(data)
        if numbered:
            return min(check_count(value, "cursor"), LARGEST_NUMBER)
        at = datetime.fromisoformat(value[0])
        at.astimezone()
        return at, check_id(value[1], "cursor")
    except (ValueError, TypeError, LookupError, OverflowError, InvalidInputError):
        raise InvalidInputError(
            "cursor is not one that this list has returned; give Page.next with the same tenant, filter and order, "
            "or begin again without a cursor."
        ) from None


def _checksum(list: str, data: bytes) -> bytes:
    return sha256(list.encode() + b"\0" + data).digest()[:CHECKSUM_BYTES]
