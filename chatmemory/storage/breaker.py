"""A circuit breaker (Nygard, Release It!): after a failure no call goes through until a probe has succeeded.

Pure: callers pass the time of a monotonic clock, in seconds.
"""

from typing import Literal

PROBE_SECONDS = 1.0


class Breaker:
    """Closed while all is well; open from a failure until a probe succeeds.

    Args:
        pause: The time from a failure or probe to the next probe, in seconds.
    """

    def __init__(self, pause: float = PROBE_SECONDS) -> None:
        self._pause = pause
        self._probe_at: float | None = None

    @property
    def is_closed(self) -> bool:
        """True if calls may go through."""
        return self._probe_at is None

    @property
    def state(self) -> Literal["closed", "open"]:
        """The state as a word."""
        return "closed" if self.is_closed else "open"

    def failed(self, now: float) -> None:
        """Note that a call or a probe has failed."""
        self._probe_at = now + self._pause

    def probe_is_due(self, now: float) -> bool:
        """Return whether the caller should probe; true for one caller per pause."""
        if self._probe_at is None or now < self._probe_at:
            return False
        self._probe_at = now + self._pause
        return True

    def succeeded(self) -> None:
        """Note that a probe has succeeded."""
        self._probe_at = None
