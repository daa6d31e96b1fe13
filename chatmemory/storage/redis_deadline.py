"""Bounds on reading a reply of Redis: its time, since redis-py limits each read only, and its announced size."""

import re
from functools import cache
from typing import Any

from redis.connection import DefaultParser
from redis.exceptions import InvalidResponse
from redis.exceptions import TimeoutError as RedisTimeoutError

from chatmemory._concurrency import is_late

# The head of an array of ten million elements or more, for which hiredis takes the memory before they have arrived. It
# cannot stand in what is stored: JSON has no bare carriage return.
_ENORMOUS = re.compile(rb"[*%~>|]\d{8,}\r")
_LONGEST_HEAD = 24  # bytes


class _CheckedReader:
    """A reader of hiredis that refuses enormous arrays."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self._tail = b""

    def feed(self, data: Any, start: int = 0, count: int | None = None) -> None:
        """Take some bytes.

        Raises:
            InvalidResponse: They announce an array that no script of ours returns.
        """
        count = len(data) - start if count is None else count
        piece = bytes(memoryview(data)[start : start + count])
        seen = self._tail + piece
        if _ENORMOUS.search(seen):
            raise InvalidResponse("an enormous array")
        self._tail = seen[-_LONGEST_HEAD:]
        self._reader.feed(piece)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)


class _Checking:
    """For a parser: check what arrives before hiredis gets it; the parsers in Python take no memory in advance."""

    def on_connect(self, connection: Any) -> None:
        """Begin to read from a connection."""
        super().on_connect(connection)  # type: ignore[misc]  # of the parser
        reader = getattr(self, "_reader", None)
        if reader is not None:
            self._reader = _CheckedReader(reader)


class TimedParser(_Checking, DefaultParser):  # type: ignore[misc, valid-type]  # redis-py chooses the class
    """Stop reading when the call's time is over, in a handshake too."""

    def read_from_socket(self, *args: Any, **more: Any) -> Any:
        """Read a piece.

        Raises:
            RedisTimeoutError: The time is over.
        """
        if is_late():
            raise RedisTimeoutError("Timeout reading from socket")
        return super().read_from_socket(*args, **more)


@cache
def _async_parser() -> type:
    from redis.asyncio.connection import DefaultParser as AsyncParser

    return type("CheckingParser", (_Checking, AsyncParser), {})


def async_reading_limits() -> dict[str, Any]:
    """Return the client options that bound a reply's size; async_within() ends the call itself."""
    return {"parser_class": _async_parser()}


def reading_limits() -> dict[str, Any]:
    """Return the client options with which within() ends its calls, and that bound a reply's size."""
    return {"parser_class": TimedParser}
