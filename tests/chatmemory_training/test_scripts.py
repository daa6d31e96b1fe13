import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from chatmemory import Tenant
from chatmemory_training import deliver_spools
from tests.chatmemory_training import script

NOWHERE = "postgresql://nobody@127.0.0.1:1/none"
ROOT = Path(script.__file__).resolve().parents[2]


def train(folder: Path, name: str, url: str, steps: int, last: str = "end", **more: Any) -> subprocess.Popen[str]:
    """Start a training script in a folder."""
    command = [sys.executable, "-m", script.__name__, name, url, str(steps), last]
    if not (folder / "tests").exists():
        (folder / "tests").symlink_to(ROOT / "tests")
    return subprocess.Popen(
        command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more
    )


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for a script and return its stderr."""
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == code, stderr
    return stderr


def losses(tenant: Tenant, id: str) -> list[int]:
    """The steps that a run has logged."""
    return list(tenant.sessions.get(id).metrics()["loss"].steps)


def test_a_killed_run_goes_on_under_its_name(tmp_path: Path, tenant: Tenant, postgres_url: str) -> None:
    """The resumed run continues the steps in the same session, without a gap; SIGKILL costs nothing."""
    ended(train(tmp_path, "lstm", postgres_url, 300, "kill"), -signal.SIGKILL)
    ended(train(tmp_path, "lstm", postgres_url, 200, env={**os.environ, "RESUME": "1"}))
    assert losses(tenant, "lstm") == list(range(500))
    info = tenant.sessions.get("lstm").info
    assert (info.status, info.run_status, info.results) == ("completed", "completed", {"rmse": 0.25})
    assert tenant.sessions.list(with_total=True).total == 1
    assert tenant.memories.list(kinds=["result"], with_total=True).total == 1


def test_a_fresh_run_is_a_new_run(tmp_path: Path, tenant: Tenant, postgres_url: str) -> None:
    """It takes up neither the session nor the directory of one that was killed, and tells that that one is lost."""
    ended(train(tmp_path, "lstm", postgres_url, 30, "kill"), -signal.SIGKILL)
    ended(train(tmp_path, "lstm", postgres_url, 20))
    ended(train(tmp_path, "lstm", postgres_url, 10))
    infos = {info.id: info.run_status for info in tenant.sessions.list(order="created")}
    assert infos == {"lstm": "failed", "lstm-2": "completed", "lstm-3": "completed"}
    assert tenant.sessions.get("lstm").status_history()[-1].reason == "lost"
    assert {id: len(losses(tenant, id)) for id in infos} == {"lstm": 30, "lstm-2": 20, "lstm-3": 10}
    assert {path.name for path in (tmp_path / "runs").iterdir()} == set(infos)


def test_a_supervisor_that_starts_it_again_goes_on_with_it(tmp_path: Path, tenant: Tenant, postgres_url: str) -> None:
    """In the job that it names; a completed run is left alone."""
    job = {**os.environ, "CHATMEMORY_RUN_GROUP": "nightly-7"}
    ended(train(tmp_path, "lstm", postgres_url, 30, "kill", env=job), -signal.SIGKILL)
    ended(train(tmp_path, "lstm", postgres_url, 20, env={**job, "CHATMEMORY_RUN_GROUP": "nightly-8"}))
    ended(train(tmp_path, "lstm", postgres_url, 20, "kill", env=job), -signal.SIGKILL)
    ended(train(tmp_path, "lstm", postgres_url, 20, env=job))
    assert sorted(info.id for info in tenant.sessions.list()) == ["lstm", "lstm-2"]


def test_a_run_without_its_database_is_delivered_later(tmp_path: Path, tenant: Tenant) -> None:
    """In order and once, whoever delivers it, and with its end."""
    stderr = ended(train(tmp_path, "away", NOWHERE, 100))
    assert "cannot be recorded now" in stderr
    [spool] = (tmp_path / "runs/away").glob(".spool-*")
    before = spool.read_bytes()
    assert tenant.sessions.list(with_total=True).total == 0
    assert deliver_spools(tmp_path / "runs", tenant) == 103
    assert losses(tenant, "away") == list(range(100))
    assert tenant.sessions.get("away").info.run_status == "completed"
    assert not spool.exists()
    spool.write_bytes(before)  # delivered, and then the machine died before it could be forgotten
    deliver_spools(tmp_path / "runs", tenant)
    assert losses(tenant, "away") == list(range(100))
    assert [session.id for session in tenant.sessions.list()] == ["away"]
    assert tenant.memories.list(kinds=["result"], with_total=True).total == 1


def test_a_half_delivered_run_is_completed_once(tmp_path: Path, tenant: Tenant) -> None:
    """Points that the database already has are recognised by their time and not added again."""
    ended(train(tmp_path, "half", NOWHERE, 50, "kill"), -signal.SIGKILL)
    [spool] = (tmp_path / "runs/half").glob(".spool-*")
    lines = spool.read_bytes().splitlines(keepends=True)
    spool.write_bytes(b"".join(lines[:20]))
    deliver_spools(tmp_path / "runs", tenant)
    spool.write_bytes(b"".join(lines) + b'{"op": "log", "at": 17')  # and the last line was torn
    deliver_spools(tmp_path / "runs", tenant)
    values = tenant.sessions.get("half").metrics()["loss"].values
    assert list(values) == [1 / (step + 1) for step in range(50)]
    assert tenant.sessions.get("half").status_history()[-1].reason == "lost"  # its process is gone


def test_the_next_run_delivers_what_others_left(tmp_path: Path, tenant: Tenant, postgres_url: str) -> None:
    """Runs beside it, of other names, that are over."""
    ended(train(tmp_path, "first", NOWHERE, 20, "fail"), 1)
    ended(train(tmp_path, "second", postgres_url, 20))
    first = tenant.sessions.get("first")
    assert (first.info.run_status, len(first.metrics()["loss"])) == ("failed", 20)
    assert "diverged" in (first.info.error or "")


def test_a_database_that_comes_back_gets_it_all(tmp_path: Path, tenant: Tenant, postgres_url: str, memory: Any) -> None:
    """Connections that are cut in the middle of a run cost nothing."""
    process = train(tmp_path, "cut", postgres_url, 2000)
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()  # it has come so far
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
    ended(process)
    assert memory.health().postgres == "ok"
    deliver_spools(tmp_path / "runs", tenant)
    assert losses(tenant, "cut") == list(range(2000))
    assert tenant.sessions.get("cut").info.run_status == "completed"


def test_two_scripts_of_one_name_at_once(tmp_path: Path, tenant: Tenant, postgres_url: str) -> None:
    """The second is NAME-2, with a directory and a session of its own."""
    first = train(tmp_path, "twin", postgres_url, 30, "wait")
    assert first.stdout is not None
    assert first.stdout.readline() == "name twin\n"
    second = train(tmp_path, "twin", postgres_url, 40)
    assert "already; this one is named" in ended(second)
    first.communicate("\n", timeout=60)
    assert (losses(tenant, "twin"), losses(tenant, "twin-2")) == (list(range(30)), list(range(40)))


def _full_disk(size: int) -> Callable[[], None]:
    """No file may grow beyond so many bytes, as on a disk that is full."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_a_full_disk_stops_no_training(tmp_path: Path, tenant: Tenant, postgres_url: str) -> None:
    """Entries that cannot be spooled go to the database from memory."""
    stderr = ended(train(tmp_path, "full", postgres_url, 1000, preexec_fn=_full_disk(600)))
    assert losses(tenant, "full") == list(range(1000))
    assert tenant.sessions.get("full").info.run_status == "completed"
    assert stderr.count("cannot be written") <= 1


def test_a_full_disk_and_no_database_lose_only_the_record(tmp_path: Path, tenant: Tenant) -> None:
    """Training ends well, a log says so once, and what did fit is whole."""
    stderr = ended(train(tmp_path, "full", NOWHERE, 2000, preexec_fn=_full_disk(60_000)))
    assert stderr.count("cannot be written") == 1
    [spool] = (tmp_path / "runs/full").glob(".spool-*")
    kept = spool.read_text()
    assert kept.endswith("}\n")
    assert all(json.loads(line)["op"] for line in kept.splitlines())
    delivered = deliver_spools(tmp_path / "runs", tenant)
    assert losses(tenant, "full") == list(range(delivered - 1))
