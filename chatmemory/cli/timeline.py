"""The timeline of a session in words."""

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import TYPE_CHECKING

from chatmemory.cli.terminal import clock, text

if TYPE_CHECKING:
    from rich.console import Console

    from chatmemory import Event

# The word before a value of an entry; any other value stands behind its own name.
_BEFORE = {"old": "from", "new": "to", "status": "as", "continues": "as the successor of"}
_OF_TYPE = {("reopened", "status"): "from"}
_SAID = {("expired", "status")}  # by the type itself


def show_timeline(console: "Console", events: "Iterable[Event]") -> None:
    """Print the entries; consecutive equal ones become one line."""
    for (type, said), group in groupby(events, key=lambda event: (event.type, in_words(event))):
        same = list(group)
        times = f"{len(same)} times, until {clock(same[-1].at)}" if len(same) > 1 else ""
        parts = [text(clock(same[0].at), "dim"), text(type), text(said, "dim"), text(times, "dim")]
        console.print(*[part for part in parts if part], soft_wrap=True)


def in_words(event: "Event") -> str:
    """Return what an entry says beside its type."""
    return " ".join(_words(event))


def _words(event: "Event") -> Iterator[str]:
    for name, value in event.data.items():
        if value not in (None, [], {}) and (event.type, name) not in _SAID:
            yield _OF_TYPE.get((event.type, name)) or _BEFORE.get(name) or name.replace("_", " ")
            yield _shown(value)


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    is_word = isinstance(value, str) and value and not any(letter.isspace() for letter in value)
    return str(value) if is_word else json.dumps(value, ensure_ascii=False)
