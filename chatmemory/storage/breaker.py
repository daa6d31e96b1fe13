"""A circuit breaker (Nygard, Release It!): after a failure nobody tries, until a probe has seen that it works again.

Pure: the clock's reading is passed in, in seconds.
"""

from typing import Literal

PROBE_SECONDS = 1.0


class Breaker:
    """Closed while all is well; open from a failure until a probe succeeds.

    Args:
        pause: How long after a failure, or after the last probe, the next probe is due, in seconds.
    """

    def __init__(self, pause: float = PROBE_SECONDS) -> None:
        self._pause = pause
        self._probe_at: float | None = None

    @property
    def is_closed(self) -> bool:
        """Whether calls may go through."""
        return self._probe_at is None

    @property
    def state(self) -> Literal["closed", "open"]:
        """The same, as a word."""
        return "closed" if self.is_closed else "open"

    def failed(self, now: float) -> None:
        """A call, or a probe, has failed."""
        self._probe_at = now + self._pause

    def probe_is_due(self, now: float) -> bool:
        """Whether somebody should probe; true for one caller only, until the next pause is over."""
        if self._probe_at is None or now < self._probe_at:
            return False
        self._probe_at = now + self._pause
        return True

    def succeeded(self) -> None:
        """A probe has succeeded."""
        self._probe_at = None
