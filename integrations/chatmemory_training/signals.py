"""SIGTERM and Ctrl-C in a recorded run, and the end status that follows."""

import signal
import threading
from types import FrameType
from typing import Any


class Terminated(SystemExit):
    """SIGTERM arrived during a run."""


def _raise(number: int, _frame: FrameType | None) -> None:
    raise Terminated(128 + number)


class SigtermHandler:
    """Raises Terminated on SIGTERM, so that the run is recorded as cancelled; a handler of the script's own is kept."""

    def __init__(self) -> None:
        self._previous: Any = None

    def __enter__(self) -> "SigtermHandler":
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._previous = signal.signal(signal.SIGTERM, _raise)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None


def end_status(kind: type[BaseException] | None, error: BaseException | None) -> tuple[str, str | None]:
    """Return the end status (completed, failed, cancelled) and the reason, from the exception that left the run."""
    if kind is None or (kind is SystemExit and _is_exit_code_0(error)):
        return "completed", None
    if issubclass(kind, KeyboardInterrupt):
        return "cancelled", "Ctrl-C"
    if issubclass(kind, SystemExit) and kind is not SystemExit:  # Terminated, or that of a trainer
        return "cancelled", "SIGTERM"
    return "failed", None


def _is_exit_code_0(error: BaseException | None) -> bool:
    return getattr(error, "code", None) in (None, 0)
