"""Messages of another store of LangChain's, each under an id that a second import finds again."""

import hashlib
import json
from collections import Counter
from dataclasses import replace
from datetime import datetime
from typing import Any

from langchain_core.messages import BaseMessage, convert_to_messages, messages_from_dict

from chatmemory import InvalidInputError, NewMessage
from chatmemory_langchain.messages import to_message

MAX_OWN_ID_BYTES = 255


class MessageReader:
    """Converts the messages of one conversation, in their order.

    Args:
        left_out: Where messages that cannot be converted are counted, by their form.
    """

    def __init__(self, left_out: dict[str, int]) -> None:
        self._left_out = left_out
        self._digests: dict[str, str] = {}
        self._repeats: Counter[str] = Counter()

    def read(self, stored: Any, *, row: object = None, at: datetime | None = None) -> NewMessage | None:
        """Convert a message; None: it is left out.

        Args:
            stored: A LangChain message, or the dict (or its JSON) that message_to_dict() makes.
            row: The key of its row, where the store has one.
            at: When it was said.
        """
        try:
            value = json.loads(stored) if isinstance(stored, (str, bytes)) else stored
            message = to_message(_as_langchain(value))
        except (InvalidInputError, ValueError, KeyError, TypeError, AttributeError, NotImplementedError):
            name = f"messages of {_form(stored)}"
            self._left_out[name] = self._left_out.get(name, 0) + 1
            return None
        digest = _digest([message.role, message.content] if isinstance(value, BaseMessage) else value)
        return replace(message, message_id=self._id(message.message_id, digest, row), created_at=at)

    def _id(self, own: str | None, digest: str, row: object) -> str:
        """Return a message's own id, unless another message has it; else one of its row, or of its content."""
        is_id = own is not None and own.strip() and len(own.encode(errors="replace")) <= MAX_OWN_ID_BYTES
        if own is not None and is_id and self._digests.setdefault(own, digest) == digest:
            return own
        if row is not None:
            return f"row-{row}-{digest}"
        self._repeats[digest] += 1
        return f"{digest}-{self._repeats[digest]}"


def _as_langchain(value: Any) -> BaseMessage:
    if isinstance(value, BaseMessage):
        return value
    [message] = messages_from_dict([value]) if "data" in value else convert_to_messages([value])
    return message


def _form(stored: Any) -> str:
    """Describe a message that cannot be read, without its content."""
    try:
        value = json.loads(stored) if isinstance(stored, (str, bytes)) else stored
    except ValueError:
        return "an unknown form (no JSON)"
    kind = value.get("type") if isinstance(value, dict) else None
    is_word = isinstance(kind, str) and len(kind) <= 40 and kind.replace("-", "_").isidentifier()
    return f"type {kind!r}" if is_word else f"an unknown form ({type(value).__name__})"


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:24]
