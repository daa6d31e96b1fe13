"""The origin of a run: its command, its code, its machine and its packages."""

import os
import platform
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from chatmemory_training.effective_config import masked, masked_arguments, masked_text
from chatmemory_training.json_values import clean_text

GIT_SECONDS = 2.0  # for all that git is asked: a training does not wait for a slow disk
LARGEST_DIFF = 20_000  # bytes; a larger one is left out, and its size is told


def provenance() -> dict[str, Any]:
    """Return the origin of this process's run, with masked secrets.

    Returns:
        command, directory, host, platform, python, packages by name; git (commit, branch, remote, dirty, and diff if it
        has up to 20,000 bytes) in a git repository that answers within two seconds; gpus where a driver tells of some.
    """
    found = {
        "command": [clean_text(argument) for argument in masked_arguments(sys.orig_argv)],
        "directory": clean_text(os.fsdecode(_script_directory())),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": _packages(),
        "git": _git(_Git(_script_directory())),
        "gpus": _gpus(),
    }
    return {name: value for name, value in found.items() if value}


def _script_directory() -> Path:
    """Return the script's directory, or the current one in a notebook or a shell."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    in_package = main is None or "site-packages" in Path(main).parts  # python -m pytest, a console script
    try:
        return Path.cwd() if in_package or main is None else Path(main).resolve().parent
    except OSError:  # the current directory was removed
        return Path("/")


@cache
def _packages() -> dict[str, str]:
    found = ((each.name, each.version) for each in distributions())
    return {str(name): str(version) for name, version in sorted(found, key=str) if name}


class _Git:
    """Answers of git about one directory, all within GIT_SECONDS; None: it fails, is missing, or takes too long."""

    def __init__(self, directory: Path) -> None:
        self._directory, self._until = directory, time.monotonic() + GIT_SECONDS

    def __call__(self, *arguments: str) -> str | None:
        """Return what a command prints."""
        settings = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false")
        try:
            done = subprocess.run(  # noqa: S603  # arguments of ours
                ["git", "-C", str(self._directory), *settings, *arguments],  # noqa: S607  # the user's git
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=max(0.0, self._until - time.monotonic()),
                env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return clean_text(done.stdout.decode(errors="replace").strip()) if done.returncode == 0 else None


def _git(git: _Git) -> dict[str, Any]:
    commit = git("rev-parse", "HEAD")
    if commit is None:
        return {}
    changes = git("status", "--porcelain")
    found: dict[str, Any] = {
        "commit": commit,
        "branch": git("rev-parse", "--abbrev-ref", "HEAD"),
        "remote": masked(git("config", "--get", "remote.origin.url")),
        "dirty": None if changes is None else bool(changes),
    }
    if changes:
        diff = git("diff", "--no-ext-diff", "--no-textconv", "HEAD") or ""
        size = len(diff.encode())
        found["diff"] = masked_text(diff) if size <= LARGEST_DIFF else f"[left out: {size:,} bytes]"
    return {name: value for name, value in found.items() if value not in (None, "")}


def _gpus() -> list[str]:
    torch: Any = sys.modules.get("torch")  # a script that uses a GPU has imported it
    try:
        if torch is None or not torch.cuda.is_available():
            return []
        return [str(torch.cuda.get_device_name(number)) for number in range(torch.cuda.device_count())]
    except Exception:  # noqa: BLE001  # a driver that fails
        return []
