"""Runs that a trainer's callbacks record: one for each call of its train() or fit(), ended also by what it raises."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any

from chatmemory import Tenant
from chatmemory_training.run_context import end_with, recording_around
from chatmemory_training.run_recording import Recording
from chatmemory_training.signals import SigtermHandler

_WATCHED = "_chatmemory_watched"


class TrainerCall:
    """A call of a watched method that is in progress.

    Attributes:
        method: The method's name.
        owner: The trainer.
        arguments: The arguments, by name.
    """

    def __init__(self, method: str, owner: Any, arguments: Mapping[str, Any]) -> None:
        self.method, self.owner, self.arguments = method, owner, arguments
        self._runs: list[TrainerRun] = []
        self._sigterm = SigtermHandler()

    def add(self, run: "TrainerRun") -> None:
        """End this run with the call; from now on SIGTERM ends the call as Ctrl-C does."""
        if not self._runs:
            self._sigterm.__enter__()
        self._runs.append(run)

    def left(self, error: BaseException | None) -> None:
        """End the runs that the trainer has not ended."""
        self._sigterm.__exit__()
        for run in self._runs:
            run.end(error)


_call: ContextVar[TrainerCall | None] = ContextVar("trainer_call", default=None)


def current_call() -> TrainerCall | None:
    """Return the innermost call of a watched method around the caller; None: there is none."""
    return _call.get()


def watch(owner: type, *methods: str) -> None:
    """Wrap methods of a trainer's class, as callbacks are not told of what they raise."""
    for name in methods:
        method = getattr(owner, name)
        if not hasattr(method, _WATCHED):
            setattr(owner, name, _watched(name, method))


def _watched(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(method)

    @wraps(method)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            arguments: Mapping[str, Any] = signature.bind_partial(self, *args, **kwargs).arguments
        except TypeError:  # the method says what is wrong
            arguments = {}
        with _calling(TrainerCall(name, self, arguments)):
            return method(self, *args, **kwargs)

    setattr(watched, _WATCHED, True)
    return watched


@contextmanager
def _calling(call: TrainerCall) -> Iterator[None]:
    before = _call.set(call)
    error: BaseException | None = None
    try:
        yield
    except BaseException as raised:
        error = raised
        raise
    finally:
        _call.reset(before)
        call.left(error)


class TrainerRun:
    """The recording of one call of a trainer: that of the record_run() around it, or one of its own.

    Args:
        tenant: The tenant that records the run.
        name: The run's name.
        details: The run's details.
        options: Further arguments of Recording.
        artifacts: The directory of the run's files.

    Attributes:
        recording: The recording.
        is_open: Whether the call is in progress.
    """

    def __init__(
        self,
        tenant: Tenant,
        name: str | None,
        details: Mapping[str, Any],
        options: Mapping[str, Any],
        artifacts: object = None,
    ) -> None:
        around = recording_around(tenant)
        self._is_own = around is None
        self.is_open = True
        self.recording = around or Recording(tenant, name, **options)
        if around is None:
            self.recording.begin(details, artifacts=artifacts)
        else:
            self.recording.update(artifacts=artifacts, **details)
        call = current_call()
        if call is not None:
            call.add(self)

    def end(self, error: BaseException | None = None) -> None:
        """End the run as the exception says, if it is the trainer's own. Only the first call counts."""
        if self.is_open:
            self.is_open = False
            if self._is_own:
                end_with(self.recording, error)
