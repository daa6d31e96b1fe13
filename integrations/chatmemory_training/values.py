"""What training code holds, as JSON can hold it."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from numbers import Integral, Real
from typing import Any

from pydantic import BaseModel

DEEPEST = 20
MOST = 200_000  # values inside one value
MOST_OBJECTS = 2_000  # of them, objects that are only known by their attributes
LONGEST_NAME = 255  # bytes of a metric's name
LAST_STEP = 2**63 - 1


def plain(value: Any) -> Any:
    """A value as JSON has it: numbers of any library, containers and objects with attributes; else its string.

    NaN and infinities become "nan", "inf" and "-inf", which JSON's own numbers are not. What contains itself, lies too
    deep, is one too many, or cannot be read, is the name of its type.
    """
    return _Walk().plain(value, 0)


class _Walk:
    """One way through a value, and all that it contains."""

    def __init__(self) -> None:
        self._seen = self._objects = 0
        self._path: set[int] = set()

    def plain(self, value: Any, depth: int) -> Any:
        """A value at this depth."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return clean(value)
        self._seen += 1
        if depth > DEEPEST or self._seen > MOST or id(value) in self._path:
            return type(value).__name__
        self._path.add(id(value))
        try:
            return self._inside(value, depth + 1)
        except Exception:  # noqa: BLE001  # whatever somebody's own class raises when it is looked at
            return type(value).__name__
        finally:
            self._path.discard(id(value))

    def _inside(self, value: Any, depth: int) -> Any:
        if isinstance(value, Enum):
            return self.plain(value.value, depth)
        if isinstance(value, Integral):
            return int(value)
        if isinstance(value, Real):
            return float(value) if math.isfinite(value) else str(float(value))
        inside = contents(value)
        if inside is not None:
            self._objects += not isinstance(value, Mapping)
            if self._objects > MOST_OBJECTS:
                return type(value).__name__
            return {clean(str(name)): self.plain(each, depth) for name, each in inside.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.plain(each, depth) for each in value]
        listed = getattr(value, "tolist", None)  # arrays and tensors
        return self.plain(listed(), depth) if callable(listed) else clean(str(value))


def clean(text: str) -> str:
    """A text as Postgres can hold it: without NUL, and with lone surrogates as escapes."""
    return text.replace("\0", "").encode("utf-8", "backslashreplace").decode()


def contents(value: Any) -> dict[Any, Any] | None:
    """What a mapping, a dataclass, a Pydantic model or an object with attributes holds; None: it is none."""
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


def number(value: Any) -> float | None:
    """A number of any library; None: it is none. True and False are none."""
    if isinstance(value, (bool, str, bytes)) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):  # RuntimeError: a tensor of several numbers
        return None


def plain_number(value: Any) -> Any:
    """A number of any library as JSON has it; anything else as it is."""
    if isinstance(value, (bool, int, str, list, tuple, dict)) or number(value) is None:
        return value
    return plain(value)


def storable(value: Any) -> Any:
    """A value with its numbers, of whatever library and wherever they stand in it, as JSON has them."""
    if isinstance(value, dict):
        return {name: storable(each) for name, each in value.items()}
    return [storable(each) for each in value] if isinstance(value, list) else plain_number(value)


def is_name(name: str) -> bool:
    """Whether a metric can be called so."""
    return bool(name.strip()) and name == clean(name) and len(name.encode()) <= LONGEST_NAME


def whole(step: Any) -> int | None:
    """A step as it can be stored; None: it is none."""
    try:
        return None if step is None else min(max(0, int(step)), LAST_STEP)
    except (TypeError, ValueError, OverflowError):
        return None
