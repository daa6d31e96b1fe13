"""Values that are too large are cut, those that JSON cannot represent are marked, and the rest stays."""

import json
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatmemory.sessions.fitting import RESERVE, cut_text, fitted, fitted_value, storable
from chatmemory.validation import MAX_METADATA_BYTES, check_values

REST = {"rmse": 0.5, "inner": {"a": [1, 2]}}


def size(value: Any) -> int:
    """The bytes of a value as JSON."""
    return len(json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode())


def nested(value: Any, depth: int) -> Any:
    """A value inside this many lists."""
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("large", "mark"),
    [
        ("x" * 1_200_000, "… [cut: 1,200,002 bytes]"),
        ("ü" * 700_000, "… [cut: 1,400,002 bytes]"),
        ("\n\x01" * 400_000, "… [cut: "),
        ([0.123456] * 250_000, "[left out: a list of 250,000 values, "),
        ({"note": "x" * 1_200_000, "fine": 1}, "[cut: 1,200,002 bytes]"),
        ({str(n): n for n in range(200_000)}, "entries"),
        ([{"note": "x" * 1_200_000}, {"fine": 1}], "[cut: 1,200,002 bytes]"),
        (nested(["x" * 600_000, "y" * 600_000], 20), "[cut: 600,002 bytes]"),
        (["x" * 5000] * 1000, "[left out: a list of 1,000 values, "),
    ],
)
def test_only_the_large_value_is_cut(large: Any, mark: str) -> None:
    """It has a mark; what stands before and behind it is whole, also what was stored before."""
    old = {"host": "a", "seen": ["x" * 100_000]}
    merged = fitted(old, {"first": 1, "large": large, **REST})
    assert {name: value for name, value in merged.items() if name != "large"} == {**old, "first": 1, **REST}
    assert mark in json.dumps(merged["large"], ensure_ascii=False)
    assert size(merged) + (0 if isinstance(large, (str, dict)) else MAX_METADATA_BYTES) > 500_000
    assert size(merged) <= MAX_METADATA_BYTES


def test_what_fits_is_not_touched() -> None:
    """To the last byte."""
    exact = {"a": "x" * (MAX_METADATA_BYTES - 8)}
    assert size(exact) == MAX_METADATA_BYTES
    assert fitted({}, exact) == exact
    assert size(fitted({}, {"a": exact["a"] + "x"})) <= MAX_METADATA_BYTES


def test_many_updates_fill_up_and_never_fail() -> None:
    """Each is small; what was stored stays."""
    stored: dict[str, Any] = {}
    for number in range(40):
        before = stored
        stored = fitted(stored, {f"note-{number}": "x" * 90_000, "last": number})
        assert stored["last"] == number
        assert size(stored) <= MAX_METADATA_BYTES + RESERVE
        assert {name: stored[name] for name in before if name != "last"} == {
            name: before[name] for name in before if name not in ("last",)
        }
    assert stored["note-5"] == "x" * 90_000
    assert stored["note-39"] == "[left out: a str, 90,002 bytes]"


@given(
    st.recursive(
        st.text(max_size=30) | st.integers(-9, 9),
        lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=9), inner, max_size=9),
    ),
    st.integers(200, 3000),
)
def test_no_value_exceeds_its_budget(value: Any, budget: int) -> None:
    """Any value, any budget that a mark fits into."""
    assert size(fitted_value(value, budget)) <= budget
    assert size(cut_text(str(value), budget)) <= budget


cycle: list[Any] = []
cycle.append(cycle)


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        ((1, 2), [1, 2]),
        ({3}, [3]),
        ({1: Fraction(1, 2)}, {"1": 0.5}),
        ("a\0b\ud800", "ab?"),
        (object(), "[left out: a object]"),
        pytest.param(10**5000, "[left out: an int of 16610 bits]", id="bits"),
        (cycle, ["[left out: a list nested too deeply]"]),
    ],
)
def test_what_json_lacks_is_marked(value: Any, stored: Any) -> None:
    """Beside what it has."""
    made = storable({"value": value, **REST})
    assert made == {"value": stored, **REST}
    assert check_values(made, "made") == made
    check_values(storable(nested(value, 300)), "deep")
