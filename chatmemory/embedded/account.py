"""The account that Postgres runs as: it refuses to run as root, so root uses an unprivileged user."""

import contextlib
import os
import stat
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

SYSTEM_USER = "chatmemory"


class Account(NamedTuple):
    """A user id and a group id; None: those of this process."""

    user: int | None = None
    group: int | None = None

    def run(self, command: list[Any], output: Any, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a program in a session of its own (out of reach of Ctrl-C), with only the given environment."""
        return subprocess.run(  # noqa: S603  # programs of the wheel
            command,
            user=self.user,
            group=self.group,
            extra_groups=None if self.user is None else [],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )

    def give(self, path: Path) -> None:
        """Give the account a file that root has created."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group)

    def may_enter(self, directory: Path) -> bool:
        """Return whether the account may access files in a directory (execute permission)."""
        status = directory.stat()
        if status.st_uid == self.user:
            return bool(status.st_mode & stat.S_IXUSR)
        return bool(status.st_mode & (stat.S_IXGRP if status.st_gid == self.group else stat.S_IXOTH))


def owner(path: Path) -> Account:
    """Return the owner of a file, who may have no user name."""
    status = path.stat()
    return Account(status.st_uid, status.st_gid)


def system_account() -> Account | None:
    """Return the system user chatmemory, created if missing; None if it cannot be created."""
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    account = _account_named(SYSTEM_USER)
    if account is None:
        with contextlib.suppress(OSError):
            subprocess.run(command, check=False, capture_output=True)  # noqa: S603  # constants only
        account = _account_named(SYSTEM_USER)  # another process may have created it
    return account


def _account_named(name: str) -> Account | None:
    import pwd  # Windows lacks this module; there, a URL must be configured

    try:
        return Account(*pwd.getpwnam(name)[2:4])
    except KeyError:
        return None


def make_directories(path: Path) -> None:
    """Create missing directories; as root, readable by the unprivileged user whatever the umask. Existing ones stay."""
    if path.is_dir():
        return
    make_directories(path.parent)
    with contextlib.suppress(FileExistsError):  # another process was faster, or a file is in the way, which fails later
        path.mkdir(mode=0o755)
        if os.geteuid() == 0:
            path.chmod(0o755)
