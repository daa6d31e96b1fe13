"""Time limits for Postgres: a deadline of one call, and psycopg's generators with an end."""

import math
import time
from collections.abc import Generator
from typing import Any, TypeVar

import psycopg

T = TypeVar("T")

GRACE_SECONDS = 0.3  # after a deadline, for cancelling the statement on the server
PROBE_SECONDS = 0.6  # after a deadline, for finding out whether the server answers somebody else


class NoAnswerError(psycopg.OperationalError):
    """Postgres did not answer in time."""


class LateError(Exception):
    """A generator was stopped at its deadline.

    Attributes:
        state: What it waits for; bounded() goes on from there.
    """

    def __init__(self, state: Any) -> None:
        super().__init__()
        self.state = state


class Deadline:
    """The moment at which a call must have ended.

    Args:
        seconds: The seconds until then.
        latest: The latest moment allowed, on the monotonic clock.
    """

    def __init__(self, seconds: float, latest: float = math.inf) -> None:
        self._seconds, self._latest = seconds, latest
        self.renew()

    def renew(self) -> None:
        """Begin again, after work that is done once and may take longer: starting a server, migrating."""
        self.at = min(time.monotonic() + self._seconds, self._latest)

    @property
    def left(self) -> float:
        """The seconds that are left, at least 0."""
        return max(0.0, self.at - time.monotonic())

    def sooner(self, share: float) -> float:
        """Return the moment when this share of the remaining time is over."""
        return time.monotonic() + self.left * share


def bounded(work: Generator[Any, Any, T], at: float, state: Any = None) -> Generator[Any, Any, T]:
    """Drive one of psycopg's generators until a moment; psycopg resumes it ten times a second, answer or not.

    Args:
        work: The generator.
        at: The moment, on the monotonic clock.
        state: What it waits for, if it was stopped before.

    Raises:
        LateError: It was not done by then.
    """
    try:
        if state is None:
            state = next(work)
        while True:
            ready = yield state
            state = work.send(ready)
            if time.monotonic() >= at:
                raise LateError(state)
    except StopIteration as done:
        value: T = done.value
        return value
