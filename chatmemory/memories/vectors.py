"""Vectors: checks of an embedder's answer, arithmetic, and pgvector's text form."""

import math
from collections.abc import Sequence

from chatmemory.errors import LlmError

MAX_DIMENSIONS = 16_000  # pgvector's limit


def check_vectors(model: str, texts: Sequence[str], vectors: object, dimensions: int) -> list[list[float]]:
    """Return an embedder's vectors scaled to length 1, after checking them.

    Args:
        model: The embedder's name.
        texts: The embedded texts.
        vectors: The embedder's answer: one vector for each text, all of one length, with finite numbers.
        dimensions: The required length; 0: the length of the first vector.

    Raises:
        LlmError: The answer is not a list of such vectors.
    """
    try:
        rows = [[float(number) for number in vector] for vector in vectors]  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError):
        raise LlmError(f"The embedder {model!r} did not return a list of vectors.") from None
    if len(rows) != len(texts):
        raise LlmError(f"The embedder {model!r} returned {len(rows)} vectors for {len(texts)} texts.")
    wanted = dimensions or (len(rows[0]) if rows else 0)
    if wanted > MAX_DIMENSIONS:
        raise LlmError(
            f"The embedder {model!r} returned vectors of {wanted} numbers; at most {MAX_DIMENSIONS} can be stored."
        )
    for vector in rows:
        if len(vector) != wanted or not math.isfinite(math.hypot(*vector)) or not any(vector):
            raise LlmError(
                f"The embedder {model!r} returned an unusable vector: it must have {wanted} finite numbers, not all 0."
            )
    return [unit(vector) for vector in rows]


def unit(vector: Sequence[float]) -> list[float]:
    """Return the vector scaled to length 1."""
    length = math.hypot(*vector)  # does not overflow or underflow, as a sum of squares would
    return [number / length for number in vector]


def mean(vectors: Sequence[Sequence[float]]) -> list[float]:
    """Return the mean of the unit vectors: its inner product with a direction is the mean of their cosines."""
    return [math.fsum(numbers) / len(vectors) for numbers in zip(*map(unit, vectors), strict=True)]


def similarity(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the cosine similarity of two vectors."""
    return math.fsum(a * b for a, b in zip(unit(first), unit(second), strict=True))


def pgvector_text(vector: Sequence[float]) -> str:
    """Return a vector in pgvector's text form."""
    return "[" + ",".join(f"{number:.7g}" for number in vector) + "]"
