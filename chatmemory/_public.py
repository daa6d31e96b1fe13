from typing import TypeVar

T = TypeVar("T", bound=type)


def public(cls: T) -> T:
    """Name `cls` by its public import path, `chatmemory.X`, instead of its module."""
    cls.__module__ = "chatmemory"
    return cls
