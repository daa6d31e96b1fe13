"""Conversations of another store, with those of their messages that can be stored."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice

from chatmemory.errors import InvalidInputError
from chatmemory.files.conversations import Conversation, RefusedConversation
from chatmemory.messages.records import NewMessage
from chatmemory.validation import check_message


def storable(
    conversations: Iterable[Conversation | RefusedConversation], max_bytes: int
) -> Iterator[Conversation | RefusedConversation]:
    """Read conversations one at a time; their messages are checked as they are read, and bad ones left out.

    Args:
        conversations: The conversations of a store.
        max_bytes: The largest content of a message, in bytes.

    Raises:
        InvalidInputError: One of them is no conversation.
    """
    for conversation in conversations:
        if isinstance(conversation, RefusedConversation):
            yield conversation
        elif isinstance(conversation, Conversation):
            yield _checked(conversation, max_bytes)
        else:
            raise InvalidInputError(
                f"each item of an iterable must be a Conversation, not {type(conversation).__name__}."
            )


def _checked(conversation: Conversation, max_bytes: int) -> Conversation | RefusedConversation:
    messages = _storable(conversation, max_bytes)
    try:
        first = list(islice(messages, 1))
    except InvalidInputError as error:
        return RefusedConversation(conversation.id, str(error))
    return replace(conversation, messages=chain(first, messages) if first else [])  # no session without a message


def _storable(conversation: Conversation, max_bytes: int) -> Iterator[NewMessage]:
    left_out = conversation.left_out
    for message in conversation.messages:
        if message.message_id is None:
            raise InvalidInputError("a message has no message_id, so importing it twice would store it twice")
        try:
            check_message(message, max_bytes)
        except InvalidInputError as error:
            name = f"messages that cannot be stored: {str(error).rstrip('.')}"
            left_out[name] = left_out.get(name, 0) + 1
        else:
            yield message
