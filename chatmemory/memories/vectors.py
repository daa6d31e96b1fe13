"""Vectors as embedders give them and as Postgres takes them."""

import math
from collections.abc import Sequence

from chatmemory.errors import LlmError

MOST_DIMENSIONS = 16_000  # as pgvector keeps them


def checked(model: str, texts: Sequence[str], vectors: object, dimensions: int) -> list[list[float]]:
    """The directions of the vectors, if there is one for each text, all of one dimension and of finite numbers.

    Args:
        model: Whose they are.
        texts: What was embedded.
        vectors: What came of it.
        dimensions: How long each must be; 0: as long as the first.

    Raises:
        LlmError: They are not.
    """
    try:
        made = [[float(number) for number in vector] for vector in vectors]  # type: ignore[attr-defined]
    except (TypeError, ValueError, OverflowError):
        raise LlmError(f"The embedder {model!r} gave what is no list of vectors.") from None
    if len(made) != len(texts):
        raise LlmError(f"The embedder {model!r} gave {len(made)} vectors for {len(texts)} texts.")
    wanted = dimensions or (len(made[0]) if made else 0)
    if wanted > MOST_DIMENSIONS:
        raise LlmError(
            f"The embedder {model!r} gave vectors of {wanted} numbers; at most {MOST_DIMENSIONS} can be kept."
        )
    for vector in made:
        if len(vector) != wanted or not math.isfinite(math.hypot(*vector)) or not any(vector):
            raise LlmError(
                f"The embedder {model!r} gave a vector that cannot be used: it must have {wanted} finite numbers, "
                "not all 0."
            )
    return [unit(vector) for vector in made]


def unit(vector: Sequence[float]) -> list[float]:
    """The vector with length 1."""
    length = math.hypot(*vector)  # which neither overflows nor vanishes, as a sum of squares would
    return [number / length for number in vector]


def mean(vectors: Sequence[Sequence[float]]) -> list[float]:
    """What stands for all of them: its inner product with a direction is the mean of their cosines."""
    return [math.fsum(numbers) / len(vectors) for numbers in zip(*map(unit, vectors), strict=True)]


def similarity(first: Sequence[float], second: Sequence[float]) -> float:
    """The cosine of the angle between two."""
    return math.fsum(a * b for a, b in zip(unit(first), unit(second), strict=True))


def to_text(vector: Sequence[float]) -> str:
    """As pgvector reads it."""
    return "[" + ",".join(f"{number:.7g}" for number in vector) + "]"
