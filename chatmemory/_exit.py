"""What is on its way when the interpreter exits still arrives, also where nobody closed the memory."""

import atexit
from typing import Protocol
from weakref import WeakSet


class Leaving(Protocol):
    """Something that writes a little later."""

    def leave(self) -> None:
        """Write what is late now; there is no event loop any more."""


_alive: WeakSet[Leaving] = WeakSet()


def watch(thing: Leaving) -> None:
    """Have `thing.leave()` called when the interpreter exits, unless it was collected before."""
    _alive.add(thing)


@atexit.register
def _at_exit() -> None:
    for thing in list(_alive):
        thing.leave()
