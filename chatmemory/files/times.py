"""Times of messages that a file dates in part."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise


def filled(times: Sequence[datetime | None], default: datetime | None) -> list[datetime | None]:
    """Return the times, with those that are missing spread evenly between their neighbours.

    Before the first and after the last known time, the nearest one counts; where none is known, the default.
    """
    known = [index for index, at in enumerate(times) if at is not None]
    if not known:
        return [default] * len(times)
    found = list(times)
    found[: known[0]] = [times[known[0]]] * known[0]
    found[known[-1] + 1 :] = [times[known[-1]]] * (len(times) - known[-1] - 1)
    for before, after in pairwise(known):
        begin, end = times[before], times[after]
        assert begin is not None
        assert end is not None
        for index in range(before + 1, after):
            found[index] = begin + (end - begin) * (index - before) / (after - before)
    return found
