"""Records training and testing runs as sessions of chatmemory."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chatmemory.errors import missing_extra

if TYPE_CHECKING:
    from chatmemory_training.enhanced import EnhancedSessionManager
    from chatmemory_training.errors import ConfigSaveError, DirectoryError, SessionManagerError
    from chatmemory_training.manager import SessionManager
    from chatmemory_training.plugins import PluginManager
    from chatmemory_training.run_context import record_run
    from chatmemory_training.run_names import generate_run_name
    from chatmemory_training.run_recording import Recording
    from chatmemory_training.service import SessionManagerService
    from chatmemory_training.spool_delivery import deliver_spools

_EXTRA = "fasteners"
_HOME: dict[str, tuple[str, str | None]] = {
    "ConfigSaveError": ("chatmemory_training.errors", None),
    "DirectoryError": ("chatmemory_training.errors", None),
    "EnhancedSessionManager": ("chatmemory_training.enhanced", _EXTRA),
    "PluginManager": ("chatmemory_training.plugins", None),
    "Recording": ("chatmemory_training.run_recording", _EXTRA),
    "SessionManager": ("chatmemory_training.manager", _EXTRA),
    "SessionManagerError": ("chatmemory_training.errors", None),
    "SessionManagerService": ("chatmemory_training.service", None),
    "deliver_spools": ("chatmemory_training.spool_delivery", _EXTRA),
    "generate_run_name": ("chatmemory_training.run_names", None),
    "record_run": ("chatmemory_training.run_context", _EXTRA),
}

__all__ = [
    "ConfigSaveError",
    "DirectoryError",
    "EnhancedSessionManager",
    "PluginManager",
    "Recording",
    "SessionManager",
    "SessionManagerError",
    "SessionManagerService",
    "deliver_spools",
    "generate_run_name",
    "record_run",
]


def __getattr__(name: str) -> Any:
    """Load a public name at its first use, so that its extra is needed only then."""
    if name not in _HOME:
        raise AttributeError(f"module 'chatmemory_training' has no attribute {name!r}")
    home, needs = _HOME[name]
    try:
        value = getattr(import_module(home), name)
    except ModuleNotFoundError as error:
        if needs is None or (error.name or "").startswith("chatmemory"):
            raise
        raise missing_extra(f"chatmemory_training.{name}", needs, "training") from error
    globals()[name] = value
    return value
