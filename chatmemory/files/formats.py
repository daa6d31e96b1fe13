"""The formats of JSON files that can be imported, told apart by what is in them."""

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, TypeAlias

from chatmemory.errors import InvalidInputError
from chatmemory.files import chatgpt, claude, own_export, own_lines
from chatmemory.files.conversations import Conversation, RefusedConversation
from chatmemory.files.json_stream import CHUNK, exact, first_value, raw_items, skip_mark
from chatmemory.json_form import FORMAT
from chatmemory.records import JsonObject, shorten

Reader: TypeAlias = Callable[[JsonObject], Conversation]
LINES = b'{"record"'  # the beginning of an export as JSON Lines
MAX_STRANGE = 1_000  # items before the first conversation
ACCEPTED = (
    "ChatGPT's and Claude's conversations.json (a JSON array), and our own exports (JSON or JSON Lines of "
    f'"{FORMAT}")'
)


def conversations(file: BinaryIO) -> Iterator[Conversation | RefusedConversation]:
    """Read the conversations of a file that can seek, one at a time in bounded memory.

    Raises:
        InvalidInputError: The file is not JSON (the message says where), or its format is unknown.
    """
    start = skip_mark(file)
    head = file.read(CHUNK).lstrip()
    begins = head[:1]
    file.seek(start)
    if head.startswith(LINES):
        yield from own_lines.conversations(file)
    elif begins == b"[":
        yield from _array(file)
    elif begins == b"{" and first_value(file, "format") == FORMAT:
        file.seek(start)
        yield from own_export.conversations(file, start)
    else:
        raise _unknown()


def _array(file: BinaryIO) -> Iterator[Conversation | RefusedConversation]:
    """Read an array in which at least one item is a conversation; the others are refused one by one."""
    strange: list[RefusedConversation] = []
    is_known = False
    for index, item in enumerate(raw_items(file, "item")):
        read = next((format.conversation for format in (chatgpt, claude) if format.is_conversation(item)), None)
        if read is None:
            strange.append(RefusedConversation(_name(item, index), "it is no conversation"))
            if not is_known and len(strange) > MAX_STRANGE:
                break
        is_known = is_known or read is not None
        if is_known:
            yield from strange
            strange.clear()
        if read is not None:
            yield _one(read, item, index)
    if strange:
        raise _unknown()


def _one(read: Reader, item: Any, index: int) -> Conversation | RefusedConversation:
    try:
        return read(exact(item))
    except InvalidInputError as error:
        return RefusedConversation(_name(item, index), str(error))


def _name(item: Any, index: int) -> str:
    ids = [item.get(key) for key in ("conversation_id", "uuid", "id")] if isinstance(item, dict) else []
    return shorten(next((id for id in ids if isinstance(id, str) and id), f"number {index + 1}"), 255)


def _unknown() -> InvalidInputError:
    return InvalidInputError(f"The file's format is unknown. Accepted are: {ACCEPTED}.")
