from collections.abc import Callable
from typing import Any


def calls(*each: Callable[[], Any]) -> tuple[Callable[[], Any], ...]:
    """Calls that are still to be made, whatever each returns."""
    return each
