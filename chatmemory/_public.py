from typing import TypeVar

T = TypeVar("T", bound=type)


def public(cls: T) -> T:
    """Report `cls` under the name people import it by: `chatmemory.X`, not the module it stands in."""
    cls.__module__ = "chatmemory"
    return cls
