"""Writing of a run's values one by one, after the database refused them together: only the refused ones are lost."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from chatmemory import InvalidInputError, Session

NOT_STORED = "not_stored"  # metadata key: for each refused value, the reason
MAX_REASON_CHARACTERS = 200
MAX_REASONS = 100
CUT_CHARACTERS = 10_000  # of a message that is too large


def update_piecewise(session: Session, changes: Mapping[str, Any]) -> dict[str, str]:
    """Store each value of an update by itself; list the refused ones in the session's metadata.

    Returns:
        The reason for each refused value, by its path.
    """
    refused: dict[str, str] = {}
    for path, change in _pieces(changes):
        try:
            session.update(**change)
        except InvalidInputError as error:
            refused[path[:MAX_REASON_CHARACTERS]] = str(error)[:MAX_REASON_CHARACTERS]
    note_refused(session, refused)
    return refused


def append_piecewise(session: Session, messages: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Append each message by itself; a refused one is cut, and without its metadata.

    Returns:
        The reason for each refused message, by its id.
    """
    refused: dict[str, str] = {}
    for number, message in enumerate(messages):
        try:
            session.append_many([message])
        except InvalidInputError as error:
            refused[f"messages.{message.get('message_id', number)}"] = str(error)[:MAX_REASON_CHARACTERS]
            content = str(message.get("content"))
            cut = f"{content[:CUT_CHARACTERS]}… [cut: {len(content):,} characters]"
            _append_cut(session, {**message, "content": cut if len(content) > CUT_CHARACTERS else content})
    note_refused(session, refused)
    return refused


def note_refused(session: Session, refused: Mapping[str, str]) -> None:
    """List refused values in the session's metadata."""
    if refused:
        before = session.info.metadata.get(NOT_STORED)
        reasons = {**(before if isinstance(before, dict) else {}), **refused}
        session.update(metadata={NOT_STORED: dict(list(reasons.items())[:MAX_REASONS])})


def _append_cut(session: Session, message: dict[str, Any]) -> None:
    try:
        session.append_many([{name: value for name, value in message.items() if name != "metadata"}])
    except InvalidInputError:
        return  # it is noted


def _pieces(changes: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for field, value in changes.items():
        if isinstance(value, dict):
            yield from ((f"{field}.{name}", {field: {name: each}}) for name, each in value.items())
        elif value is not None:
            yield field, {field: value}
