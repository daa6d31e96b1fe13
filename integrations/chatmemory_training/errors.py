"""Errors of SessionManager; each is a ChatMemoryError and a RuntimeError."""

from chatmemory import ChatMemoryError


class SessionManagerError(ChatMemoryError, RuntimeError):
    """A step of the session was requested too early, or cannot work."""


class DirectoryError(SessionManagerError):
    """The directories of a run cannot be set up."""


class ConfigSaveError(SessionManagerError):
    """The effective config cannot be saved."""
