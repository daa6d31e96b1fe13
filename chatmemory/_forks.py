"""What must not be shared with a forked child: connections. The child leaves them alone and makes its own."""

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """Something that holds connections."""

    def forked(self) -> object:
        """In the child: begin anew; return what belongs to the parent and must not be closed here."""


_alive: WeakSet[Forkable] = WeakSet()
_parents: list[object] = []  # kept, since collecting a connection may write to the parent's socket


def watch(thing: Forkable) -> None:
    """Have `thing.forked()` called in every child that this process forks."""
    _alive.add(thing)


def _in_child() -> None:
    _parents.extend([thing.forked() for thing in _alive])


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_in_child)
