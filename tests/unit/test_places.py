"""Places of memories: the same arithmetic in Python and in SQL."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import chatmemory
from chatmemory.memories.places import SEQ_BITS, SEQ_MASK, place, places_of

SQL = sorted(Path(chatmemory.__file__).parent.glob("storage/**/*.*"))


@given(st.integers(1, 2**31), st.integers(1, SEQ_MASK))
def test_neighbouring_turns_have_neighbouring_places(number: int, seq: int) -> None:
    """The places of a session lie together, in the order of its turns, and apart from the next session's."""
    first, last = places_of(number)
    assert first < place(number, seq) <= last < place(number + 1)
    assert place(number, seq) - place(number, seq - 1) == 1


def test_sql_shifts_and_masks_as_python_does() -> None:
    """Each shift and mask of a place in SQL has the constants of places.py."""
    found = {
        (operator, int(constant))
        for path in SQL
        if path.suffix in (".sql", ".py")
        for operator, constant in re.findall(r"place\b\)? *(<<|>>|&) (\d+)", path.read_text(encoding="utf-8"))
        + re.findall(r"(<<|>>) (\d+)", path.read_text(encoding="utf-8"))
    }
    assert found == {("<<", SEQ_BITS), (">>", SEQ_BITS), ("&", SEQ_MASK)}
