"""Checkpoints of a run: written whole, found again, and a corrupt one passed over."""

import json
import logging
import os
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

LOG = logging.getLogger("chatmemory_training")
PREFIX, DIGEST, PARTIAL = "checkpoint-", ".sha256", ".partial"
SUFFIXES = (".pt", ".pth", ".ckpt", ".safetensors", ".pkl", ".joblib", ".json", ".npz", ".keras", ".h5", ".bin")

Save = Callable[[Path], object]
Load = Callable[[Path], object]


class Checkpoints:
    """Saves every so many steps.

    Args:
        directory: Where to.
        interval: After how many steps, 1 or more.
        save: Writes a checkpoint to the path it is given.
        suffix: What the files' names end in.
    """

    def __init__(self, directory: Path, interval: int, save: Save, suffix: str) -> None:
        self._directory, self._interval, self._save, self._suffix = directory, max(1, interval), save, suffix
        self._last: int | None = None

    def at_step(self, step: int) -> Path | None:
        """Save if it is time to; tell where."""
        due = step // self._interval
        if due == 0 or (self._last is not None and due <= self._last // self._interval):
            return None
        self._last = step
        return self.save(step)

    def save(self, step: int) -> Path | None:
        """Save now; None: it failed, a log says so, and training goes on."""
        path = self._directory / f"{PREFIX}{step:012}{self._suffix}"
        partial = path.with_name(path.name + PARTIAL)
        try:
            self._save(partial)
            digest = _digest(partial)
            partial.replace(path)
            path.with_name(path.name + DIGEST).write_text(digest, encoding="ascii")
        except Exception as error:  # noqa: BLE001  # the caller's code, and a disk that may be full
            LOG.warning("checkpoint at step %s failed (%s); training goes on", step, type(error).__name__)
            return None
        return path


def find_latest(directory: Path, load: Load | None = None) -> Path | None:
    """The newest checkpoint that loads; None: there is none.

    Args:
        directory: Where to look.
        load: Raises where a file cannot be loaded. None: a file must be what was saved, or look whole.
    """
    try:
        found = [path for path in directory.iterdir() if path.suffix in SUFFIXES or path.name.startswith(PREFIX)]
        found = [path for path in found if path.is_file() and path.suffix not in (DIGEST, PARTIAL)]
        newest = sorted(found, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True)
    except OSError:
        return None
    for path in newest:
        try:
            (load or _check)(path)
        except Exception as error:  # noqa: BLE001  # whatever loading a broken file raises
            LOG.warning("checkpoint %s does not load (%s)", path, type(error).__name__)
        else:
            return path
    return None


def _check(path: Path) -> None:
    """Refuse what is not whole, without running anything of it, as unpickling would."""
    kept = path.with_name(path.name + DIGEST)
    if kept.exists():
        if kept.read_text(encoding="ascii").strip() != _digest(path):
            raise ValueError("it is not what was saved")
    elif path.stat().st_size == 0:
        raise ValueError("it is empty")
    elif path.suffix == ".json":
        json.loads(path.read_text(encoding="utf-8"))
    elif path.suffix in (".pt", ".pth", ".npz", ".keras"):
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                raise ValueError("a part of it is broken")


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        os.fsync(file.fileno())
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
