"""Places: integers that order memories, so that neighbouring turns of a session have neighbouring places.

A place is a number shifted by 24 bits, plus the seq of the turn. The number is the session's for an episode, and one of
its own for any other memory, which stands alone with seq 0. SQL writes the same expressions (`number << 24`,
`place >> 24`, `place & 16777215`); tests/unit/test_places.py compares their constants with these.
"""

SEQ_BITS = 24
SEQ_MASK = (1 << SEQ_BITS) - 1  # a place with seq 0 belongs to a memory without neighbours
LAST_PLACE = 2**63 - 1
ALL_PLACES = (0, LAST_PLACE)
NO_PLACES = (0, 0)


def place(number: int, seq: int = 0) -> int:
    """Return the place of a session's turn; seq 0 is the place of the session itself."""
    return (number << SEQ_BITS) + seq


def places_of(number: int) -> tuple[int, int]:
    """Return the first and the last place of a session."""
    return place(number), place(number, SEQ_MASK)
