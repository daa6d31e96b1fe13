"""Flushing of pending writes at interpreter exit, also of memories that were never closed."""

import atexit
from typing import Protocol
from weakref import WeakSet


class Leaving(Protocol):
    """An object with deferred writes."""

    def leave(self) -> None:
        """Write everything that is pending; no event loop runs any more."""


_alive: WeakSet[Leaving] = WeakSet()


def watch(thing: Leaving) -> None:
    """Have `thing.leave()` called when the interpreter exits, unless it was collected before."""
    _alive.add(thing)


@atexit.register
def _at_exit() -> None:
    for thing in list(_alive):
        thing.leave()
