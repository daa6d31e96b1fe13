"""Validation of ids, roles, content, metadata and numbers. Bad input is rejected before anything is written."""

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, cast
from uuid import UUID

import uuid_utils

from chatmemory import kinds
from chatmemory.errors import ContentTooLargeError, InvalidInputError, KindError, MessageConflictError
from chatmemory.messages.drafts import Draft
from chatmemory.messages.records import Content, NewMessage, Role, text_of
from chatmemory.messages.tool_calls import identity_in
from chatmemory.records import JsonObject, shorten, to_json

MAX_ID_BYTES = 255
MAX_TITLE_LENGTH = 500
MAX_JSON_DEPTH = 100
MAX_METADATA_BYTES = 1_000_000
MAX_INTEGER_BITS = 4096
Choice = TypeVar("Choice", bound=str)
MAX_SHARE = 0.9
MAX_DURATION = timedelta(days=36_500)

_ROLES: dict[str, Role] = {
    "system": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "tool": "tool",
}
_KEYS = frozenset({"role", "content", "message_id", "metadata", "created_at"})


def new_id() -> str:
    """Return a new UUIDv7 (RFC 9562); such ids sort by creation time."""
    return str(uuid_utils.uuid7())


def check_id(value: object, what: str) -> str:
    """Return the id as a string; `what` names it in errors."""
    if isinstance(value, str):
        text = value
    elif isinstance(value, (int, UUID, uuid_utils.UUID)) and not isinstance(value, bool):
        text = str(check_integer(value, what)) if isinstance(value, int) else str(value)
    else:
        raise InvalidInputError(f"{what} must be a string, an int or a UUID, not {type(value).__name__}.")
    if not text.strip():
        raise InvalidInputError(f"{what} is empty; give a non-empty string.")
    size = check_text(text, what)
    if size > MAX_ID_BYTES:
        raise InvalidInputError(f"{what} has {size} bytes in UTF-8; at most {MAX_ID_BYTES} are allowed.")
    return text


def check_integer(value: int, what: str) -> int:
    """Check that Python can convert an integer to decimal digits."""
    if value.bit_length() > MAX_INTEGER_BITS:
        raise InvalidInputError(f"{what} is an integer of {value.bit_length()} bits; store it as a string.")
    return value


def shown(value: object) -> str:
    """Describe a value for an error: a short word literally, anything that may be content by its type."""
    is_word = isinstance(value, str) and len(value) <= 30 and value.replace("-", "_").isidentifier()
    return repr(value) if is_word else f"a {type(value).__name__} that is no such word"


def check_choice(value: object, what: str, choices: Iterable[Choice]) -> Choice:
    """Return the value if it is one of the choices."""
    allowed = tuple(choices)
    for choice in allowed:
        if value == choice:
            return choice
    raise InvalidInputError(f"{what} is {shown(value)}; use one of {', '.join(allowed)}.")


def check_text(text: object, what: str) -> int:
    """Check that Postgres can store a string; return its size in bytes of UTF-8."""
    if not isinstance(text, str):
        raise InvalidInputError(f"{what} must be a string, not {type(text).__name__}.")
    if "\0" in text:
        raise InvalidInputError(f"{what} has a NUL character, which Postgres cannot store; remove it.")
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"{what} has a lone surrogate at character {error.start}, which UTF-8 cannot hold; "
            "decode the text correctly or remove it."
        ) from None


def check_kind(kind: object) -> str:
    """Return the kind's name if it is registered."""
    if not isinstance(kind, str) or kinds.find(kind) is None:
        raise KindError(
            f"kind is {shown(kind)}; use one of {', '.join(kinds.registered())}, or register_kind() your own."
        )
    return kind


def check_kind_name(kind: object) -> str:
    """Return a kind to filter by: that of an app need not be registered in this process."""
    return kind if isinstance(kind, str) and kinds.is_name(kind) else check_kind(kind)


def check_role(role: object) -> Role:
    """Return the role under its stored name."""
    stored = _ROLES.get(role) if isinstance(role, str) else None
    if stored is None:
        raise InvalidInputError(f"role is {shown(role)}; use one of {', '.join(_ROLES)}.")
    return stored


def check_iterable(values: object, what: str) -> Iterable[Any]:
    """Return a list or another iterable; a string or a mapping is none."""
    if isinstance(values, (str, bytes, bytearray, Mapping)) or not isinstance(values, Iterable):
        raise InvalidInputError(f"{what} must be a list, not {type(values).__name__}.")
    return values


def check_list(values: object, what: str) -> list[Any]:
    """Return the values of a list or another iterable."""
    return list(check_iterable(values, what))


def check_title(title: str | None) -> str | None:
    """Return the title if it is valid."""
    if title is None:
        return None
    check_text(title, "title")
    if len(title) > MAX_TITLE_LENGTH:
        raise InvalidInputError(f"title has {len(title)} characters; at most {MAX_TITLE_LENGTH} are allowed.")
    return title


def check_count(value: object, what: str, *, least: int = 0) -> int:
    """Return a whole number from `least` to 2**63 - 1."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInputError(f"{what} must be a whole number, not {type(value).__name__}.")
    if abs(value) >= 2**63:
        raise InvalidInputError(f"{what} has {value.bit_length()} bits; it must lie between {least} and 2**63.")
    if value < least:
        raise InvalidInputError(f"{what} is {value}; it must be at least {least}.")
    return value


def check_budget(max_tokens: object, reserve: object) -> int | None:
    """Return the token budget of a context; None if it has no limit."""
    reserved = check_count(reserve, "reserve_tokens")
    if max_tokens is None:
        if reserved:
            raise InvalidInputError("reserve_tokens is subtracted from max_tokens; give both.")
        return None
    budget = check_count(max_tokens, "max_tokens", least=1)
    if reserved >= budget:
        raise InvalidInputError(f"reserve_tokens is {reserved}; it must be less than max_tokens, which is {budget}.")
    return budget - reserved


def check_share(value: object, what: str, *, most: float = MAX_SHARE) -> float:
    """Return a share from 0 to `most`."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= most:
        raise InvalidInputError(f"{what} must be a number from 0 to {most}.")
    return float(value)


def check_time(value: datetime | None, what: str) -> datetime | None:
    """Return a time in UTC; it must have a time zone."""
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidInputError(f"{what} must be a datetime, not {type(value).__name__}.")
    if value.utcoffset() is None:
        raise InvalidInputError(f"{what} has no time zone; use datetime.now(timezone.utc) or .replace(tzinfo=…).")
    try:
        utc = value.astimezone(UTC)
    except OverflowError:
        utc = datetime.max.replace(tzinfo=UTC)
    if not 2 <= utc.year <= 9998:  # near the limits, another time zone would overflow
        raise InvalidInputError(f"{what} lies outside the years 2 to 9998.")
    return utc


def check_past(value: datetime | None, what: str) -> datetime | None:
    """Return a time in UTC that does not lie in the future, but for a day of clocks that differ."""
    time = check_time(value, what)
    if time is not None and time > datetime.now(UTC) + timedelta(days=1):
        raise InvalidInputError(f"{what} lies in the future: {time:%Y-%m-%d %H:%M} UTC.")
    return time


def check_duration(value: timedelta, what: str) -> timedelta:
    """Return a duration that is not negative, capped to what Postgres can add to a time."""
    if not isinstance(value, timedelta) or value < timedelta(0):
        raise InvalidInputError(f"{what} must be a timedelta of 0 or more.")
    return min(value, MAX_DURATION)


def check_object(value: Mapping[str, Any] | None, what: str) -> JsonObject:
    """Return a JSON object as a dict that the database returns unchanged."""
    return cast(JsonObject, check_json(check_mapping(value, what), what))


def check_mapping(value: Mapping[str, Any] | None, what: str) -> JsonObject:
    """Return a mapping as a dict, whose values are not checked."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise InvalidInputError(f"{what} must be a mapping, not {type(value).__name__}.")
    return dict(value)


def check_values(value: Any, what: str) -> Any:
    """Return the value if JSON represents it without a change; it may have any size."""
    _check_value(value, what, 0, ())
    return value


def check_json(value: Any, what: str) -> Any:
    """Return the value if JSON represents it without a change, and it is not too large."""
    _check_value(value, what, 0, ())
    if check_text(to_json(value), what) > MAX_METADATA_BYTES:
        raise InvalidInputError(f"{what} is larger than {MAX_METADATA_BYTES} bytes of JSON; store a reference.")
    return value


def _check_value(value: Any, path: str, depth: int, above: tuple[int, ...]) -> None:
    """Check a value and everything nested in it; `path` names the place in errors, `above` detects cycles."""
    kind = type(value)
    if kind is str:
        check_text(value, path)
    elif kind is dict or kind is list:
        if id(value) in above:
            raise InvalidInputError(f"{path} contains itself; JSON has no cycles.")
        if depth >= MAX_JSON_DEPTH:
            raise InvalidInputError(f"{path} is nested deeper than {MAX_JSON_DEPTH} levels.")
        _check_items(value, path, depth + 1, (*above, id(value)))
    elif kind is float:
        if not math.isfinite(value):
            raise InvalidInputError(f"{path} is {value}, which JSON cannot represent; use None.")
    elif kind is int:
        check_integer(value, path)
    elif value is not None and kind is not bool:
        raise InvalidInputError(f"{path} is a {kind.__name__}, which JSON cannot represent.")


def _check_items(value: dict[Any, Any] | list[Any], path: str, depth: int, above: tuple[int, ...]) -> None:
    if isinstance(value, list):
        for index, item in enumerate(value):
            _check_value(item, f"{path}[{index}]", depth, above)
        return
    for key, item in value.items():
        if type(key) is not str:
            raise InvalidInputError(f"{path} has a key that is a {type(key).__name__}; JSON keys are strings.")
        check_text(key, f"a key of {path}")
        _check_value(item, f"{path}[{shorten(key, 40)!r}]", depth, above)


def check_content(content: object, max_bytes: int) -> tuple[Content, str]:
    """Return the content and its readable text."""
    if isinstance(content, str):
        size = check_text(content, "content")
        text = content
    elif isinstance(content, list) and all(type(block) is dict for block in content):
        _check_value(content, "content", 0, ())
        size = len(to_json(content).encode())
        text = text_of(content)
    else:
        raise InvalidInputError(f"content must be a string or a list of JSON objects, not {_describe(content)}.")
    if size > max_bytes:
        raise ContentTooLargeError(
            f"content has {size} bytes; max_message_bytes allows {max_bytes}. "
            "Store large files elsewhere and keep a reference, or raise the setting."
        )
    return cast(Content, content), text


def _describe(content: object) -> str:
    if isinstance(content, list):
        return "a list with " + ", ".join(sorted({type(b).__name__ for b in content if type(b) is not dict}))
    return type(content).__name__


def check_message(message: NewMessage | Mapping[str, Any], max_bytes: int) -> Draft:
    """Check one message to append."""
    new = message if isinstance(message, NewMessage) else _from_mapping(message)
    content, text = check_content(new.content, max_bytes)
    return Draft(
        id=new_id() if new.message_id is None else check_id(new.message_id, "message_id"),
        role=check_role(new.role),
        content=content,
        text=text,
        metadata=check_object(new.metadata, "metadata"),
        created_at=check_time(new.created_at, "created_at"),
        has_own_id=new.message_id is not None,
    )


def _from_mapping(message: Mapping[str, Any]) -> NewMessage:
    if not isinstance(message, Mapping):
        raise InvalidInputError(f"a message must be a dict or a NewMessage, not {type(message).__name__}.")
    unknown = message.keys() - _KEYS
    if unknown:
        raise InvalidInputError(
            f"a message has a key that is {shown(min(unknown, key=str))}; use {', '.join(sorted(_KEYS))}."
        )
    if "role" not in message or "content" not in message:
        raise InvalidInputError("a message needs the keys role and content.")
    return NewMessage(**message)


def check_messages(messages: Iterable[NewMessage | Mapping[str, Any]], max_bytes: int) -> list[Draft]:
    """Check messages to append together; messages with the same id must be equal."""
    drafts = []
    seen: dict[str, Draft] = {}
    for index, message in enumerate(check_list(messages, "messages")):
        try:
            draft = check_message(message, max_bytes)
        except InvalidInputError as error:
            raise type(error)(f"message {index}: {error}") from None
        first = seen.setdefault(draft.id, draft)
        if _identity(first) != _identity(draft):
            raise MessageConflictError(
                f"message id {draft.id!r} is given twice with other content; ids must be unique in a session."
            )
        drafts.append(draft)
    return drafts


def _identity(draft: Draft) -> tuple[Any, ...]:
    """Return the parts that two messages with the same id must share."""
    return draft.role, draft.content, identity_in(draft.metadata)
