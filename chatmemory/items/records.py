"""Records of items under namespaces and keys, and filters on their values."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from chatmemory._public import public
from chatmemory.errors import InvalidInputError
from chatmemory.json_form import Record
from chatmemory.records import JsonObject, to_json
from chatmemory.validation import check_duration, check_id, check_list, check_object, check_text

MAX_PLACE_BYTES = 2000  # of a namespace and a key: an index row of Postgres has at most 2704 bytes, tenant included
OPERATORS = {
    "$gt": lambda one, other: one > other,
    "$gte": lambda one, other: one >= other,
    "$lt": lambda one, other: one < other,
    "$lte": lambda one, other: one <= other,
}
COMBINED: dict[str, Callable[[Iterable[object]], bool]] = {"$and": all, "$or": any}


@public
@dataclass(frozen=True, slots=True, kw_only=True)
class Item(Record):
    """A value that an app stores under a namespace and a key.

    Attributes:
        namespace: Its namespace, from the widest label to the narrowest.
        key: Unique in its namespace.
        value: A JSON object.
        user_id: The user it belongs to; None: no single user.
        created_at: When it was first stored.
        updated_at: When it was last stored.
        expires_at: When its time to live ends, as it was before this read; None: never.
        score: Its match: with a query's words, above 0, or its similarity to a vector. None: no word matches, the item
            has no vector of the model, or neither was asked for.
    """

    namespace: tuple[str, ...]
    key: str
    value: JsonObject
    user_id: str | None
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = None
    score: float | None = None


@public
@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to store, or to delete if its value is None.

    Attributes:
        namespace: Its namespace, from the widest label to the narrowest.
        key: Unique in its namespace.
        value: A JSON object, or None.
        user_id: The user it belongs to; None: no single user.
        text: The words it is found by; None: all strings in the value; "": none.
        ttl: How long after this, and after each read that refreshes it, the item expires; None: never.
        vectors: Its vectors, of which the one nearest to the vector of a search counts.
        model: The name of the model that made the vectors; only vectors of one model are compared.
    """

    namespace: Sequence[str]
    key: str
    value: Mapping[str, Any] | None
    user_id: object = None
    text: str | None = None
    ttl: timedelta | None = None
    vectors: Sequence[Sequence[float]] = ()
    model: str = ""


class Place(NamedTuple):
    """The checked namespace and key of an item; `path` is the namespace as JSON text."""

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
    """Check the namespace and key of an item."""
    labels = check_namespace(namespace)
    check_text(key, "key")
    return Place(labels, to_json(labels), key)


def _check_size(place: Place) -> None:
    size = len(place.path.encode()) + len(place.key.encode())
    if size > MAX_PLACE_BYTES:
        raise InvalidInputError(
            f"namespace and key have {size} bytes; at most {MAX_PLACE_BYTES} are allowed: shorten the key, or hash it."
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
        check_text("" if item.text is None else item.text, "text")
        check_text(item.model, "model")
        if item.user_id is not None:
            check_id(item.user_id, "user_id")
        if item.ttl is not None:
            check_duration(item.ttl, "ttl")
        found[place.path, place.key] = item
    return dict(sorted(found.items()))  # sorted, so that two writers cannot deadlock


def words_of(item: NewItem) -> str | None:
    """Return the text an item is found by; None: it is not searched."""
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


def check_filter(filter: Mapping[str, Any]) -> None:
    """Refuse a filter that is none, also where no item would be compared with it."""
    if not isinstance(filter, Mapping):
        raise InvalidInputError(f"a filter must be a dict, not a {type(filter).__name__}.")
    for key in filter:
        if str(key).startswith("$") and key not in COMBINED:
            raise InvalidInputError(f"{key!r} stands where a field's name must; use {{field: {{{key!r}: …}}}}.")
    _check_operators(filter)
    for key in COMBINED.keys() & filter.keys():
        for each in filter[key]:
            check_filter(each)


def _check_operators(wanted: Any) -> None:
    if not isinstance(wanted, Mapping):
        return
    for key, each in wanted.items():
        if key in COMBINED:
            _check_combined(key, each)
        elif str(key).startswith("$"):
            _check_operator(key)
        else:
            _check_operators(each)


def _check_combined(key: str, filters: Any) -> None:
    if not isinstance(filters, (list, tuple)) or not filters or not all(isinstance(each, Mapping) for each in filters):
        raise InvalidInputError(f"{key!r} needs a list of filters, each a dict.")
    for each in filters:
        _check_operators(each)


def keeps(filter: Mapping[str, Any] | None, value: Mapping[str, Any]) -> bool:
    """Return whether a value matches a filter.

    Raises:
        InvalidInputError: The filter has an unknown operator.
    """
    return _fits(value, filter or {})


def _fits(value: Any, wanted: Mapping[str, Any]) -> bool:
    """Return whether a value fits operators, or a JSON object the fields that are wanted."""
    for key in COMBINED.keys() & wanted.keys():
        if not COMBINED[key](_matches(value, each) for each in wanted[key]):
            return False
    rest = {key: each for key, each in wanted.items() if key not in COMBINED}
    if any(str(key).startswith("$") for key in rest):
        return all(_compares(value, operator, other) for operator, other in rest.items())
    if wanted and not rest:
        return True
    return isinstance(value, Mapping) and all(_matches(value.get(key), each) for key, each in rest.items())


def _matches(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        return _fits(value, wanted)
    if isinstance(wanted, (list, tuple)):
        return isinstance(value, list) and len(value) == len(wanted) and all(map(_matches, value, wanted))
    return bool(value == wanted)


def _compares(value: Any, operator: str, other: Any) -> bool:
    if operator in ("$eq", "$ne"):
        return (value == other) is (operator == "$eq")
    _check_operator(operator)
    try:
        return bool(OPERATORS[operator](float(value), float(other)))
    except (TypeError, ValueError, OverflowError):
        return False


def _check_operator(name: str) -> None:
    """Refuse an operator that is none."""
    if name not in ("$eq", "$ne", *OPERATORS):
        known = ", ".join(("$eq", "$ne", *OPERATORS, *COMBINED))
        raise InvalidInputError(f"{name!r} is not a filter operator; use {known}.")
