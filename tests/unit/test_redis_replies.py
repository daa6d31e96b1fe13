"""The size that a reply of Redis announces is bounded before hiredis takes memory for it."""

import hiredis
import pytest
from redis.exceptions import InvalidResponse

from chatmemory.storage.redis_deadline import _CheckedReader

HEADS = [b"*3000000000\r\n", b"*2\r\n*900000000\r\n", b"~100000000\r\n"]


def feed(data: bytes, size: int) -> None:
    """Give a new reader some bytes in pieces."""
    reader = _CheckedReader(hiredis.Reader())
    for start in range(0, len(data), size):
        reader.feed(data[start : start + size])


@pytest.mark.parametrize("head", HEADS)
def test_an_enormous_array_is_refused(head: bytes) -> None:
    """In one piece, or in pieces of any size."""
    for size in range(1, len(head) + 1):
        with pytest.raises(InvalidResponse):
            feed(head, size)


def test_other_replies_are_read() -> None:
    """A part of a buffer, as the sync parser gives it, and all of one."""
    reader = _CheckedReader(hiredis.Reader())
    reader.feed(bytearray(b"*2\r\n$1\r\na\r\n:12345678\r\nrest of the buffer"), 0, 22)
    assert reader.gets() == [b"a", 12345678]
