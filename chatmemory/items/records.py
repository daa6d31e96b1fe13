"""Items under namespaces and keys, as frozen records, and which of them a filter keeps."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, NamedTuple

from chatmemory._public import public
from chatmemory.errors import InvalidInputError
from chatmemory.json_form import Record
from chatmemory.records import JsonObject, to_json
from chatmemory.validation import check_id, check_list, check_object, check_text

MOST_PLACE_BYTES = 2000  # of a namespace and a key; a row of Postgres' index has 2704, and the tenant is in it too
OPERATORS = {
    "$gt": lambda one, other: one > other,
    "$gte": lambda one, other: one >= other,
    "$lt": lambda one, other: one < other,
    "$lte": lambda one, other: one <= other,
}


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Item(Record):
    """Something an app keeps under a namespace and a key.

    Attributes:
        namespace: Where it stands, from the widest to the narrowest.
        key: Unique in its namespace.
        value: A JSON object.
        user_id: Whose it is; None: of no single user.
        created_at: When it was put first.
        updated_at: When it was put last.
        score: How well it answers a query by its words, above 0; None: it shares none, or nothing was asked.
    """

    namespace: tuple[str, ...]
    key: str
    value: JsonObject
    user_id: str | None
    created_at: datetime
    updated_at: datetime
    score: float | None = None


@public
@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to put; with None as its value, one to delete.

    Attributes:
        namespace: Where it is to stand, from the widest to the narrowest.
        key: Unique in its namespace.
        value: A JSON object, or None.
        user_id: Whose it is; None: of no single user.
        text: The words it is found by; None: all strings in the value, "": none.
    """

    namespace: Sequence[str]
    key: str
    value: Mapping[str, Any] | None
    user_id: object = None
    text: str | None = None


class Place(NamedTuple):
    """Where an item stands, checked."""

    namespace: list[str]
    path: str
    key: str


ITEM_COLUMNS = tuple(field.name for field in fields(Item))


def item_from_row(row: Sequence[Any]) -> Item:
    """Build an item from ITEM_COLUMNS in their order."""
    values = dict(zip(ITEM_COLUMNS, row, strict=True))
    return Item(**{**values, "namespace": tuple(values["namespace"])})


def check_namespace(namespace: Sequence[str]) -> list[str]:
    """The namespace as a list; refuse what is none."""
    labels = check_list(namespace, "namespace")
    if not all(isinstance(label, str) and label for label in labels):
        raise InvalidInputError("a namespace must be a tuple of strings that are not empty.")
    for label in labels:
        check_text(label, "namespace")
    return labels


def place_of(namespace: Sequence[str], key: str) -> Place:
    """Where an item stands."""
    labels = check_namespace(namespace)
    check_text(key, "key")
    return Place(labels, to_json(labels), key)


def _check_size(place: Place) -> None:
    size = len(place.path.encode()) + len(place.key.encode())
    if size > MOST_PLACE_BYTES:
        raise InvalidInputError(
            f"namespace and key have {size} bytes; at most {MOST_PLACE_BYTES} are allowed: shorten the key, or hash it."
        )


def checked(items: Iterable[NewItem]) -> dict[tuple[str, str], NewItem]:
    """Items by path and key, in this order, the last of each; refuse what cannot be stored."""
    found = {}
    for item in check_list(items, "items"):
        if not isinstance(item, NewItem):
            raise InvalidInputError(f"an item must be a NewItem, not {type(item).__name__}.")
        place = place_of(item.namespace, item.key)
        if item.value is not None:
            _check_size(place)
            check_object(item.value, "value")
        check_text(item.text or "", "text")
        if item.user_id is not None:
            check_id(item.user_id, "user_id")
        found[place.path, place.key] = item
    return dict(sorted(found.items()))  # in one order, so that two writers do not wait for each other


def words_of(item: NewItem) -> str | None:
    """What an item is found by; None: not by words."""
    text = "\n".join(_strings(item.value)) if item.text is None else item.text
    return text[:200_000] or None


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


def keeps(filter: Mapping[str, Any] | None, value: Mapping[str, Any]) -> bool:
    """Whether a filter keeps a value.

    Raises:
        InvalidInputError: The filter has an operator that is none.
    """
    return all(_matches(value.get(key), wanted) for key, wanted in (filter or {}).items())


def _matches(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if any(str(key).startswith("$") for key in wanted):
            return all(_compares(value, operator, other) for operator, other in wanted.items())
        return isinstance(value, Mapping) and all(_matches(value.get(key), each) for key, each in wanted.items())
    if isinstance(wanted, (list, tuple)):
        return isinstance(value, list) and len(value) == len(wanted) and all(map(_matches, value, wanted))
    return bool(value == wanted)


def _compares(value: Any, operator: str, other: Any) -> bool:
    if operator in ("$eq", "$ne"):
        return (value == other) is (operator == "$eq")
    if operator not in OPERATORS:
        raise InvalidInputError(f"{operator!r} is no operator; use $eq, $ne, {', '.join(OPERATORS)}.")
    try:
        return bool(OPERATORS[operator](float(value), float(other)))
    except (TypeError, ValueError, OverflowError):
        return False
