"""What a training script's surroundings can raise: all of it a ChatMemoryError and a RuntimeError."""

from chatmemory import ChatMemoryError


class SessionManagerError(ChatMemoryError, RuntimeError):
    """A step of the session was asked for too early, or cannot work so."""


class DirectoryError(SessionManagerError):
    """The directories of a run cannot be set up."""


class ConfigSaveError(SessionManagerError):
    """The effective config cannot be saved."""
