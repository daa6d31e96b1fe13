"""The JSON form of records, shared by exports, imports, the command line, adapters and Redis."""

import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from functools import cache
from types import UnionType
from typing import (
    Any,
    ClassVar,
    Literal,
    NamedTuple,
    Self,
    TypeAlias,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from chatmemory.errors import InvalidInputError

FORMAT = "chatmemory/1"
"""The version of the form. It changes when a field changes its name or its meaning. A new field needs a default and
no new version: a reader ignores fields that it does not know, and gives missing ones their defaults."""

NOT_RENDERED = {"rendered": False}
"""Metadata of a field that belongs to one call's answer and not to the record: to_dict() leaves it out."""

Reader: TypeAlias = Callable[[Any], Any]


class Record:
    """Base of dataclasses that can be rendered as a JSON object and read back."""

    __slots__ = ()
    _derived: ClassVar[tuple[str, ...]] = ()  # properties that to_dict() renders too

    def to_dict(self) -> dict[str, Any]:
        """Render the record as a JSON object with one entry for each field.

        Times are ISO 8601 with a time zone, tuples become lists, NaN and infinities become the strings "nan", "inf" and
        "-inf". `json.dumps()` accepts the result.
        """
        names = _fields(type(self))  # type: ignore[arg-type]  # a class is hashable
        return {name: plain(getattr(self, name)) for name in (*names, *self._derived)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Read a record that to_dict() rendered, in any release with the same format.

        Args:
            values: The JSON object; fields that this release does not know are ignored.

        Raises:
            InvalidInputError: A field is missing, or has another type; the message names it.
        """
        return read(cls, values)


def plain(value: Any) -> Any:
    """Return a value in its JSON form."""
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, (list, tuple)) else value


T = TypeVar("T")


def read(cls: type[T], values: Mapping[str, Any]) -> T:
    """Read a record of this class; see Record.from_dict()."""
    if not isinstance(values, Mapping):
        raise InvalidInputError(f"a {cls.__name__} must be a JSON object, not {type(values).__name__}.")
    given = {}
    for name, field in _fields(cls).items():  # type: ignore[arg-type]  # a class is hashable
        if name in values:
            given[name] = _read(cls, name, field.reader, values[name])
        elif field.is_required:
            raise InvalidInputError(f"a {cls.__name__} needs {name!r}.")
    return cls(**given)


class _Field(NamedTuple):
    """The reader of one field of a record."""

    reader: Reader
    is_required: bool


@cache
def _fields(cls: type[Any]) -> dict[str, _Field]:
    hints = get_type_hints(cls)
    return {
        field.name: _Field(_reader(hints[field.name]), field.default is MISSING and field.default_factory is MISSING)
        for field in fields(cls)
        if field.metadata.get("rendered", True)
    }


def _read(cls: type, name: str, reader: Reader, value: Any) -> Any:
    try:
        return reader(value)
    except InvalidInputError:
        raise
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidInputError(f"{name!r} of a {cls.__name__} {error or 'has another type'}.") from None


def _reader(hint: Any) -> Reader:
    """Return the function that reads a JSON value as this type, or raises."""
    origin, args = get_origin(hint), get_args(hint)
    if hint is Any or isinstance(hint, TypeVar) or {list[Any], dict[str, Any]} <= set(args):  # any JSON
        return lambda value: value
    if origin in (Union, UnionType):
        return _either([_reader(arg) for arg in args])
    if origin is Literal:
        return _one_of(args)
    if origin is tuple:
        return _sequence(tuple, _reader(args[0]))
    if origin is list:
        return _sequence(list, _reader(args[0]))
    if origin in (dict, Mapping):
        return _mapping(_reader(args[1]))
    return hint.from_dict if issubclass(hint, Record) else _SCALARS[hint]


def _either(readers: list[Reader]) -> Reader:
    def read(value: Any) -> Any:
        for reader in readers:
            try:
                return reader(value)
            except (TypeError, ValueError, OverflowError) as error:
                failure = error
        raise failure

    return read if readers[-1] is not _none else lambda value: None if value is None else _either(readers[:-1])(value)


def _one_of(choices: tuple[Any, ...]) -> Reader:
    def read(value: Any) -> Any:
        if value not in choices:
            raise ValueError(f"must be one of {', '.join(map(str, choices))}")
        return value

    return read


def _sequence(kind: type, item: Reader) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, list):
            raise TypeError("must be a list")
        return kind(map(item, value))

    return read


def _mapping(item: Reader) -> Reader:
    def read(value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise TypeError("must be a JSON object")
        return {key: item(each) for key, each in value.items()}

    return read


def _exactly(kind: type, noun: str) -> Reader:
    def read(value: Any) -> Any:
        if type(value) is not kind:
            raise TypeError(f"must be {noun}")
        return value

    return read


def _none(value: Any) -> None:
    if value is not None:
        raise TypeError("must be null")


def _number(value: Any) -> float:
    if type(value) in (int, float) or value in ("nan", "inf", "-inf"):
        return float(value)
    raise TypeError("must be a number")


def _time(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            time = None
        if time is not None and time.utcoffset() is not None:
            return time
    raise ValueError("must be a time in ISO 8601 with a time zone")


_SCALARS: dict[Any, Reader] = {
    str: _exactly(str, "a string"),
    int: _exactly(int, "an integer"),
    bool: _exactly(bool, "true or false"),
    float: _number,
    datetime: _time,
    type(None): _none,
}
