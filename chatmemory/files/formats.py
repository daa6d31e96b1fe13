"""The formats of files that can be imported, told apart by how they begin."""

from collections.abc import Iterator
from typing import BinaryIO

from chatmemory.errors import InvalidInputError
from chatmemory.files import chatgpt, own_export
from chatmemory.files.conversations import Conversation, Refused
from chatmemory.files.json_stream import CHUNK, first_value, skip_mark
from chatmemory.json_form import FORMAT

ACCEPTED = f'ChatGPT\'s conversations.json (a JSON array), and our own export (a JSON object of "{FORMAT}")'


def conversations(file: BinaryIO) -> Iterator[Conversation | Refused]:
    """Read the conversations of a file that can seek, one at a time in bounded memory.

    Raises:
        InvalidInputError: The file is not JSON (the message says where), or its format is unknown.
    """
    start = skip_mark(file)
    begins = file.read(CHUNK).lstrip()[:1]
    file.seek(start)
    if begins == b"[":
        found = chatgpt.conversations(file)
    elif begins == b"{" and first_value(file, "format") == FORMAT:
        file.seek(start)
        found = own_export.conversations(file, start)
    else:
        raise _unknown()
    try:
        yield from found
    except chatgpt.UnknownFormatError:
        raise _unknown() from None


def _unknown() -> InvalidInputError:
    return InvalidInputError(f"The file's format is unknown. Accepted are: {ACCEPTED}.")
