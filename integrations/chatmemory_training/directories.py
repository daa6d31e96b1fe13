"""The directories of a run, and the lock that keeps other runs out of them."""

import logging
import os
import threading
from pathlib import Path
from tempfile import gettempdir
from typing import Any, NamedTuple

from fasteners import InterProcessLock
from platformdirs import user_state_path

from chatmemory_training.config_reading import config_value
from chatmemory_training.errors import DirectoryError
from chatmemory_training.run_names import sanitize_run_name

LOG = logging.getLogger("chatmemory_training")
PRIVATE = 0o700
LOCK, CONFIG = ".lock", "effective_config.json"
MAX_SAME_NAME = 10_000  # runs of one name in one directory

_locked_paths: set[str] = set()  # a process can take its own file lock twice, so its locks are listed here
_guard = threading.Lock()


class RunLock:
    """An exclusive lock on a run's directory, until it is released or its process ends."""

    def __init__(self, directory: Path) -> None:
        self._path = str(directory / LOCK)
        self._lock: Any = None

    def acquire(self) -> bool:
        """Take the lock; return False if another run has it."""
        with _guard:
            if self._path in _locked_paths:
                return False
            while True:
                lock = InterProcessLock(self._path)
                if not lock.acquire(blocking=False):
                    return False
                if _is_same_file(self._path, lock):
                    break
                lock.release()
            _locked_paths.add(self._path)
            self._lock = lock
            return True

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        with _guard:
            if self._lock is not None:
                self._lock.release()
                self._lock = None
                _locked_paths.discard(self._path)


def _is_same_file(path: str, lock: Any) -> bool:
    """Return whether the locked file is still the one at this path; it may have been removed just before."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(lock.lockfile.fileno()))  # noqa: PTH116  # Path.samefile compares two paths
    except FileNotFoundError:
        return False


class Directories(NamedTuple):
    """The paths of one run."""

    name: str  # the run's name, with a number if another run has used that name
    number: int
    run: Path
    models: Path
    log: Path
    eval_log: Path
    lock: RunLock


class Claim(NamedTuple):
    """A locked directory of one run."""

    name: str  # the run's name, with a number if another run has used that name
    number: int  # that number; 1 for the name itself
    path: Path
    lock: RunLock


def create_directories(config: Any, run_name: str, *, resume: bool = False) -> Directories:
    """Create a run's directories, private to the user, and lock them; to resume a run, lock those that it has.

    If a run of this name has used them, the name gets a number: NAME-2. If their place cannot be used, they are created
    in the user's state directory, or else in the directory for temporary files.

    Raises:
        DirectoryError: They cannot be created, or a link leads out of the parent directory.
    """
    try:
        root = Path(from_environment("LOG_DIR") or config_value(config, "logging.model_dir") or "logs")
        name, number, run, lock = _claim_first([root, *_fallbacks()], run_name, resume)
        model_root = from_environment("MODEL_DIR")
        models = _subdirectory(_created(Path(model_root)), name) if model_root else _subdirectory(run, "models")
    except OSError as error:
        raise DirectoryError(f"Failed to setup directories: {error.strerror or error}: {error.filename}") from error
    log = sanitize_run_name(config_value(config, "logging.log_file") or "training.log")
    log = "training.log" if log in (CONFIG, "evaluation.log", "models") else log
    return Directories(name, number, run, models, run / log, run / "evaluation.log", lock)


def _fallbacks() -> list[Path]:
    """Return where a run's directory is created if its own place cannot be used."""
    return [user_state_path("chatmemory") / "runs", Path(gettempdir()) / f"chatmemory-{_user_number()}" / "runs"]


def _user_number() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _claim_first(roots: list[Path], run_name: str, resume: bool) -> Claim:
    """Claim a directory below the first root that can be used; the error is that of the first one."""
    first: OSError | None = None
    for root in roots:
        try:
            claimed = claim(root, run_name, resume=resume)
        except OSError as error:
            first = first or error
        else:
            if first is not None:
                LOG.warning("%s cannot be used (%s); the run's files are in %s", roots[0], first.strerror, claimed.path)
            return claimed
    assert first is not None
    raise first


def from_environment(name: str) -> str | None:
    """Return the value of CHATMEMORY_{name} or KEISEI_{name}."""
    return os.environ.get(f"CHATMEMORY_{name}") or os.environ.get(f"KEISEI_{name}")


def claim(root: Path, run_name: str, *, resume: bool = False) -> Claim:
    """Create and lock a directory that no other run has used; to resume a run, lock its newest one instead.

    Raises:
        OSError: The directory cannot be created.
        DirectoryError: A link leads out of the root, or too many runs have this name.
    """
    root = _created(root)
    numbers = range(1, MAX_SAME_NAME)
    used = [number for number in numbers if resume and (root / _numbered(run_name, number)).exists()]
    for number in [*used[::-1], *numbers]:
        name = _numbered(run_name, number)
        if number not in used and not _is_unused(root / name):
            continue
        run = _subdirectory(root, name)
        lock = RunLock(run)
        if lock.acquire():
            if number in used or _is_unused(run):
                return Claim(name, number, run, lock)
            lock.release()
    raise DirectoryError(f"Failed to setup directories: {MAX_SAME_NAME} runs are already named {run_name!r}.")


def _numbered(run_name: str, number: int) -> str:
    return run_name if number == 1 else f"{run_name}-{number}"


def _is_unused(run: Path) -> bool:
    return not run.exists() or all(path.name == LOCK for path in run.iterdir())


def remove_empty(run: Path) -> None:
    """Remove a run's directory if it holds nothing but its lock file. The caller has the lock."""
    try:
        if {path.name for path in run.iterdir()} <= {LOCK}:
            (run / LOCK).unlink(missing_ok=True)
            run.rmdir()
    except OSError:  # a file was added meanwhile
        return


def _created(path: Path) -> Path:
    path = path.expanduser().absolute()
    path.mkdir(mode=PRIVATE, parents=True, exist_ok=True)
    return path.resolve()


def _subdirectory(parent: Path, name: str) -> Path:
    """Create a subdirectory; refuse one that is a link to another place."""
    path = parent / name
    path.mkdir(mode=PRIVATE, exist_ok=True)
    if path.resolve() != path:
        raise DirectoryError(f"Failed to setup directories: {path} leads out of {parent}.")
    return path
