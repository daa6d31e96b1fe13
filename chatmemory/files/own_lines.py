"""Our own export as JSON Lines, of a session, a user or a tenant: its sessions with their messages and metrics."""

from collections.abc import Iterable, Iterator
from dataclasses import fields
from typing import Any, BinaryIO

from chatmemory.errors import InvalidInputError
from chatmemory.files.conversations import Conversation, RefusedConversation
from chatmemory.files.json_stream import exact, raw_items
from chatmemory.files.own_export import conversation, curves, messages
from chatmemory.json_form import FORMAT
from chatmemory.records import JsonObject, shorten


class _OneOfMany(Conversation):
    """A conversation of a file that may have more: what is wrong with it stops none of the others."""

    __slots__ = ()

    @property
    def is_whole(self) -> bool:
        return True


def conversations(file: BinaryIO) -> Iterator[Conversation | RefusedConversation]:
    """Read the sessions of a file; their messages and metrics are read when they are iterated.

    What was learnt from a session is not read: it is learnt again. Neither are other records of users.

    Raises:
        InvalidInputError: The file is not JSON Lines from some byte on, or of another format.
    """
    lines = _Lines(file)
    head = lines.next_of("export")
    if head is None or head.get("format") != FORMAT:
        raise InvalidInputError(f"The file's first line does not name the format {FORMAT!r}.")
    while not lines.at_end():
        values = lines.next_of("session")
        if values is not None:
            yield _session(lines, values)
        else:
            lines.skip()


def _session(lines: "_Lines", values: JsonObject) -> Conversation | RefusedConversation:
    id = shorten(str(values.get("id") or "a session"), 255)
    if values.get("deleted_at"):
        return RefusedConversation(id, "it had been deleted when it was exported")
    try:
        said: Iterable[JsonObject] = lines.all_of("message")
        history: list[JsonObject] = []
        if values.get("run_status"):  # its moves come behind its messages, which are few
            said = list(said)
            history = [_move(event) for event in lines.all_of("event") if event.get("type") == "moved"]
        read = conversation(values, history, messages(said), curves(lines.all_of("metrics")))
    except InvalidInputError as error:
        return RefusedConversation(id, str(error))
    return _OneOfMany(**{field.name: getattr(read, field.name) for field in fields(read)})


def _move(event: JsonObject) -> JsonObject:
    """Return an entry of a run's status history."""
    data = event.get("data")
    return {"at": event.get("at"), **(data if isinstance(data, dict) else {})}


class _Lines:
    """The records of a file, with one read ahead; what breaks the file is raised by each further read."""

    def __init__(self, file: BinaryIO) -> None:
        self._items = raw_items(file, "", lines=True)
        self._ahead: JsonObject | None = None
        self._failure: InvalidInputError | None = None

    def at_end(self) -> bool:
        """Return whether no record follows."""
        return self._peek() is None

    def skip(self) -> None:
        """Leave out one record."""
        self._ahead = None

    def next_of(self, kind: str) -> JsonObject | None:
        """Return the next record if it is of this kind."""
        found = self._peek()
        if found is None or found.get("record") != kind:
            return None
        self._ahead = None
        return found

    def all_of(self, kind: str) -> Iterator[JsonObject]:
        """Yield the records of this kind before the next session; others between them are left out."""
        while (found := self._peek()) is not None and found.get("record") in _OF_SESSION:
            if found["record"] == kind:
                self._ahead = None
                yield found
            elif _OF_SESSION.index(found["record"]) < _OF_SESSION.index(kind):
                self._ahead = None
            else:
                return

    def _peek(self) -> JsonObject | None:
        if self._failure is not None:
            raise self._failure
        if self._ahead is None:
            try:
                self._ahead = _record(next(self._items, None))
            except InvalidInputError as error:
                self._failure = error
                raise
        return self._ahead


_OF_SESSION = ("message", "event", "metrics")  # the records behind a session, in this order


def _record(item: Any) -> JsonObject | None:
    value = exact(item)
    if value is not None and not isinstance(value, dict):
        raise InvalidInputError("The file has a line that is not a JSON object.")
    return value
