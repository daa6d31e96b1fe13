"""Checkpoints of a run: written atomically, found again, corrupt ones skipped."""

import json
import logging
import os
import zipfile
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from chatmemory_training.json_values import to_json_value

LOG = logging.getLogger("chatmemory_training")
PREFIX, DIGEST, PARTIAL = "checkpoint-", ".sha256", ".partial"
SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors", ".pkl", ".joblib", ".json", ".npz", ".keras", ".h5", ".bin")

Save = Callable[[Path], object]
Load = Callable[[Path], object]


class Checkpoints:
    """Saves a checkpoint every `interval` steps.

    Args:
        directory: The checkpoints' directory.
        interval: Steps between two checkpoints, 1 or more.
        save: Writes a checkpoint to the path it receives.
        suffix: The files' suffix.
    """

    def __init__(self, directory: Path, interval: int, save: Save, suffix: str) -> None:
        self._directory, self._interval, self._save, self._suffix = directory, max(1, interval), save, suffix
        self._last: int | None = None

    def at_step(self, step: int) -> Path | None:
        """Save if a checkpoint is due; return its path, or None."""
        due = step // self._interval
        if due == 0 or (self._last is not None and due <= self._last // self._interval):
            return None
        self._last = step
        return self.save(step)

    def save(self, step: int) -> Path | None:
        """Save now and return the path; None if that failed: the failure is logged and training continues."""
        path = self._directory / f"{PREFIX}{step:012}{self._suffix}"
        partial = path.with_name(path.name + PARTIAL)
        try:
            self._save(partial)
            digest = _digest(partial)
            partial.replace(path)
            path.with_name(path.name + DIGEST).write_text(digest, encoding="ascii")
        except Exception as error:  # noqa: BLE001  # the caller's code, and a disk that may be full
            LOG.warning("checkpoint at step %s failed (%s); training continues", step, type(error).__name__)
            return None
        return path


def save_progress(path: Path, summary: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Write the summary of a run and its last metrics as JSON."""
    path.write_text(json.dumps(to_json_value({"summary": summary, "metrics": metrics})) + "\n", encoding="utf-8")


def find_latest(directory: Path, load: Load | None = None) -> Path | None:
    """Return the newest checkpoint that loads; None if there is none.

    Args:
        directory: The checkpoints' directory.
        load: Raises if a file does not load. None: a file must match its checksum, or be complete if it has none.
    """
    try:
        candidates = [path for path in directory.iterdir() if path.suffix in SUFFIXES or path.name.startswith(PREFIX)]
        candidates = [path for path in candidates if path.is_file() and path.suffix not in (DIGEST, PARTIAL)]
        newest = sorted(candidates, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    except OSError:
        return None
    for path in newest:
        try:
            (load or _check_complete)(path)
        except Exception as error:  # noqa: BLE001  # any error of loading a broken file
            LOG.warning("checkpoint %s does not load (%s)", path, type(error).__name__)
        else:
            return path
    return None


def _check_complete(path: Path) -> None:
    """Raise if a file is incomplete. Nothing in it is executed, as unpickling would do."""
    checksum = path.with_name(path.name + DIGEST)
    if checksum.exists():
        if checksum.read_text(encoding="ascii").strip() != _digest(path):
            raise ValueError("its checksum differs")
    elif path.stat().st_size == 0:
        raise ValueError("the file is empty")
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix in (".pt", ".pth", ".npz", ".keras"):
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ValueError("the archive is corrupt")


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        os.fsync(file.fileno())
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
