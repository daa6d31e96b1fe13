"""Conversations out of files: ChatGPT's conversations.json and our own export, one at a time in bounded memory.

Nothing here touches the database: a file goes in, conversations come out.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, BinaryIO, Literal, NamedTuple

import ijson

from chatmemory.errors import InvalidInputError
from chatmemory.files.exports import FORMAT
from chatmemory.messages.records import Content, NewMessage
from chatmemory.records import JsonObject, shorten
from chatmemory.validation import MAX_JSON_DEPTH, MAX_TITLE_LENGTH

UNDERSTOOD = f'ChatGPT\'s conversations.json (a JSON array), and our own export (a JSON object of "{FORMAT}")'

_CHUNK = 65_536
_UTF8_BOM = b"\xef\xbb\xbf"


class Measured(NamedTuple):
    """Points of one metric of a run."""

    name: str
    steps: list[int]
    values: list[float]
    times: list[datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """One conversation of a file.

    Attributes:
        id: The session it becomes.
        source: What the file was: chatgpt, or the format of our own export.
        origin: What of its past a new session cannot hold as its own: times, status.
        user_id: Whose it was, where the file says so.
        messages: Oldest first; to be read once, before the next conversation.
        status: How it ended; active: it had not.
        run: If it was a run, what that did.
        metrics: What the run measured; to be read once, after the messages.
    """

    id: str
    source: str
    messages: Iterable[NewMessage]
    origin: JsonObject
    title: str | None = None
    user_id: str | None = None
    kind: str = "chat"
    status: str = "completed"
    metadata: JsonObject = field(default_factory=dict)
    details: JsonObject = field(default_factory=dict)
    results: Any = None
    run: JsonObject = field(default_factory=dict)
    metrics: Iterable[Measured] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """A conversation that cannot be read, and why; those after it can."""

    id: str
    reason: str


def conversations(file: BinaryIO) -> Iterator[Conversation | Refused]:
    """Read the conversations of a file that can seek.

    Raises:
        InvalidInputError: The file is not JSON (the message says where), or of a format we do not know.
    """
    start = _skip_bom(file)
    kind = _format(file, start)
    file.seek(start)
    try:
        yield from (_from_chatgpt(file) if kind == "chatgpt" else _from_own(file, start))
    except ijson.JSONError as error:
        raise _malformed(file, error) from None


def _skip_bom(file: BinaryIO) -> int:
    start = len(_UTF8_BOM) if file.read(len(_UTF8_BOM)) == _UTF8_BOM else 0
    file.seek(start)
    return start


def _format(file: BinaryIO, start: int) -> Literal["chatgpt", "own"]:
    """Tell the formats apart by what comes first."""
    first = file.read(_CHUNK).lstrip()[:1]
    file.seek(start)
    if first == b"[":
        return "chatgpt"
    if first == b"{" and _first(file, "format") == FORMAT:
        return "own"
    raise _unknown()


def _unknown() -> InvalidInputError:
    return InvalidInputError(f"The file's format is unknown. Understood are: {UNDERSTOOD}.")


def _first(file: BinaryIO, prefix: str) -> Any:
    """The first value at `prefix`, numbers as they are meant; None where there is none."""
    try:
        return _exact(next(ijson.items(file, prefix), None))
    except ijson.JSONError as error:
        raise _malformed(file, error) from None


def _exact(value: Any, depth: int = 0) -> Any:
    """Turn the parser's decimals into floats, and NUL, which Postgres cannot hold, into U+FFFD."""
    if depth > MAX_JSON_DEPTH + 20:
        raise InvalidInputError(f"The file nests values deeper than {MAX_JSON_DEPTH} levels.")
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [_exact(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_exact(key): _exact(item, depth + 1) for key, item in value.items()}
    return value


def _malformed(file: BinaryIO, error: ijson.JSONError) -> InvalidInputError:
    """Say at which byte the file stops being JSON: the parser only says that it does."""
    position, line = _first_bad_byte(file)
    reason = str(error).removeprefix("b'").replace("\\n", "\n").partition("\n")[0]
    return InvalidInputError(f"The file is not valid JSON at byte {position:,} (line {line:,}): {reason}")


def _first_bad_byte(file: BinaryIO) -> tuple[int, int]:
    file.seek(0)
    position = _skip_bom(file)
    line = 1
    good = _accepted(file)
    file.seek(position)
    for size in good:
        chunk = file.read(size)
        position += len(chunk)
        line += chunk.count(b"\n")
    return position, line


def _accepted(file: BinaryIO) -> list[int]:
    """The sizes of the pieces the parser takes, from here to the first byte it does not."""
    start = file.tell()
    sizes: list[int] = []
    parser = ijson.basic_parse_coro(_Ignore())
    try:
        while chunk := file.read(_CHUNK):
            parser.send(chunk)
            sizes.append(len(chunk))
    except (ijson.JSONError, StopIteration):
        return sizes + [1] * _accepted_bytes(file, start, sizes, chunk)
    return sizes


def _accepted_bytes(file: BinaryIO, start: int, sizes: list[int], chunk: bytes) -> int:
    """How many bytes of a refused chunk were still good."""
    parser = ijson.basic_parse_coro(_Ignore())
    file.seek(start)
    for size in sizes:
        parser.send(file.read(size))
    for index in range(len(chunk)):
        try:
            parser.send(chunk[index : index + 1])
        except (ijson.JSONError, StopIteration):
            return index
    return len(chunk)


class _Ignore:
    """A target for parser events that nobody wants."""

    def send(self, event: object) -> None:
        """Drop it."""


# ChatGPT: an array of conversations, each a tree of messages of which one branch is active.


def _from_chatgpt(file: BinaryIO) -> Iterator[Conversation | Refused]:
    for index, item in enumerate(ijson.items(file, "item")):
        known = isinstance(item, dict) and isinstance(item.get("mapping"), dict)
        if not known and index == 0:
            raise _unknown()
        try:
            if not known:
                raise InvalidInputError("it has no mapping of messages")
            yield _chatgpt_conversation(_exact(item))
        except InvalidInputError as error:
            yield Refused(_name(item, index), str(error))


def _name(item: Any, index: int) -> str:
    id = (item.get("conversation_id") or item.get("id")) if isinstance(item, dict) else None
    return str(id or f"number {index + 1}")


def _chatgpt_conversation(item: JsonObject) -> Conversation:
    id = item.get("conversation_id") or item.get("id")
    if not isinstance(id, str):
        raise InvalidInputError("it has no id, so importing it twice would store it twice")
    began = _time(item.get("create_time"))
    return Conversation(
        id=id,
        source="chatgpt",
        title=shorten(str(item["title"]), MAX_TITLE_LENGTH) if item.get("title") else None,
        origin=_origin("chatgpt", item, began),
        messages=list(_branch_messages(item, began)),
    )


def _origin(source: str, item: JsonObject, began: datetime | None) -> JsonObject:
    updated = _time(item.get("update_time"))
    facts = {
        "from": source,
        "created_at": began and began.isoformat(),
        "updated_at": updated and updated.isoformat(),
        "model": item.get("default_model_slug"),
    }
    return {name: value for name, value in facts.items() if value}


def _branch_messages(item: JsonObject, began: datetime | None) -> Iterator[NewMessage]:
    """The messages of the active branch that say something; one without a time has that of the one before."""
    at = began
    for id, node in _active_branch(item):
        message = node.get("message")
        if not isinstance(message, dict):
            continue
        at = _time(message.get("create_time")) or at
        content = _content(message.get("content"))
        if content:
            author = message.get("author")
            role = author.get("role") if isinstance(author, dict) else None
            yield NewMessage(str(role), content, id, _facts(message), at)


def _active_branch(item: JsonObject) -> list[tuple[str, JsonObject]]:
    """From the current node up through its parents, oldest first."""
    mapping = item["mapping"]
    id = item.get("current_node") or _last_leaf(mapping)
    path: dict[str, JsonObject] = {}
    while isinstance(id, str) and isinstance(mapping.get(id), dict):
        if id in path:
            raise InvalidInputError(f"its node {id!r} is its own ancestor")
        path[id] = mapping[id]
        id = mapping[id].get("parent")
    if mapping and not path:
        raise InvalidInputError(f"its current node {item.get('current_node')!r} is not in its mapping")
    return list(path.items())[::-1]


def _last_leaf(mapping: JsonObject) -> str | None:
    leaves = [id for id, node in mapping.items() if isinstance(node, dict) and not node.get("children")]
    return leaves[-1] if leaves else None


def _time(seconds: object) -> datetime | None:
    """A time in seconds since 1970."""
    if seconds is None or isinstance(seconds, bool):
        return None
    if isinstance(seconds, int | float):
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (OverflowError, ValueError, OSError):
            pass
    raise InvalidInputError(f"{str(seconds)[:40]!r} is not a time in seconds since 1970")


def _content(content: object) -> Content | None:
    """The text of a node, or its parts as blocks; None where it says nothing."""
    if not isinstance(content, dict):
        return None
    parts = content.get("parts")
    if not isinstance(parts, list):
        text = content.get("text")
        return text if isinstance(text, str) and text.strip() else None
    if all(isinstance(part, str) for part in parts):
        text = "\n".join(parts)
        return text if text.strip() else None
    return [_block(part) for part in parts if part] or None


def _block(part: object) -> JsonObject:
    if not isinstance(part, dict):
        return {"type": "text", "text": str(part)}
    rest = {name: value for name, value in part.items() if name != "content_type"}
    return {"type": str(part.get("content_type") or part.get("type") or "unknown"), **rest}


def _facts(message: JsonObject) -> JsonObject:
    """What else a node says about its message, where it is out of the ordinary."""
    content, metadata, author = (message.get(key) or {} for key in ("content", "metadata", "author"))
    facts = {
        "model": metadata.get("model_slug") if isinstance(metadata, dict) else None,
        "name": author.get("name") if isinstance(author, dict) else None,
        "recipient": message.get("recipient") if message.get("recipient") != "all" else None,
        "content_type": content["content_type"] if content.get("content_type") not in ("text", None) else None,
        "language": content.get("language"),
    }
    return {name: value for name, value in facts.items() if value}


# Our own export: one session, then its messages.


def _from_own(file: BinaryIO, start: int) -> Iterator[Conversation]:
    session = _first(file, "session")
    if not isinstance(session, dict) or not isinstance(session.get("id"), str):
        raise InvalidInputError(f'The file says it is "{FORMAT}", but has no session with an id.')
    file.seek(start)
    history = _first(file, "status_history")
    file.seek(start)
    kept = ("created_at", "updated_at", "ended_at", "status", "parent_id", "run_status")
    origin = {"from": FORMAT, **{name: session[name] for name in kept if session.get(name)}}
    run = ("run_status", "progress", "stage", "error")
    yield Conversation(
        id=session["id"],
        source=FORMAT,
        title=session.get("title"),
        user_id=session.get("user_id"),
        kind=session.get("kind") or "chat",
        status=str(session.get("status") or "completed"),
        metadata=_object(session, "metadata"),
        details=_object(session, "details"),
        results=session.get("results"),
        origin={**origin, "status_history": history} if history else origin,
        messages=_own_messages(file),
        run={name: session[name] for name in run if session.get(name) is not None},
        metrics=_own_metrics(file, start),
    )


def _object(session: JsonObject, name: str) -> JsonObject:
    value = session.get(name) or {}
    if not isinstance(value, dict):
        raise InvalidInputError(f"The session's {name} is not a JSON object.")
    return value


def _own_messages(file: BinaryIO) -> Iterator[NewMessage]:
    try:
        for index, item in enumerate(ijson.items(file, "messages.item")):
            yield _own_message(_exact(item), index)
    except ijson.JSONError as error:
        raise _malformed(file, error) from None


def _own_message(item: object, index: int) -> NewMessage:
    try:
        assert isinstance(item, Mapping)
        at = datetime.fromisoformat(item["created_at"])
        return NewMessage(item["role"], item["content"], item["id"], item.get("metadata"), at)
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else "is not one"
        raise InvalidInputError(
            f"Message {index + 1} of the file {what}; it needs id, role, content, created_at."
        ) from None


def _own_metrics(file: BinaryIO, start: int) -> Iterator[Measured]:
    file.seek(start)
    try:
        for index, item in enumerate(ijson.items(file, "metrics.item")):
            yield _own_points(item, index)
    except ijson.JSONError as error:
        raise _malformed(file, error) from None


def _own_points(item: Any, index: int) -> Measured:
    try:
        values = [float(value) for value in item["values"]]
        times = [datetime.fromtimestamp(float(time), UTC) for time in item["times"]]
        points = Measured(str(item["name"]), [int(step) for step in item["steps"]], values, times)
        if not len(points.steps) == len(values) == len(times):
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError, OSError):
        raise InvalidInputError(
            f"Metrics {index + 1} of the file are none; they need name, and as many steps, values and times."
        ) from None
    return points


def size_of(file: BinaryIO) -> int:
    """How many bytes the file has."""
    return os.fstat(file.fileno()).st_size
