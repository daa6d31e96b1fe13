"""Messages that were accepted and are not stored yet."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, NamedTuple, cast

from chatmemory.messages.records import Content, Message, Role
from chatmemory.messages.token_counts import Counter, message_tokens
from chatmemory.records import JsonObject, shorten, to_json
from chatmemory.sessions.records import Appended, StoredRow


class Draft(NamedTuple):
    """A checked message to store."""

    id: str
    role: Role
    content: Content
    text: str
    metadata: JsonObject
    created_at: datetime | None
    has_own_id: bool
    tokens: int = 0
    token_encoding: str = ""


def unique(drafts: Iterable[Draft]) -> list[Draft]:
    """Return the drafts without those that repeat an id."""
    first: dict[str, Draft] = {}
    for draft in drafts:
        first.setdefault(draft.id, draft)
    return list(first.values())


def counted(drafts: Iterable[Draft], counter: Counter) -> list[Draft]:
    """Return the drafts with the tokens of each."""
    return [
        draft._replace(tokens=message_tokens(counter, draft.content, draft.metadata), token_encoding=counter.name)
        for draft in drafts
    ]


def batch_arguments(drafts: Sequence[Draft]) -> tuple[Any, ...]:
    """Return the arguments of the SQL function append, for any number of messages."""
    dated = [draft.created_at for draft in drafts if draft.created_at is not None]
    rows = to_json([_row(draft) for draft in drafts])
    tokens = sum(draft.tokens for draft in drafts)
    return (rows, len(drafts), max(dated, default=None), len(dated) == len(drafts), tokens)


def _row(draft: Draft) -> JsonObject:
    row: JsonObject = {"id": draft.id, "role": draft.role, "content": draft.text}
    if draft.token_encoding:
        row["tokens"], row["token_encoding"] = draft.tokens, draft.token_encoding
    if draft.content is not draft.text:
        row["content_json"] = draft.content
    if draft.metadata:
        row["metadata"] = draft.metadata
    if draft.created_at is not None:
        row["created_at"] = draft.created_at.isoformat()
    return row


_NO_MESSAGE = (None,) * 7


def turn_arguments(drafts: Sequence[Draft]) -> tuple[Any, ...]:
    """Return the arguments of the SQL function append_turn, for one or two messages."""
    second = _arguments(drafts[1]) if len(drafts) == 2 else _NO_MESSAGE
    return (drafts[0].token_encoding, *_arguments(drafts[0]), *second)


def _arguments(draft: Draft) -> tuple[Any, ...]:
    content_json = None if draft.content is draft.text else to_json(draft.content)
    metadata = to_json(draft.metadata) if draft.metadata else None
    return (draft.id, draft.role, draft.text, content_json, metadata, draft.tokens, draft.created_at)


def messages_from(drafts: Sequence[Draft], appended: Appended) -> dict[str, Message]:
    """Return the messages by id: those stored before as they are, the new ones with seqs from first_seq on."""
    stored = {row[0]: row for row in appended.stored or ()}
    messages = {}
    seq = appended.first_seq
    for index, draft in enumerate(drafts):
        if index in stored:
            messages[draft.id] = _stored(draft, stored[index])
        else:
            at = draft.created_at or cast(datetime, appended.at)
            messages[draft.id] = Message(
                seq, draft.id, draft.role, draft.content, at, draft.metadata, draft.tokens, draft.token_encoding
            )
            seq += 1
    return messages


def _stored(draft: Draft, row: StoredRow) -> Message:
    _, seq, at, tokens, encoding, blocks, metadata = row
    content = draft.content if blocks is None else blocks
    created_at, repeated = datetime.fromisoformat(at), draft.has_own_id
    return Message(seq, draft.id, draft.role, content, created_at, metadata or {}, tokens, encoding, repeated)


def title_from(drafts: Iterable[Draft]) -> str | None:
    """Return a title from the first user message with at least 20 characters or a question mark; None without one."""
    for draft in drafts:
        text = " ".join(draft.text.split())
        if draft.role == "user" and (len(text) >= 20 or "?" in text):
            return shorten(text, 50)
    return None
