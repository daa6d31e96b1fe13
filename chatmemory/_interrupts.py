"""Hand-written pairs of sync and async primitives: what an interrupt or a cancellation may not break.

Python runs signal handlers between any two instructions of the main thread, and the usual handler of Ctrl-C raises. No
`finally` is safe from that: a connection just taken from a pool may have no name yet, and giving it back takes many
instructions. So the sync half's calls postpone every signal whose handler is written in Python until they are done, but
for the waits in them, which are cut short at once. A task is cancelled only where it waits, so the async half of these
pairs does nothing, but for async_undisturbed().
"""

import _signal  # type: ignore[import-not-found]  # what signal wraps; there, each call takes 2 µs to make enums
import asyncio
import inspect
import os
import signal
import threading
import time
import types
from collections.abc import Callable, Coroutine, Generator
from functools import wraps
from types import FrameType, TracebackType
from typing import Any, Final, ParamSpec, TypeVar, cast

T = TypeVar("T")
P = ParamSpec("P")

Handler = Callable[[int, FrameType | None], Any]

PATIENCE_SECONDS = 1.0  # after which a second interrupt is not postponed: its sender insists
STEP_SECONDS = 0.05  # how often a wait for another thread looks for an interrupt
SIGNALS: Final = tuple(
    int(getattr(signal, name))
    for name in ("SIGINT", "SIGTERM", "SIGALRM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGQUIT", "SIGBREAK")
    if hasattr(signal, name)
)


class _State:
    """The signals that the main thread postpones; only that thread changes them.

    Attributes:
        depth: How many postponed() bodies it is in.
        waits: Whether it waits for I/O now, and may be interrupted.
        firm: How many undisturbed() bodies it is in, whose waits may not be interrupted.
        handlers: The handlers in whose place _postpone() stands.
        noted: When each postponed signal came, on the monotonic clock.
    """

    depth = 0
    waits = False
    firm = 0
    handlers: dict[int, Handler] = {}  # noqa: RUF012  # there is one state
    noted: dict[int, float] = {}  # noqa: RUF012


def _postpone(number: int, frame: FrameType | None) -> None:
    """Handle a signal: note it, or call its own handler if that may raise here."""
    first = _State.noted.get(number)
    insists = first is not None and time.monotonic() - first > PATIENCE_SECONDS
    if _State.depth == 0 or (_State.waits and not _State.firm) or insists:
        _State.noted.pop(number, None)
        _State.handlers[number](number, frame)
    else:
        _State.noted.setdefault(number, time.monotonic())


def _is_main() -> bool:
    return threading.get_ident() == threading.main_thread().ident


def _enter() -> None:
    if _State.depth == 0:
        for number in SIGNALS:
            handler = _signal.getsignal(number)
            if callable(handler) and handler is not _postpone:
                _State.handlers[number] = handler
                _signal.signal(number, _postpone)
    _State.depth += 1


def _leave() -> None:
    _State.depth -= 1
    if _State.depth:
        return
    for number, handler in _State.handlers.items():
        if _signal.getsignal(number) is _postpone:
            _signal.signal(number, handler)
    _handle_noted()


def _handle_noted() -> None:
    """Call the handlers of what was postponed: all of them, also after one that raises."""
    if _State.noted:
        number, _ = _State.noted.popitem()
        try:
            _State.handlers[number](number, inspect.currentframe())
        finally:
            _handle_noted()


class postponed:  # noqa: N801  # used like a function
    """Postpone interrupts of the main thread until the body has ended; its waits may be interrupted."""

    __slots__ = ("_entered", "_waits")

    def __enter__(self) -> None:
        """Begin to postpone, unless this is another thread, which is never interrupted."""
        self._entered = _is_main()
        if self._entered:
            _enter()
            self._waits, _State.waits = _State.waits, False

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Handle what was postponed; that usually raises KeyboardInterrupt."""
        if self._entered:
            _State.waits = self._waits
            _leave()


def _in_child() -> None:
    """Start anew in a forked child: another thread may have forked while the main thread postponed."""
    _State.depth = _State.firm = 0
    _State.waits = False
    _State.noted.clear()
    for number, handler in _State.handlers.items():
        if _signal.getsignal(number) is _postpone:
            _signal.signal(number, handler)


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_in_child)


class async_postponed:  # noqa: N801
    """Do nothing: a task is only cancelled where it waits."""

    __slots__ = ()

    async def __aenter__(self) -> None:
        """Do nothing."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Do nothing."""


async_waiting = async_postponed


def postponing(call: Callable[P, T]) -> Callable[P, T]:
    """Postpone interrupts until a call has ended."""

    @wraps(call)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        with postponed():
            return call(*args, **kwargs)

    return run


def async_postponing(call: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the call: a task is only cancelled where it waits."""
    return call


class waiting:  # noqa: N801
    """Let interrupts through in the body, which waits for I/O and leaves nothing behind that would be lost."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        """Handle what was postponed so far, and let through what comes."""
        self._before: bool | None = None
        if _State.depth and _is_main():
            self._before, _State.waits = _State.waits, True
            if not _State.firm:
                try:
                    _handle_noted()
                except BaseException:
                    _State.waits = self._before
                    raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Postpone again."""
        if self._before is not None:
            _State.waits = self._before


async def async_undisturbed(call: Callable[..., Coroutine[Any, Any, T]], *arguments: object) -> T:
    """Run a call to its end even if the caller is cancelled; the cancellation is raised afterwards.

    A call that does not wait runs without a task: creating one would cost a fifth of an append.
    """
    work = call(*arguments)
    try:
        waits_for = work.send(None)
    except StopIteration as done:
        return cast(T, done.value)
    return await _undisturbed(work, waits_for)


async def _undisturbed(work: Coroutine[Any, Any, T], waits_for: object) -> T:
    async def rest() -> T:
        return await _rest(work, waits_for)

    task = asyncio.create_task(rest())
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.exception()  # retrieved, so that asyncio does not log it
        raise cancelled
    return task.result()


@types.coroutine
def _rest(work: Coroutine[Any, Any, T], waits_for: object) -> Generator[object, Any, T]:
    """Drive a coroutine that has already yielded once."""
    while True:
        try:
            try:
                sent = yield waits_for
            except BaseException as error:  # noqa: BLE001  # the work decides
                waits_for = work.throw(error)
            else:
                waits_for = work.send(sent)
        except StopIteration as done:
            return cast(T, done.value)


def undisturbed(call: Callable[..., T], *arguments: object) -> T:
    """Run a call to its end; its waits are not interrupted either."""
    if not _is_main():
        return call(*arguments)
    with postponed():
        _State.firm += 1
        try:
            return call(*arguments)
        finally:
            _State.firm -= 1


def wait_until(event: threading.Event, seconds: float) -> bool:
    """Wait for an event, at most `seconds`, and return whether it is set.

    An interrupt inside Event.wait() could leave the event's lock taken, and then its setter would wait forever.
    """
    if not _is_main():
        return event.wait(seconds)
    until = time.monotonic() + seconds
    while True:
        with postponed():
            if event.wait(min(STEP_SECONDS, max(0.0, until - time.monotonic()))):
                return True
        if time.monotonic() >= until:
            return event.is_set()
