"""Limits that JSON must keep before the parser sees it: depth, digits of a number, size of one value.

The parser keeps the path to each value and builds whole values, and it aborts the process on a number that Python
refuses to convert. So each piece of a file is checked first.
"""

import re
import sys
from collections import deque
from typing import BinaryIO

from chatmemory.errors import InvalidInputError

MAX_DEPTH = 1_000
MAX_DIGITS = min(1_300, sys.get_int_max_str_digits() or 1_300)  # the largest integer that can be stored has 1,234
MAX_VALUE_BYTES = 100_000_000  # of one conversation, or of one message of our own export
MAX_STRING_BYTES = 8_000_000  # the parser's time grows with the square of it
MAX_VALUES = 2_000_000  # in one conversation, or in one message of our own export

_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+("|\\?\Z)', re.DOTALL)
_REST_OF_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+("|\\?\Z)', re.DOTALL)
_OF_NUMBERS = rb"[-+.0-9eE]"
_LONG_NUMBER = re.compile(rb"(?<!%b)%b{%d}" % (_OF_NUMBERS, _OF_NUMBERS, MAX_DIGITS + 1))
_FIRST_NUMBER = re.compile(_OF_NUMBERS + rb"*")
_LAST_NUMBER = re.compile(rb"(?<!%b)%b+\Z" % (_OF_NUMBERS, _OF_NUMBERS))
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_OPENING = frozenset(b"[{")
_BETWEEN_VALUES = (b"", b"[", b"{[")  # what is open while all that was built has been handed out


class GuardedFile:
    """A binary file for the parser, which raises InvalidInputError before it hands out what exceeds a limit."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._position = file.tell()
        self._brackets = bytearray()  # those that are open
        self._in_string = self._after_backslash = False
        self._digits = self._string = 0  # lengths of the number and of the string that are being read
        self._bytes = self._values = 0  # size of the value that is being read

    def read(self, size: int = -1) -> bytes:
        """Read the next piece, checked."""
        chunk = self._file.read(size)
        self._check_piece(chunk)
        self._position += len(chunk)
        return chunk

    def _check_piece(self, chunk: bytes) -> None:
        outside = self._without_strings(chunk)
        self._check_numbers(outside)
        self._bytes += len(chunk)
        self._values += outside.count(b",")
        self._check_brackets(outside.translate(None, _NOT_BRACKETS))
        if self._bytes > MAX_VALUE_BYTES or self._values > MAX_VALUES:
            raise self._error("has one value that is too large to be held in memory")

    def _without_strings(self, chunk: bytes) -> bytes:
        """Return the piece with a space for each string, also for one that began or ends in another piece."""
        if self._in_string and chunk:
            rest = _REST_OF_STRING.match(chunk, int(self._after_backslash))
            assert rest is not None  # it matches the empty string, too
            self._string += rest.end()
            self._note_end(rest[1])
            chunk = b" " + chunk[rest.end() :]
        last = deque(_STRING.finditer(chunk), maxlen=1)
        if last:
            self._note_end(last[0][1])
        return _STRING.sub(b" ", chunk)

    def _note_end(self, end: bytes) -> None:
        self._in_string = end != b'"'
        self._after_backslash = end == b"\\"
        if self._string > MAX_STRING_BYTES:
            raise self._error("has a string that is too long")
        if not self._in_string:
            self._string = 0

    def _check_numbers(self, outside: bytes) -> None:
        first, last = _FIRST_NUMBER.match(outside), _LAST_NUMBER.search(outside)
        begun = self._digits + (len(first[0]) if first else 0)
        self._digits = len(last[0]) if last else 0
        if self._digits == len(outside):
            self._digits = begun
        if begun > MAX_DIGITS or _LONG_NUMBER.search(outside):
            raise self._error(f"has a number of more than {MAX_DIGITS:,} digits")

    def _check_brackets(self, brackets: bytes) -> None:
        for bracket in brackets:
            if bracket in _OPENING:
                self._brackets.append(bracket)
                self._values += 1
            elif self._brackets:
                self._brackets.pop()
            if len(self._brackets) > MAX_DEPTH:
                raise self._error(f"nests values deeper than {MAX_DEPTH:,} levels")
            if self._brackets in _BETWEEN_VALUES:
                self._bytes = self._values = 0

    def _error(self, what: str) -> InvalidInputError:
        return InvalidInputError(f"The file {what}, near byte {self._position:,}.")
