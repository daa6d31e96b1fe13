"""Archives as ChatGPT and Claude hand them out: the .zip whose conversations.json is wanted, within bounds."""

import re
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import BinaryIO, cast
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from chatmemory.errors import InvalidInputError
from chatmemory.files import formats
from chatmemory.files.conversations import Conversation, RefusedConversation
from chatmemory.records import shorten

MAX_RATIO = 100  # of what is unpacked to its size in the archive; conversations come to about 10
SMALL = 10_000_000  # bytes that may be unpacked of any archive: reading them takes about a second
MAX_DIRECTORY_BYTES = 16_000_000  # of the list of files, which is read into memory
_BEGINS = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")
_END, _END_SIZE, _MAX_COMMENT = b"PK\x05\x06", 22, 65_535
_WANTED = re.compile(r"conversations([-_ (]*\d+\)?)?\.json", re.IGNORECASE)
_ENCRYPTED = 0x1


def conversations(file: BinaryIO) -> Iterator[Conversation | RefusedConversation]:
    """Read the conversations of a file that can seek, or of the files in it if it is a .zip archive.

    Raises:
        InvalidInputError: As formats.conversations(), or the archive is damaged, encrypted or unpacks to too much.
    """
    begin = file.read(4)
    file.seek(0)
    if begin not in _BEGINS:
        yield from formats.conversations(file)
        return
    with _archive(file) as archive:
        for member in _wanted(archive, file):
            with closing(_Unpacked(archive, member)) as unpacked:
                yield from _named(member, formats.conversations(cast(BinaryIO, unpacked)))


def _named(
    member: ZipInfo, found: Iterator[Conversation | RefusedConversation]
) -> Iterator[Conversation | RefusedConversation]:
    try:
        yield from found
    except InvalidInputError as error:
        raise type(error)(f"{_name(member)} in the archive: {error}") from None


def _archive(file: BinaryIO) -> ZipFile:
    if _directory_size(file) > MAX_DIRECTORY_BYTES:
        raise InvalidInputError("The archive lists too many files.")
    file.seek(0)
    try:
        return ZipFile(file)
    except (BadZipFile, ValueError, OSError, NotImplementedError):
        raise _damaged("The archive") from None


def _directory_size(file: BinaryIO) -> int:
    """Return the size of the list of files; the end of an archive says it, before its comment."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _END_SIZE - _MAX_COMMENT))
    tail = file.read()
    at = tail.rfind(_END)
    if at < 0 or len(tail) - at < _END_SIZE:
        raise _damaged("The archive")
    return int.from_bytes(tail[at + 12 : at + 16], "little")


def _wanted(archive: ZipFile, file: BinaryIO) -> list[ZipInfo]:
    """Return the files to read: those named like conversations.json, else all .json files."""
    members = [each for each in archive.infolist() if not each.is_dir() and "__MACOSX" not in each.filename]
    wanted = [each for each in members if _WANTED.fullmatch(each.filename.rpartition("/")[2])]
    wanted = wanted or [each for each in members if each.filename.lower().endswith(".json")]
    if not wanted:
        raise InvalidInputError(f"The archive has no conversations.json. Accepted are: {formats.ACCEPTED}.")
    packed = min(sum(each.compress_size for each in wanted), file.seek(0, 2))  # files may be said to lie in one place
    if sum(each.file_size for each in wanted) > max(SMALL, MAX_RATIO * packed):
        raise InvalidInputError(f"The conversations in the archive unpack to more than {MAX_RATIO} times their size.")
    for each in wanted:
        if each.flag_bits & _ENCRYPTED:
            raise InvalidInputError(f"{_name(each)} in the archive is encrypted; unpack it, and import the file.")
        if each.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise InvalidInputError(f"{_name(each)} in the archive is compressed in an unusual way; unpack it first.")
    return sorted(wanted, key=lambda each: [int(part) if part.isdigit() else part for part in _parts(each)])


def _parts(member: ZipInfo) -> list[str]:
    """Split a name into texts and numbers in turn, so that 10 comes after 9."""
    return re.split(r"([0-9]+)", member.filename)


def _name(member: ZipInfo) -> str:
    return shorten(member.filename, 100)


def _damaged(what: str) -> InvalidInputError:
    return InvalidInputError(f"{what} is damaged; download it again.")


class _Unpacked:
    """One file of an archive, which can seek; a damaged one raises InvalidInputError."""

    def __init__(self, archive: ZipFile, member: ZipInfo) -> None:
        self._name = f"{_name(member)} in the archive"
        try:
            self._file = archive.open(member)
        except (BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError):
            raise _damaged(self._name) from None

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes."""
        try:
            return self._file.read(size)
        except (BadZipFile, zlib.error, EOFError):
            raise _damaged(self._name) from None

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a position; going back unpacks from the beginning again."""
        try:
            return self._file.seek(offset, whence)
        except (BadZipFile, zlib.error, EOFError):
            raise _damaged(self._name) from None

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()

    def close(self) -> None:
        """Close it."""
        self._file.close()
