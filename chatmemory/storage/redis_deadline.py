"""A time limit for reading a whole reply of Redis: redis-py limits each read, and a reply may take many."""

from typing import Any

from redis.connection import DefaultParser
from redis.exceptions import TimeoutError as RedisTimeoutError

from chatmemory._concurrency import is_late


class TimedParser(DefaultParser):  # type: ignore[misc, valid-type]  # redis-py chooses the class
    """Stop reading when the call's time is over, in a handshake too."""

    def read_from_socket(self, *args: Any, **more: Any) -> Any:
        """Read a piece.

        Raises:
            RedisTimeoutError: The time is over.
        """
        if is_late():
            raise RedisTimeoutError("Timeout reading from socket")
        return super().read_from_socket(*args, **more)


def async_reading_limits() -> dict[str, Any]:
    """Return no options: async_within() ends the call itself."""
    return {}


def reading_limits() -> dict[str, Any]:
    """Return the client options with which within() ends its calls."""
    return {"parser_class": TimedParser}
