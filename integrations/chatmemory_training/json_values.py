"""Conversion of the values in training code to JSON values."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from hashlib import sha256
from numbers import Integral, Real
from typing import Any

from pydantic import BaseModel

MAX_DEPTH = 20
MAX_VALUES = 500_000  # in one value of a mapping: more do not fit into what a session can hold
MAX_WORK = 2 * MAX_VALUES  # values that are looked at for one
MAX_OBJECTS = 2_000  # nested objects that are read by their attributes
MAX_INTEGER_BITS = 4096
MAX_NAME_BYTES = 255
MAX_STEP = 2**63 - 1


class _TooManyError(Exception):
    """The values nested in one value exceed the limit."""


def to_json_value(value: Any) -> Any:
    """Convert a value to JSON: numbers of any library, containers, objects with attributes; else its string.

    NaN and infinities become "nan", "inf" and "-inf", as JSON has no such numbers. A value that contains itself, is
    nested too deeply, holds too many values or cannot be read becomes a string that names its type; the values beside
    it stay.
    """
    try:
        return _Conversion().to_json(value, 0)
    except _TooManyError:
        return _left_out(value)


def _left_out(value: Any) -> str:
    try:
        return f"[left out: a {type(value).__name__} of {len(value):,} values]"
    except Exception:  # noqa: BLE001  # it has no length, or any error of a foreign class
        return f"[left out: a {type(value).__name__}]"


class _Conversion:
    """One conversion of a value and everything nested in it."""

    def __init__(self) -> None:
        self._seen = self._work = self._objects = 0
        self._path: set[int] = set()

    def to_json(self, value: Any, depth: int) -> Any:
        """Convert a value at this depth.

        Raises:
            _TooManyError: It holds too many values.
        """
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return clean_text(value)
        self._seen += 1
        self._work += 1
        if self._seen > MAX_VALUES or self._work > MAX_WORK:
            raise _TooManyError
        if _is_small_number(value):
            return value
        if depth > MAX_DEPTH or id(value) in self._path:
            return type(value).__name__
        if _length(value) > MAX_VALUES:
            raise _TooManyError
        self._path.add(id(value))
        try:
            return self._convert_nested(value, depth + 1)
        except _TooManyError:
            raise
        except Exception:  # noqa: BLE001  # any error of a foreign class
            return type(value).__name__
        finally:
            self._path.discard(id(value))

    def _entry(self, value: Any, depth: int) -> Any:
        """Convert one value of a mapping: if it is too large, only it is left out."""
        if depth == 1:  # each of the outermost values has a limit of its own
            self._seen = self._work = 0
        before = self._seen
        try:
            return self.to_json(value, depth)
        except _TooManyError:
            self._seen = before
            return _left_out(value)

    def _convert_nested(self, value: Any, depth: int) -> Any:
        if isinstance(value, Enum):
            return self.to_json(value.value, depth)
        if isinstance(value, Integral):
            number = int(value)
            bits = number.bit_length()
            return number if bits <= MAX_INTEGER_BITS else f"[left out: an integer of {bits} bits]"
        if isinstance(value, Real):
            return float(value) if math.isfinite(value) else str(float(value))
        nested = object_fields(value)
        if nested is not None:
            self._objects += not isinstance(value, Mapping)
            if self._objects > MAX_OBJECTS:
                return type(value).__name__
            return {clean_text(str(name)): self._entry(each, depth) for name, each in nested.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.to_json(each, depth) for each in value]
        listed = getattr(value, "tolist", None)  # arrays and tensors
        return self.to_json(listed(), depth) if callable(listed) else clean_text(str(value))


def _is_small_number(value: Any) -> bool:
    """Return whether JSON has this number; fast, as there may be many."""
    kind = type(value)
    return (kind is float and math.isfinite(value)) or (kind is int and -(2**63) <= value < 2**63)


def _length(value: Any) -> int:
    """Return how many values an array or a collection holds, before it is read."""
    size = getattr(value, "size", None) if hasattr(value, "tolist") else None  # a method of tensors
    try:
        return int(size) if isinstance(size, Integral) else len(value)
    except Exception:  # noqa: BLE001  # it has no length, or any error of a foreign class
        return 1


def clean_text(text: str) -> str:
    """Return a text that Postgres can store: without NUL, and with lone surrogates as escapes."""
    return text.replace("\0", "").encode("utf-8", "backslashreplace").decode()


def as_text(value: object) -> str:
    """Return a value as a text that Postgres can store."""
    converted = to_json_value(value)
    return converted if isinstance(converted, str) else str(converted)


def object_fields(value: Any) -> dict[Any, Any] | None:
    """Return the fields of a mapping, dataclass, Pydantic model or object with attributes; None for anything else."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, BaseModel):
        return {name: getattr(value, name) for name in type(value).model_fields}
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, type) or callable(value) or hasattr(value, "tolist"):
        return None
    names: dict[str, Any] = getattr(value, "__dict__", {})
    return {name: each for name, each in names.items() if not name.startswith("_")} or None


def as_float(value: Any) -> float | None:
    """Return a number of any library as a float; None for anything else, True and False included."""
    if isinstance(value, (bool, str, bytes)) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor of several numbers
        return None


def json_number(value: Any) -> Any:
    """Convert a number of any library to a JSON number; return anything else unchanged."""
    if _is_small_number(value):
        return value
    if isinstance(value, (bool, int, str, list, tuple, dict)) or as_float(value) is None:
        return value
    return to_json_value(value)


def with_json_numbers(value: Any) -> Any:
    """Convert the numbers in a value, nested ones too, to JSON numbers."""
    if isinstance(value, dict):
        return {name: with_json_numbers(each) for name, each in value.items()}
    return [with_json_numbers(each) for each in value] if isinstance(value, list) else json_number(value)


def metric_name(name: object) -> str | None:
    """Return the name under which a metric is stored, a long one cut; None if there is no name."""
    text = clean_text(str(name))
    encoded = text.encode()
    if len(encoded) > MAX_NAME_BYTES:  # with a digest: long names often differ only at their ends
        kept = encoded[: MAX_NAME_BYTES - 20].decode("utf-8", "ignore")
        return f"{kept}… {sha256(encoded).hexdigest()[:8]}"
    return text if text.strip() else None


def valid_step(step: Any) -> int | None:
    """Return a step within the range that can be stored; None if it is not a number."""
    try:
        return None if step is None else min(max(0, int(step)), MAX_STEP)
    except (TypeError, ValueError, OverflowError):
        return None
