"""Conversations in the lists of LangChain's RedisChatMessageHistory."""

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import redis

from chatmemory import ConfigurationError, Conversation, NewMessage, RefusedConversation, StorageUnavailableError
from chatmemory_langchain.import_messages import MessageReader

NAME = "langchain-redis"
PIECE = 100  # messages that are read at once
OTHER_PREFIX = "chat:"  # of the keys of langchain-redis
CONNECT_SECONDS, READ_SECONDS = 10, 60


def langchain_redis_conversations(
    url: str, *, prefix: str = "message_store:"
) -> Iterator[Conversation | RefusedConversation]:
    """Read the conversations of langchain-community's RedisChatMessageHistory: one list for each session.

    They are read in pieces, while they are iterated; for Tenant.import_conversations().

    Args:
        url: The URL of the server.
        prefix: The app's key_prefix.

    Raises:
        ConfigurationError: The source cannot be reached, or has another layout.
        StorageUnavailableError: The source stopped answering.
    """
    with closing(_client(url)) as client:
        found = False
        for key in _keys(client, prefix, "list"):
            found = True
            yield _conversation(client, key, prefix)
        if not found and next(_keys(client, OTHER_PREFIX), None) is not None:
            raise ConfigurationError(
                f"There is no list under the prefix {prefix!r}, but there are keys under {OTHER_PREFIX!r}, where the "
                "package langchain-redis keeps one JSON document for each message. That layout cannot be imported; "
                "docs/migrate.md says what to do."
            )


def _client(url: str) -> Any:
    try:
        client = redis.Redis.from_url(
            url, socket_connect_timeout=CONNECT_SECONDS, socket_timeout=READ_SECONDS, decode_responses=False
        )
    except (ValueError, TypeError):
        raise ConfigurationError("The source's URL cannot be read; write redis://user:password@host:port/0.") from None
    try:
        client.ping()
    except redis.RedisError as error:
        client.close()
        raise ConfigurationError(f"The source cannot be reached: {error}") from None
    return client


def _keys(client: Any, prefix: str, kind: str | None = None) -> Iterator[bytes]:
    pattern = re.sub(r"([\\*?\[\]])", r"\\\1", prefix) + "*"
    keys = client.scan_iter(match=pattern, count=500, _type=kind)
    while True:
        with _translated():
            key = next(keys, None)
        if key is None:
            return
        yield key


def _conversation(client: Any, key: bytes, prefix: str) -> Conversation | RefusedConversation:
    id = key.decode(errors="replace").removeprefix(prefix)
    left_out: dict[str, int] = {}
    return Conversation(
        id=id,
        source=NAME,
        origin={"from": NAME, "id": id},
        messages=_messages(client, key, MessageReader(left_out)),
        status="expired",
        left_out=left_out,
    )


def _messages(client: Any, key: bytes, reader: MessageReader) -> Iterator[NewMessage]:
    """Read a list from its end, where the oldest message stands; new ones come in at its beginning."""
    at = -1
    while True:
        with _translated():
            piece = client.lrange(key, at - PIECE + 1, at)
        for stored in reversed(piece):
            message = reader.read(stored)
            if message is not None:
                yield message
        at -= PIECE
        if len(piece) < PIECE:
            return


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except redis.ResponseError as error:
        raise ConfigurationError(f"The source cannot be read: {error}") from None
    except redis.RedisError:
        raise StorageUnavailableError(
            "The source stopped answering. Importing again is safe: it adds only what is missing."
        ) from None
