"""Values of a session that are too large to be stored, or that JSON cannot represent: cut, or left out with a mark.

One large value must not cost the others, and no value keeps a run from ending.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from chatmemory.records import Json, JsonObject, to_json
from chatmemory.validation import (
    MAX_INTEGER_BITS,
    MAX_JSON_DEPTH,
    MAX_METADATA_BYTES,
    check_mapping,
    check_values,
)

MIN_SHARE = 1000  # bytes: a value that would get less beside its neighbours is left out with them
MARK_BYTES = 100  # room for a mark
RESERVE = 50_000  # bytes for small values and marks, above what all values may take
LEFT_OUT = "left out"  # the key under which an object says how many of its entries are missing


def checked_object(value: Mapping[str, Any] | None, what: str) -> JsonObject:
    """Return a JSON object as it is stored with a new session.

    Raises:
        InvalidInputError: JSON cannot represent it without a change.
    """
    return fitted({}, check_values(check_mapping(value, what), what))


def fitted(old: JsonObject, new: Mapping[str, Any]) -> JsonObject:
    """Merge two JSON objects key by key; what is too large in the new one is cut, and nothing of the old one.

    Args:
        old: The stored object, which fits.
        new: The new entries, valid JSON of any size.
    """
    merged = {**old, **new}
    sizes = {name: _size(value) for name, value in new.items()}
    kept = {name: value for name, value in old.items() if name not in new}
    room = MAX_METADATA_BYTES - _size(kept)
    if sum(sizes.values()) + _overhead(new) - (2 if kept else 3) <= room:
        return merged
    small = {name: value for name, value in new.items() if sizes[name] < MIN_SHARE}
    large = {name: value for name, value in new.items() if name not in small}
    changed: JsonObject = fitted_value(small, room + RESERVE)
    room -= _size(changed) + _overhead(large)
    if room < MIN_SHARE * len(large):
        changed |= fitted_value({name: _mark(value, sizes[name]) for name, value in large.items()}, room + RESERVE)
    else:
        shares = _shares([sizes[name] for name in large], room)
        for (name, value), share in zip(large.items(), shares or (), strict=True):
            changed[name] = _fitted(value, share, sizes[name])
    return {name: changed.get(name, value) for name, value in merged.items() if name in changed or name in kept}


def fitted_value(value: Any, budget: int = MAX_METADATA_BYTES) -> Any:
    """Return a JSON value of at most `budget` bytes: its largest parts are cut first, each with a mark."""
    return _fitted(value, budget, _size(value))


def _fitted(value: Any, budget: int, size: int) -> Any:
    """Cut a value whose size is known: measuring it again would cost as much as writing it."""
    if size <= budget:
        return value
    if isinstance(value, str):
        return cut_text(value, budget)
    if isinstance(value, dict):
        return _fitted_object(value, budget)
    if isinstance(value, list) and len(value) * MIN_SHARE < size + budget:
        sizes = [_size(each) for each in value]
        shares = _shares(sizes, budget - 2 - len(value))
        if shares is not None:
            return [_fitted(*each) for each in zip(value, shares, sizes, strict=True)]
    return _mark(value, size)


def cut_text(text: str, budget: int = MAX_METADATA_BYTES) -> str:
    """Return a text of at most `budget` bytes as JSON; a longer one keeps its beginning, and says how long it was."""
    size = _size(text)
    if size <= budget:
        return text
    mark = f"… [cut: {size:,} bytes]"
    encoded = text.encode("utf-8", "replace")[: max(0, budget - MARK_BYTES)]
    while encoded and _size(beginning := encoded.decode("utf-8", "ignore")) > budget - MARK_BYTES:
        encoded = encoded[: len(encoded) * (budget - MARK_BYTES) // _size(beginning)]  # it has characters to escape
    return encoded.decode("utf-8", "ignore") + mark


def storable(value: Any) -> Json:
    """Return a value as JSON; what JSON cannot represent becomes a string that says what it was."""
    return _storable(value, 0, ())


def _fitted_object(value: JsonObject, budget: int) -> JsonObject:
    sizes = [_size(each) for each in value.values()]
    shares = _shares(sizes, budget - _overhead(value))
    if shares is not None:
        fitting = map(_fitted, value.values(), shares, sizes)
        return dict(zip(value, fitting, strict=True))
    room = budget - MARK_BYTES
    kept: JsonObject = {}
    entries = ((_size(name) + 2 + min(MIN_SHARE, size), name) for name, size in zip(value, sizes, strict=True))
    for size, name in sorted(entries):
        room -= size
        if room < 0:
            break
        kept[name] = fitted_value(value[name], MIN_SHARE)
    missing = {LEFT_OUT: f"{len(value) - len(kept):,} of {len(value):,} entries"}
    return {name: kept[name] for name in value if name in kept} | (missing if budget > MARK_BYTES else {})


def _overhead(value: Mapping[str, Any]) -> int:
    """Return the bytes that an object takes without its values."""
    return 2 + sum(_size(name) + 2 for name in value)


def _mark(value: Any, size: int) -> str:
    what = f"a list of {len(value):,} values" if isinstance(value, list) else f"a {type(value).__name__}"
    return f"[left out: {what}, {size:,} bytes]"


def _shares(sizes: Sequence[int], budget: int) -> list[int] | None:
    """Return what each of several values may take of a budget, so that the smaller ones stay whole; None: too many."""
    left, most = budget, 0
    for count, size in zip(range(len(sizes), 0, -1), sorted(sizes), strict=True):
        most = left // count
        if size > most:
            break
        left -= size
    return None if most < MIN_SHARE else [min(size, most) for size in sizes]


def _size(value: Any) -> int:
    """Return the bytes of a value as JSON."""
    if type(value) is int or type(value) is float:  # fast: there may be millions
        return len(repr(value))
    return len(to_json(value).encode("utf-8", "replace"))


def _storable(value: Any, depth: int, above: tuple[int, ...]) -> Json:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.replace("\0", "").encode("utf-8", "replace").decode()
    if isinstance(value, int):
        return (
            int(value) if value.bit_length() <= MAX_INTEGER_BITS else f"[left out: an int of {value.bit_length()} bits]"
        )
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if not isinstance(value, (Mapping, list, tuple, set, frozenset)):
        return _number(value)
    if depth >= MAX_JSON_DEPTH or id(value) in above:
        return f"[left out: a {type(value).__name__} nested too deeply]"
    inner = depth + 1, (*above, id(value))
    if isinstance(value, Mapping):
        return {str(_storable(str(name), 0, ())): _storable(each, *inner) for name, each in value.items()}
    return [_storable(each, *inner) for each in value]


def _number(value: Any) -> Json:
    """Return a number of another library, or a mark."""
    try:
        number = float(value)
        return number if math.isfinite(number) else str(number)
    except Exception:  # noqa: BLE001  # any error of a foreign class
        return f"[left out: a {type(value).__name__}]"
