"""JSON files read piece by piece, in bounded memory; errors say at which byte the file stops being JSON."""

from collections.abc import Iterator
from decimal import Decimal
from math import isfinite
from typing import Any, BinaryIO

import ijson

from chatmemory.errors import InvalidInputError
from chatmemory.files.guard import GuardedFile
from chatmemory.validation import MAX_JSON_DEPTH

CHUNK = 65_536
_OUT_OF_RANGE = "The file has a number whose exponent is out of range."
_UTF8_MARK = b"\xef\xbb\xbf"


def skip_mark(file: BinaryIO) -> int:
    """Go behind a byte order mark, if there is one; return where the JSON begins."""
    first = file.read(len(_UTF8_MARK))
    if not isinstance(first, bytes):
        raise InvalidInputError("file must be open in binary mode.")
    start = len(_UTF8_MARK) if first == _UTF8_MARK else 0
    file.seek(start)
    return start


def items(file: BinaryIO, prefix: str) -> Iterator[Any]:
    """Read the values at `prefix` as exact() gives them, one at a time.

    Raises:
        InvalidInputError: The file is not JSON from some byte on.
    """
    return map(exact, raw_items(file, prefix))


def raw_items(file: BinaryIO, prefix: str, *, lines: bool = False) -> Iterator[Any]:
    """Read the values at `prefix` as the parser gives them, one at a time; errors are items()'.

    Args:
        file: The open file.
        prefix: Where the values are; "": the whole document.
        lines: Whether the file is JSON Lines, of which each is a document.
    """
    try:
        yield from ijson.items(GuardedFile(file), prefix, buf_size=CHUNK, multiple_values=lines)
    except ijson.JSONError as error:
        raise malformed(file, error, lines=lines) from None
    except ArithmeticError:
        raise InvalidInputError(_OUT_OF_RANGE) from None


def first_value(file: BinaryIO, prefix: str) -> Any:
    """Read the first value at `prefix`; None where there is none."""
    return exact(next(raw_items(file, prefix), None))


def exact(value: Any, depth: int = 0) -> Any:
    """Turn the parser's decimals into floats, and NUL, which Postgres cannot hold, into U+FFFD."""
    if depth > MAX_JSON_DEPTH + 20:
        raise InvalidInputError(f"The file nests values deeper than {MAX_JSON_DEPTH} levels.")
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, Decimal):
        return _float(value)
    if isinstance(value, list):
        return [exact(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {exact(key): exact(item, depth + 1) for key, item in value.items()}
    return value


def _float(value: Decimal) -> float:
    number = float(value)
    if not isfinite(number):
        raise InvalidInputError(_OUT_OF_RANGE)
    return number


def malformed(file: BinaryIO, error: ijson.JSONError, *, lines: bool = False) -> InvalidInputError:
    """Say at which byte the file stops being JSON: the parser only says that it does."""
    position, line = _first_bad_byte(file, lines)
    reason = str(error).removeprefix("b'").replace("\\n", "\n").partition("\n")[0]
    return InvalidInputError(f"The file is not valid JSON at byte {position:,} (line {line:,}): {reason}")


def _first_bad_byte(file: BinaryIO, lines: bool) -> tuple[int, int]:
    file.seek(0)
    position = skip_mark(file)
    line = 1
    good = _accepted(file, lines)
    file.seek(position)
    for size in good:
        chunk = file.read(size)
        position += len(chunk)
        line += chunk.count(b"\n")
    return position, line


def _accepted(file: BinaryIO, lines: bool) -> list[int]:
    """The sizes of the pieces the parser takes, from here to the first byte it does not."""
    start = file.tell()
    sizes: list[int] = []
    parser = ijson.basic_parse_coro(_Ignore(), multiple_values=lines)
    try:
        while chunk := file.read(CHUNK):
            parser.send(chunk)
            sizes.append(len(chunk))
    except (ijson.JSONError, StopIteration):
        return sizes + [1] * _accepted_bytes(file, start, sizes, chunk, lines)
    return sizes


def _accepted_bytes(file: BinaryIO, start: int, sizes: list[int], chunk: bytes, lines: bool) -> int:
    """Return the number of bytes of a refused chunk that were still good."""
    parser = ijson.basic_parse_coro(_Ignore(), multiple_values=lines)
    file.seek(start)
    for size in sizes:
        parser.send(file.read(size))
    for index in range(len(chunk)):
        try:
            parser.send(chunk[index : index + 1])
        except (ijson.JSONError, StopIteration):
            return index
    return len(chunk)


class _Ignore:
    """A target for parser events that nobody wants."""

    def send(self, event: object) -> None:
        """Drop it."""
