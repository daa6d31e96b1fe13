"""Training and testing runs, remembered as sessions of chatmemory."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chatmemory import MissingExtraError

if TYPE_CHECKING:
    from chatmemory_training.service import SessionManagerService

_HOME: dict[str, tuple[str, str | None]] = {
    "SessionManagerService": ("chatmemory_training.service", None),
}

__all__ = ["SessionManagerService"]


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used; only then is the library it serves needed."""
    if name not in _HOME:
        raise AttributeError(f"module 'chatmemory_training' has no attribute {name!r}")
    home, needs = _HOME[name]
    try:
        value = getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        if needs is None or (error.name or "").startswith("chatmemory"):
            raise
        raise MissingExtraError(f"chatmemory_training.{name} needs {needs}, which is not installed here.") from error
    globals()[name] = value
    return value
