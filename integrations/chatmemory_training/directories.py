"""Where a run keeps its files, and that nobody else does at the same time."""

import os
import threading
from pathlib import Path
from typing import Any, NamedTuple

from fasteners import InterProcessLock

from chatmemory_training.errors import DirectoryError
from chatmemory_training.names import sanitize_run_name
from chatmemory_training.options import option

PRIVATE = 0o700
LOCK, CONFIG = ".lock", "effective_config.json"
MOST_AT_ONCE = 1000  # runs of the same name at once

_held: set[str] = set()  # a process that asks twice for a lock of its own would get it
_guard = threading.Lock()


class RunLock:
    """That a run's directory is this run's alone, until it is released or its process ends, however that ends."""

    def __init__(self, directory: Path) -> None:
        self._path = str(directory / LOCK)
        self._lock: Any = None

    def acquire(self) -> bool:
        """Take it, if nobody holds it."""
        with _guard:
            if self._path in _held:
                return False
            while True:
                lock = InterProcessLock(self._path)
                if not lock.acquire(blocking=False):
                    return False
                if _is_at(self._path, lock):
                    break
                lock.release()
            _held.add(self._path)
            self._lock = lock
            return True

    def release(self) -> None:
        """Give it back; again changes nothing."""
        with _guard:
            if self._lock is not None:
                self._lock.release()
                self._lock = None
                _held.discard(self._path)


def _is_at(path: str, lock: Any) -> bool:
    """Whether what was locked is the file that is there, and not one that was removed just before."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(lock.lockfile.fileno()))  # noqa: PTH116  # of both one
    except FileNotFoundError:
        return False


class Directories(NamedTuple):
    """The paths of one run."""

    name: str  # the run's, with a number where another run of that name goes on
    run: Path
    models: Path
    log: Path
    eval_log: Path
    lock: RunLock


def set_up(config: Any, run_name: str) -> Directories:
    """Make a run's directories, private to the user, and lock them.

    A name that a run uses that still goes on gets a number: NAME-2.

    Raises:
        DirectoryError: They cannot be made, or would lie elsewhere.
    """
    try:
        root = Path(from_environment("LOG_DIR") or option(config, "logging.model_dir") or "logs")
        name, run, lock = claim(root, run_name)
        elsewhere = from_environment("MODEL_DIR")
        models = _inside(_made(Path(elsewhere)), name) if elsewhere else _inside(run, "models")
    except OSError as error:
        raise DirectoryError(f"Failed to setup directories: {error.strerror or error}: {error.filename}") from error
    log = sanitize_run_name(option(config, "logging.log_file") or "training.log")
    log = "training.log" if log in (CONFIG, "evaluation.log", "models") else log
    return Directories(name, run, models, run / log, run / "evaluation.log", lock)


def from_environment(name: str) -> str | None:
    """What CHATMEMORY_NAME or KEISEI_NAME says."""
    return os.environ.get(f"CHATMEMORY_{name}") or os.environ.get(f"KEISEI_{name}")


def claim(root: Path, run_name: str) -> tuple[str, Path, RunLock]:
    """Make and lock a directory of a run; its name gets a number where another run of that name goes on.

    Raises:
        OSError: It cannot be made.
        DirectoryError: It would lie elsewhere, or there are too many.
    """
    root = _made(root)
    for number in range(1, MOST_AT_ONCE):
        name = run_name if number == 1 else f"{run_name}-{number}"
        run = _inside(root, name)
        lock = RunLock(run)
        if lock.acquire():
            return name, run, lock
    raise DirectoryError(f"Failed to setup directories: {MOST_AT_ONCE} runs are called {run_name!r} already.")


def remove_empty(run: Path) -> None:
    """Remove a directory of a run that nothing but its lock is in; its lock is held."""
    try:
        if {path.name for path in run.iterdir()} <= {LOCK}:
            (run / LOCK).unlink(missing_ok=True)
            run.rmdir()
    except OSError:  # something has come into it meanwhile
        return


def _made(path: Path) -> Path:
    path = path.expanduser().absolute()
    path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    return path.resolve()


def _inside(parent: Path, name: str) -> Path:
    """A directory of this name in its parent, and not one that a link leads away to."""
    path = parent / name
    path.mkdir(mode=PRIVATE, exist_ok=True)
    if path.resolve() != path:
        raise DirectoryError(f"Failed to setup directories: {path} leads out of {parent}.")
    return path
