"""Being stopped from outside, as the context manager of a run sees it."""

import signal
import threading
from types import FrameType
from typing import Any


class Terminated(SystemExit):
    """SIGTERM came while a run was under way."""


def _raise(number: int, _frame: FrameType | None) -> None:
    raise Terminated(128 + number)


class OnTerminate:
    """SIGTERM raises Terminated, so that a run can be recorded as stopped; a handler of the script's own stays."""

    def __init__(self) -> None:
        self._previous: Any = None

    def __enter__(self) -> "OnTerminate":
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._previous = signal.signal(signal.SIGTERM, _raise)
        return self

    def __exit__(self, *_: object) -> None:
        if self._previous is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._previous)
            self._previous = None


def how_it_ended(kind: type[BaseException] | None, error: BaseException | None) -> tuple[str, str | None]:
    """The end of a run by what left its context: completed, failed or cancelled, and why."""
    if kind is None or (issubclass(kind, SystemExit) and not issubclass(kind, Terminated) and _is_fine(error)):
        return "completed", None
    if issubclass(kind, KeyboardInterrupt):
        return "cancelled", "Ctrl-C"
    if issubclass(kind, Terminated):
        return "cancelled", "SIGTERM"
    return "failed", None


def _is_fine(error: BaseException | None) -> bool:
    return getattr(error, "code", None) in (None, 0)
