"""Output to terminals and scripts. Foreign text is never interpreted as markup or as escape sequences."""

import json
import logging
import re
import sys
import time
from datetime import UTC, datetime
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

# Control characters except tab and newline; characters that reorder or hide text; line separators.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")

PIPE_WIDTH = 160
NARROW = 140  # the least width of a terminal for a table
LITTLE_ROOM = 20  # the least width for text beside an id


def plain(text: str) -> str:
    """Return a text with control characters as visible escapes."""
    return _UNSAFE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def text(value: object, style: str = "") -> Text:
    """Return foreign text as a rich Text, in which markup is not parsed."""
    return Text().append(plain(str(value)), style)  # as a span: a base style would apply to appended text too


def to_json(value: Any) -> str:
    """Return JSON for scripts, with control characters escaped."""
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return plain(json.dumps(value, ensure_ascii=encoding != "utf8", indent=2, default=str))


def listed(console: Console, id: str, beside: Text, *below: Text) -> None:
    """Print an entry of a list without columns: the full id, and each other text truncated to one line."""
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
    """Return the console for results; in a pipe it has a fixed width."""
    console = Console(highlight=False, soft_wrap=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in console._environ:
        console = Console(highlight=False, width=PIPE_WIDTH, emoji=False)
    return console


def stderr() -> Console:
    """Return the console for progress and errors."""
    return Console(stderr=True, highlight=False, emoji=False)


def complain(message: str) -> None:
    """Print an error on stderr."""
    console = stderr()
    console.print(text("Error: ", "bold red") + text(message), soft_wrap=True)


def note(message: str) -> None:
    """Print a note on stderr."""
    stderr().print(text(message, "dim"), soft_wrap=True)


def log_to_stderr() -> None:
    """Show what the library logs, from INFO on, with times in UTC."""
    handler = logging.StreamHandler()
    handler.setFormatter(_PlainFormatter("%(asctime)sZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S"))
    logger = logging.getLogger("chatmemory")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


class _PlainFormatter(logging.Formatter):
    converter = staticmethod(time.gmtime)

    def format(self, record: logging.LogRecord) -> str:
        return plain(super().format(record))


def write(result: str) -> None:
    """Write a result to stdout: unchanged to a pipe, escaped on a terminal."""
    if sys.stdout.isatty():
        sys.stdout.write(plain(result))
    else:
        sys.stdout.buffer.write(result.encode())
    sys.stdout.flush()


def clock(at: datetime | None) -> str:
    """Format a time in the local time zone."""
    return "" if at is None else f"{at.astimezone():%Y-%m-%d %H:%M}"


def ago(at: datetime) -> str:
    """Format the time since, in one unit."""
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        count = seconds // size
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "just now"


def many(count: int, thing: str) -> str:
    """Format a count with its noun."""
    if count == 1:
        return f"1 {thing}"
    stem, ending = (thing[:-1], "ies") if thing.endswith("y") else (thing, "es" if thing.endswith("ch") else "s")
    return f"{count:,} {stem}{ending}"
