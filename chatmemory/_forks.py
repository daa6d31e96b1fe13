"""Fork safety: a forked child abandons the parent's connections and opens its own."""

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """An object that has connections."""

    def forked(self) -> object:
        """Reset the object in the child; return the parent's resources, which the child must not close."""


_alive: WeakSet[Forkable] = WeakSet()
_parents: list[object] = []  # referenced forever: collecting a connection may write to the parent's socket


def watch(thing: Forkable) -> None:
    """Call `thing.forked()` in every child that this process forks."""
    _alive.add(thing)


def _in_child() -> None:
    _parents.extend([thing.forked() for thing in _alive])


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_in_child)
