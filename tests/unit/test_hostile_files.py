"""Files made to exhaust the parser: each is an error, within a bound of memory, and never the end of the process."""

import io
import json
import subprocess
import sys

import pytest

from chatmemory import InvalidInputError
from chatmemory.files.formats import conversations
from chatmemory.files.guard import MAX_DEPTH, GuardedFile

# Reads each file with 1 GB of address space, and prints a line of JSON for it.
READ = """
import io, json, resource, sys
from chatmemory import InvalidInputError
from chatmemory.files.formats import conversations
resource.setrlimit(resource.RLIMIT_AS, (1_000_000_000, 1_000_000_000))
for name, (begin, middle, times, end) in json.load(sys.stdin).items():
    try:
        results = [each.reason for each in conversations(io.BytesIO((begin + middle * times + end).encode()))]
    except InvalidInputError as error:
        results = [str(error)]
    print(json.dumps([name, results]), flush=True)
"""

SESSION = '{"format": "chatmemory/1", "session": '
# The beginning of a file, what repeats in it, how often, and its end.
HOSTILE = {
    "nested arrays": ("", "[", 80_000, ""),
    "more nested arrays": ("", "[", 5_000_000, ""),
    "nested objects": ('[{"mapping":', '{"a":', 100_000, ""),
    "nesting after a long text": ('[{"mapping": {}, "a": "' + "x" * 100_000 + '", "b":', "[", 80_000, ""),
    "nesting behind an escaped quote": (r'[{"a": "\\", "b":', "[", 80_000, ""),
    "a long number": ("[", "1", 4_301, "]"),
    "a long negative number": ("[-", "1", 70_000, "]"),
    "a long fraction": ("[0.", "1", 9_000_000, "]"),
    "a long number over a boundary": ("[" + " " * 63_000, "1", 4_301, "]"),
    "a large exponent": ("[1e", "9", 20, "]"),
    "a small exponent": ("[1e-", "9", 20, "]"),
    "a number that is no float": ('[{"mapping": {}, "id": "a", "create_time": 1e400}', "", 0, "]"),
    "many values": ('[{"mapping":{"a":[', "{},", 2_000_000, "{}]}}]"),
    "many numbers": ('[{"mapping":{"a":[', "1.5,", 3_000_000, "1]}}]"),
    "one long string": ('[{"mapping": {}, "a": "', "x", 9_000_000, '"}]'),
    "one string of escaped quotes": ('[{"mapping": {}, "a": "', r"\"", 4_500_000, '"}]'),
    "depth in our own export": (SESSION, "[", 80_000, ""),
    "a long number in our own export": (SESSION, "1", 4_301, "}"),
    "a large exponent in our own export": (SESSION + '{"id": 1e', "9", 20, "}}"),
    "many values in our own export": (SESSION + '{"metadata": [', "[],", 9_000_000, "1]}}"),
}


def test_hostile_files() -> None:
    """A file that would exhaust the memory or the parser is refused by a typed error, or by its conversation."""
    done = subprocess.run(
        [sys.executable, "-c", READ],
        input=json.dumps(HOSTILE),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    results = dict(map(json.loads, done.stdout.splitlines()))
    assert (done.returncode, done.stderr, results.keys()) == (0, "", HOSTILE.keys())
    for name, reasons in results.items():
        assert all(reason.startswith("The file") for reason in reasons), name


def drain(file: GuardedFile, size: int) -> bytes:
    """Read a file to its end in pieces of this size."""
    pieces = []
    while piece := file.read(size):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 65_536])
def test_guard_follows_strings_over_pieces(size: int) -> None:
    """Brackets and digits within strings count for nothing, wherever a piece of the file ends."""
    text = json.dumps(['\\"[[[' * 2_000, "1" * 5_000, "\\", {"a\\": "]]}}"}, "[" * 5_000, "\\\\"]).encode()
    assert drain(GuardedFile(io.BytesIO(text)), size) == text


@pytest.mark.parametrize("size", [1, 2, 3, 7, 65_536])
def test_guard_counts_over_pieces(size: int) -> None:
    """Depth and digits are counted on over the end of a piece."""
    for text in (b'["\\"", ' + b"[" * MAX_DEPTH, b'["\\\\", ' + b"1" * 1_301, b"[[]] -" + b"1" * 1_300):
        guarded = GuardedFile(io.BytesIO(text))
        with pytest.raises(InvalidInputError, match="near byte"):
            drain(guarded, size)


def test_many_messages_are_not_one_value() -> None:
    """The limits are those of one conversation: many of them in one file may exceed them together."""
    one = json.dumps({"id": "a", "mapping": {}, "more": [[]] * 150_000}).encode()
    assert len(list(conversations(io.BytesIO(b"[" + b",".join([one] * 8) + b"]")))) == 8


def test_text_file() -> None:
    """A file opened as text is refused."""
    with pytest.raises(InvalidInputError, match="binary"):
        list(conversations(io.StringIO("[]")))  # type: ignore[arg-type]
