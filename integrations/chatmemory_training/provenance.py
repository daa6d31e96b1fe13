"""Where a run comes from: its command, its code, its machine and its packages."""

import os
import platform
import subprocess
import sys
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from chatmemory_training.effective_config import masked, masked_arguments
from chatmemory_training.json_values import clean_text

GIT_SECONDS = 2.0  # for each command of git: a training does not wait for a slow disk
LARGEST_DIFF = 20_000  # bytes; a larger one is left out, and its size is told


def provenance() -> dict[str, Any]:
    """Return where this process's run comes from, with masked secrets.

    Returns:
        command, directory, host, platform, python, packages by name; git (commit, branch, remote, dirty, and diff if it
        has up to 20,000 bytes) in a git repository; gpus where a driver tells of some.
    """
    found = {
        "command": [clean_text(argument) for argument in masked_arguments(sys.orig_argv)],
        "directory": clean_text(os.fsdecode(_script_directory())),
        "host": platform.node(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": _packages(),
        "git": _git(_script_directory()),
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


def _git(directory: Path) -> dict[str, Any]:
    commit = _run_git(directory, "rev-parse", "HEAD")
    if commit is None:
        return {}
    changes = _run_git(directory, "status", "--porcelain")
    found: dict[str, Any] = {
        "commit": commit,
        "branch": _run_git(directory, "rev-parse", "--abbrev-ref", "HEAD"),
        "remote": masked(_run_git(directory, "config", "--get", "remote.origin.url")),
        "dirty": None if changes is None else bool(changes),
    }
    if changes:
        diff = _run_git(directory, "diff", "--no-ext-diff", "--no-textconv", "HEAD") or ""
        size = len(diff.encode())
        found["diff"] = diff if size <= LARGEST_DIFF else f"[left out: {size:,} bytes]"
    return {name: value for name, value in found.items() if value not in (None, "")}


def _run_git(directory: Path, *arguments: str) -> str | None:
    """Return what a command of git prints; None: it fails, is missing, or takes too long."""
    settings = ("-c", "core.fsmonitor=false", "-c", "core.quotePath=false")  # a repository's own programs are not run
    try:
        done = subprocess.run(  # noqa: S603  # arguments of ours
            ["git", "-C", str(directory), *settings, *arguments],  # noqa: S607  # the user's git
            capture_output=True,
            stdin=subprocess.DEVNULL,
            timeout=GIT_SECONDS,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return clean_text(done.stdout.decode(errors="replace").strip()) if done.returncode == 0 else None


def _gpus() -> list[str]:
    torch: Any = sys.modules.get("torch")  # a script that uses a GPU has imported it
    try:
        if torch is None or not torch.cuda.is_available():
            return []
        return [str(torch.cuda.get_device_name(number)) for number in range(torch.cuda.device_count())]
    except Exception:  # noqa: BLE001  # a driver that fails
        return []
