"""The spool: a local file that holds a run's entries until the database has them."""

import json
import logging
import os
import threading
from collections import deque
from pathlib import Path
from typing import Any

LOG = logging.getLogger("chatmemory_training")
Entry = dict[str, Any]


class Spool:
    """A file of entries, one JSON object per line. An entry is written whole or not at all.

    Args:
        path: The file; None: entries are not written.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file: int | None = None
        self._failed = False
        self._torn: bool | None = None  # whether the file ends in the middle of a line; None: unknown
        self._unwritten: deque[bytes] = deque()

    def read(self) -> list[Entry]:
        """Return the entries that an earlier process left, oldest first."""
        try:
            lines = self.path.read_bytes().splitlines() if self.path else []
        except OSError:
            return []
        return [entry for line in lines if (entry := _parse(line)) is not None]

    def add(self, entry: Entry) -> None:
        """Write an entry; if the file cannot be written, log that once and retry with the next entry."""
        line = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "backslashreplace") + b"\n"
        if self.path is None:
            return
        with self._lock:
            self._unwritten.append(line)
            try:
                while self._unwritten:  # in order: an entry depends on those before it
                    self._write(self.path, self._unwritten[0])
                    self._unwritten.popleft()
            except OSError as error:
                self._warn(error)

    def _write(self, path: Path, line: bytes) -> None:
        if self._file is None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        if self._torn is None:
            self._torn = _is_torn(path)
        text = b"\n" + line if self._torn else line
        size = os.fstat(self._file).st_size
        if os.write(self._file, text) != len(text):  # the disk is full
            os.ftruncate(self._file, size)
            raise OSError(f"{path}: the disk is full")
        self._torn = False

    def clear(self) -> None:
        """Remove all entries, once the database has them."""
        with self._lock:
            self._unwritten.clear()
            try:
                if self._file is not None:
                    os.ftruncate(self._file, 0)
                elif self.path is not None and self.path.exists():
                    os.truncate(self.path, 0)
            except OSError as error:
                self._warn(error)

    def close(self) -> None:
        """Close the file, and remove it if it is empty."""
        with self._lock:
            if self._file is not None:
                os.close(self._file)
                self._file = None
            try:
                if self.path is not None and self.path.stat().st_size == 0:
                    self.path.unlink()
            except OSError:
                return

    def _warn(self, error: OSError) -> None:
        if not self._failed:
            self._failed = True
            LOG.warning("%s cannot be written (%s); undelivered entries are in memory only", self.path, error)


def _parse(line: bytes) -> Entry | None:
    try:
        entry = json.loads(line)
    except ValueError:
        return None  # torn by a crash of the machine
    return entry if isinstance(entry, dict) and "op" in entry else None


def _is_torn(path: Path) -> bool:
    """Return whether the file's last line is incomplete."""
    with path.open("rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
