"""What reaches a terminal or a script: nothing in it is interpreted, as markup or as an escape sequence."""

import json
import re
import sys
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

# Control characters but tab and newline; what reorders or hides text; line separators.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

PIPE_WIDTH = 160
NARROW = 140  # a narrower terminal has no room for a list's columns
LITTLE_ROOM = 20  # what is beside an id needs at least this


def plain(text: str) -> str:
    """Text that a terminal shows as it is: control characters become visible."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def text(value: object, style: str = "") -> Text:
    """Foreign text for rich, which then reads no markup in it."""
    return Text().append(plain(str(value)), style)  # not as the style of what is joined to it


def to_json(value: Any) -> str:
    """JSON for scripts, which a terminal shows as it is too."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return plain(json.dumps(value, ensure_ascii=encoding != "utf8", indent=2, default=str))


def listed(console: Console, id: str, beside: Text, *below: Text) -> None:
    """One thing of a list where there is no room for columns: the id whole, all else cut to one line each."""
    head, room = text(id, "cyan"), console.width - cell_len(plain(id)) - 2
    if room < LITTLE_ROOM:
        below = (beside, *below)
    elif beside:
        beside.truncate(room, overflow="ellipsis")
        head = head + text("  ") + beside
    console.print(head, soft_wrap=True)
    for line in filter(None, below):
        line.truncate(console.width - 2, overflow="ellipsis")
        console.print(text("  ") + line, soft_wrap=True)


def stdout() -> Console:
    """The console for results; wide in a pipe, where nobody resizes a window."""
    console = Console(highlight=False, soft_wrap=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in console._environ:
        console = Console(highlight=False, width=PIPE_WIDTH, emoji=False)
    return console


def stderr() -> Console:
    """The console for progress and trouble."""
    return Console(stderr=True, highlight=False, emoji=False)


def complain(message: str) -> None:
    """Show one readable message on stderr."""
    console = stderr()
    console.print(text("Error: ", "bold red") + text(message), soft_wrap=True)


def note(message: str) -> None:
    """Show something beside the results, on stderr."""
    stderr().print(text(message, "dim"), soft_wrap=True)


def write(result: str) -> None:
    """Put a result on stdout: unchanged into a pipe, harmless on a terminal."""
    if sys.stdout.isatty():
        sys.stdout.write(plain(result))
    else:
        sys.stdout.buffer.write(result.encode())
    sys.stdout.flush()


def clock(at: datetime | None) -> str:
    """A time to read, in the zone of whoever reads it."""
    return "" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M}"


def ago(at: datetime) -> str:
    """How long ago, roughly."""
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        count = seconds // size
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def many(count: int, thing: str) -> str:
    """A count with its noun."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"
