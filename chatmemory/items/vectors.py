"""Vectors of items: what can be stored and compared."""

import math
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

from chatmemory.errors import InvalidInputError
from chatmemory.items.records import NewItem
from chatmemory.memories.vectors import MAX_DIMENSIONS, pgvector_text
from chatmemory.records import JsonObject
from chatmemory.validation import check_list

Distance = Literal["cosine", "inner_product", "l2"]
DISTANCES: tuple[Distance, ...] = get_args(Distance)
LARGEST = 3.4e38  # pgvector keeps numbers in 4 bytes


def checked_vector(vector: Sequence[float], what: str) -> str:
    """Return a vector in pgvector's text form.

    Raises:
        InvalidInputError: It is none.
    """
    try:
        numbers = [float(number) for number in check_list(vector, what)]
    except (TypeError, ValueError, OverflowError):
        raise InvalidInputError(f"{what} must be a list of numbers.") from None
    if not 1 <= len(numbers) <= MAX_DIMENSIONS:
        raise InvalidInputError(f"{what} has {len(numbers)} numbers; it must have 1 to {MAX_DIMENSIONS}.")
    if not all(math.isfinite(number) and abs(number) <= LARGEST for number in numbers):
        raise InvalidInputError(f"{what} must have finite numbers of at most {LARGEST}.")
    return pgvector_text(numbers)


def vector_rows(places: Iterable[tuple[tuple[str, str], NewItem]]) -> list[JsonObject]:
    """Return the rows of the vectors of items, each given with its path and key."""
    return [
        {"path": path, "key": key, "model": item.model, "part": part, "embedding": checked_vector(vector, "a vector")}
        for (path, key), item in places
        for part, vector in enumerate(check_list(item.vectors, "vectors"))
    ]
