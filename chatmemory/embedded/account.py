"""As whom Postgres runs: it refuses to be root, so that root runs it as an unprivileged user."""

import contextlib
import os
import stat
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

SYSTEM_USER = "chatmemory"


class Account(NamedTuple):
    """A user and a group; None: those of this process."""

    user: int | None = None
    group: int | None = None

    def run(self, command: list[Any], output: Any, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
        """Run a program out of reach of Ctrl-C, with nothing of the caller's but what is passed."""
        return subprocess.run(  # noqa: S603  # the wheel's programs
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
        """Make it the owner of what root has made."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group)

    def may_enter(self, directory: Path) -> bool:
        """Whether it may use what is inside, if it has a name for it."""
        found = directory.stat()
        if found.st_uid == self.user:
            return bool(found.st_mode & stat.S_IXUSR)
        return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == self.group else stat.S_IXOTH))


def owner(path: Path) -> Account:
    """Whom a file belongs to; that user need not have a name."""
    found = path.stat()
    return Account(found.st_uid, found.st_gid)


def system_account() -> Account | None:
    """The user of our own, made if it is missing; None: it cannot be made."""
    command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    found = _named(SYSTEM_USER)
    if found is None:
        with contextlib.suppress(OSError):
            subprocess.run(command, check=False, capture_output=True)  # noqa: S603  # constants only
        found = _named(SYSTEM_USER)  # also if another process was faster
    return found


def _named(name: str) -> Account | None:
    import pwd  # Windows has none; there, a URL must be configured

    try:
        return Account(*pwd.getpwnam(name)[2:4])
    except KeyError:
        return None


def make_directories(path: Path) -> None:
    """Make what is missing, as root open to the unprivileged user whatever the umask; what exists stays as it is."""
    if path.is_dir():
        return
    make_directories(path.parent)
    with contextlib.suppress(FileExistsError):  # another process was faster; a file in the way shows later
        path.mkdir(mode=0o755)
        if os.geteuid() == 0:
            path.chmod(0o755)
