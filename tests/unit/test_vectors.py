"""Vectors: only what can be used comes through, and only directions count."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmemory.errors import LlmError
from chatmemory.memories.vectors import check_vectors, mean, pgvector_text, similarity, unit

numbers = st.floats(-1e6, 1e6, allow_subnormal=False)
vectors = st.lists(numbers, min_size=3, max_size=3).filter(lambda vector: math.hypot(*vector) > 1e-6)


@pytest.mark.parametrize(
    "bad",
    [None, 7, "text", [None], [[1.0], [1.0]], [], [[]], [["a"]], [[math.nan]], [[math.inf]], [[0.0]], [[10**400]],
     [[1e308] * 9], [{"a": 1}], [[None]]],
)  # fmt: skip
def test_what_is_no_vector_is_refused(bad: object) -> None:
    """With an error of ours, that names the model and shows no text."""
    with pytest.raises(LlmError, match="'compass'") as caught:
        check_vectors("compass", ["what was said"], bad, 0)
    assert "said" not in str(caught.value)


@pytest.mark.parametrize(("dimensions", "made"), [(3, [[1.0, 2.0]]), (1, [[1.0, 2.0]]), (0, [[1.0], [1.0, 2.0]])])
def test_the_dimension_must_be_right(dimensions: int, made: list[list[float]]) -> None:
    """As it was given, or as the first one's."""
    with pytest.raises(LlmError, match="must have"):
        check_vectors("compass", ["a"] * len(made), made, dimensions)


@given(vectors, st.sampled_from([1e-290, 1e-30, 1.0, 1e30, 1e290]))
def test_any_length_gives_the_same_direction(vector: list[float], scale: float) -> None:
    """Neither huge nor tiny numbers lose it, and what comes out is what Postgres can hold."""
    [made] = check_vectors("compass", ["a"], [[number * scale for number in vector]], 3)
    assert math.hypot(*made) == pytest.approx(1)
    assert made == pytest.approx(unit(vector), abs=1e-6)
    assert all(abs(float(number)) <= 1.000001 for number in pgvector_text(made)[1:-1].split(","))


@given(st.lists(vectors, min_size=1, max_size=5), vectors)
def test_a_mean_is_as_near_as_its_parts_are_on_average(given_vectors: list[list[float]], other: list[float]) -> None:
    """Its inner product with any direction is the mean of their cosines with it."""
    product = math.fsum(a * b for a, b in zip(mean(given_vectors), unit(other), strict=True))
    cosines = [similarity(vector, other) for vector in given_vectors]
    assert product == pytest.approx(math.fsum(cosines) / len(cosines), abs=1e-9)


@given(vectors, vectors)
def test_similarity_is_a_cosine(first: list[float], second: list[float]) -> None:
    """Symmetric, 1 with itself, and never beyond 1."""
    assert similarity(first, first) == pytest.approx(1)
    assert similarity(first, second) == similarity(second, first)
    assert abs(similarity(first, second)) <= 1 + 1e-12
