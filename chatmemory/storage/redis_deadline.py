"""How long reading an answer of Redis' may take in all: redis-py limits each piece it reads, and there may be many."""

from typing import Any

from redis.connection import DefaultParser
from redis.exceptions import TimeoutError as RedisTimeoutError

from chatmemory._concurrency import is_late


class TimedParser(DefaultParser):  # type: ignore[misc, valid-type]  # redis-py's own choice of a class
    """Stops reading when the time of the call is over, in a handshake too."""

    def read_from_socket(self, *args: Any, **more: Any) -> Any:
        """Read a piece.

        Raises:
            RedisTimeoutError: The time is over.
        """
        if is_late():
            raise RedisTimeoutError("Timeout reading from socket")
        return super().read_from_socket(*args, **more)


def async_reading_limits() -> dict[str, Any]:
    """Nothing: async_within() ends the call, whatever it waits for."""
    return {}


def reading_limits() -> dict[str, Any]:
    """What a client is made with, so that within() ends its calls."""
    return {"parser_class": TimedParser}
