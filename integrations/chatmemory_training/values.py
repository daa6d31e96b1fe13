"""What training code holds, as JSON can hold it."""

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from numbers import Integral, Real
from typing import Any

from pydantic import BaseModel

DEEPEST = 20


def plain(value: Any, depth: int = 0) -> Any:
    """A value as JSON has it: numbers of any library, containers and objects with attributes; else its string.

    NaN and infinities become "nan", "inf" and "-inf", which JSON's own numbers are not.
    """
    if depth > DEEPEST:
        return str(type(value).__name__)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Enum):
        return plain(value.value, depth + 1)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else str(float(value))
    inside = contents(value)
    if inside is not None:
        return {clean(str(name)): plain(each, depth + 1) for name, each in inside.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(each, depth + 1) for each in value]
    listed = getattr(value, "tolist", None)  # arrays and tensors
    return plain(listed(), depth + 1) if callable(listed) else clean(str(value))


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
