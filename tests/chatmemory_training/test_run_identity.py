"""The run that a recording goes on with, and the one that the processes of a job share."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatmemory import InvalidInputError, Tenant
from chatmemory_training import Recording, deliver_spools, process_group, record_run
from chatmemory_training.spool_replay import SpoolReplay
from tests.chatmemory_training.test_spools import begin, left, log, steps

LAUNCHERS = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "GROUP_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID",
             "SLURM_STEP_ID", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_RESTART_COUNT", "TORCHELASTIC_RUN_ID",
             "TORCHELASTIC_RESTART_COUNT", "CHATMEMORY_RUN_GROUP")  # fmt: skip
Environment = Callable[..., None]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Set the environment as a launcher does."""

    def launch(**environment: str) -> None:
        for name in LAUNCHERS:
            monkeypatch.delenv(name, raising=False)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    launch()
    return launch


def join(name: str, **more: Any) -> dict[str, Any]:
    """The first entry of another process of a job."""
    return {**begin(name, **more), "op": "join", "rank": 1}


def test_a_run_that_nobody_has_begun_holds_up_no_other_spool(
    tmp_path: Path, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    """The entries left for it are named and skipped, and those after them are written."""
    left(tmp_path, tenant, "a-rank1", join("a", attempt="gone"), log(1), join("z", attempt="z-1"), log(2))
    left(tmp_path, tenant, "b", begin("b"), log(1))
    tenant.sessions.create(session_id="z", user_id="ann", kind="training", metadata={"attempt": "z-1"})
    assert deliver_spools(tmp_path, tenant) == 6
    assert "has not recorded it" in caplog.text
    assert (steps(tenant, "b"), steps(tenant, "z")) == ([1], [2])


def test_a_run_is_found_behind_those_of_others(
    tmp_path: Path, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    """Their number does not matter; an id that does not exist is named."""
    for number in range(1, 8):
        tenant.sessions.create(session_id=f"r-{number}" if number > 1 else "r", user_id="bob", kind="training")
    for resume in (False, True, "it's none"):
        with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path, resume=resume) as run:
            run.log({"loss": 1.0}, 0)
        assert run.session_id == ("r-8" if resume in (False, True) else "r-9")
    assert 'no run "it\'s none" to go on with' in caplog.text


def test_a_process_goes_on_with_no_run_that_it_has_begun_itself(
    tmp_path: Path, tenant: Tenant, launched: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second fold is a run of its own; the restarted job goes on with the newest."""
    launched(CHATMEMORY_RUN_GROUP="folds")

    def fold() -> str | None:
        with pytest.raises(ValueError, match="no"), record_run(tenant, "r", user_id="ann", spool_dir=tmp_path) as run:
            raise ValueError("no")
        return run.session_id

    assert [fold(), fold()] == ["r", "r-2"]
    monkeypatch.setattr("chatmemory_training.run_identity._processes", {})
    assert fold() == "r-2"


def test_each_metric_is_cut_where_it_is_repeated(tmp_path: Path, tenant: Tenant) -> None:
    """One that counts epochs does not cut one that counts steps."""
    with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path) as run:
        for step in range(40):
            run.log({"loss": 1.0}, step)
        for epoch in range(4):
            run.log({"val": 1.0}, epoch)
    with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path, resume=True) as run:
        run.log({"val": 2.0}, 3)
        run.log({"loss": 2.0, "val": 3.0}, 30)
    curves = tenant.sessions.get("r").metrics()
    assert curves["val"].values == (1.0, 1.0, 1.0, 2.0, 3.0)
    assert curves["loss"].steps == tuple(range(31))


@pytest.mark.parametrize(
    ("environment", "is_told"),
    [
        ({"TORCHELASTIC_RUN_ID": "none"}, True),
        ({"TORCHELASTIC_RUN_ID": "none", "GROUP_WORLD_SIZE": "2"}, False),
        ({"TORCHELASTIC_RUN_ID": "j", "GROUP_WORLD_SIZE": "2"}, True),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0"}, True),
        ({"SLURM_JOB_ID": "7"}, False),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "4294967291"}, False),
        ({}, False),
    ],
)
def test_only_what_one_start_alone_has_makes_its_processes_one(
    launched: Environment, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], is_told: bool
) -> None:
    """Neither an address nor the name none does; one agent does, until it is started again."""
    where = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "a", "MASTER_PORT": "29500"}
    launched(**where, **environment)
    start = process_group.process_group().start
    assert (start is not None) == is_told
    assert process_group.process_group().start == start
    monkeypatch.setattr(process_group, "_begun_at", lambda pid: "later")
    assert (process_group.process_group().start == start) == (environment != {"TORCHELASTIC_RUN_ID": "none"})


def test_a_process_that_cannot_know_its_job_adds_nothing(
    tmp_path: Path, tenant: Tenant, launched: Environment, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so, and ends at once; the first process records by itself."""
    for rank in "10":
        launched(RANK=rank, WORLD_SIZE="2", MASTER_ADDR="a", MASTER_PORT="1")
        with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path, ranks="all") as run:
            run.log({"loss": 1.0}, 0)
    assert caplog.text.count("rank 1 adds nothing to run 'r'") == 1
    assert set(tenant.sessions.get("r").metrics()) == {"loss"}


@pytest.mark.parametrize("reason", [None, "lost"])
def test_a_late_process_leaves_a_run_as_it_has_ended(tenant: Tenant, reason: str | None) -> None:
    """A shared result stays the tenant's; a lost run stays lost."""
    session = tenant.sessions.create(session_id="r", user_id="ann", kind="training", metadata={"attempt": "a-r"})
    session.move("running")
    session.update(run_status="failed" if reason else "completed", reason=reason)
    session.end(success=reason is None, share_result=True)
    replay = SpoolReplay(tenant, 2)
    replay.apply(join("r", share_result=True))
    replay.apply({**log(1), "values": {"rank1/loss": 1.0}})
    replay.confirm()
    assert set(tenant.sessions.get("r").metrics()) == (set() if reason else {"rank1/loss"})
    assert tenant.sessions.get("r").info.run_status == ("failed" if reason else "completed")
    assert [memory.user_id for memory in tenant.memories.list(kinds=["result"])] == [None]


@pytest.mark.parametrize("wrong", [{"lost_after": "300"}, {"lost_after": 0}, {"lost_after": True}, {"ranks": "al"}])
def test_wrong_arguments_begin_nothing(tmp_path: Path, tenant: Tenant, wrong: dict[str, Any]) -> None:
    """They are refused before a directory is created."""
    with pytest.raises(InvalidInputError):
        Recording(tenant, "r", spool_dir=tmp_path, **wrong)
    assert not list(tmp_path.iterdir())


def test_a_recording_that_its_own_thread_collects_gives_up_its_directory(tmp_path: Path, tenant: Tenant) -> None:
    """The thread cannot wait for itself; another one ends the run."""
    run = Recording(tenant, "r", user_id="ann", spool_dir=tmp_path)
    run.begin()
    while run.session_id is None:
        time.sleep(0.01)
    reporter, lock, released = run._reporter, run._lock, threading.Event()
    run._abandoned.detach()
    assert lock is not None

    def release() -> None:
        lock.release()
        released.set()

    beat = reporter._beat

    def collected() -> None:
        reporter.abandon(release)
        beat()

    reporter._beat = collected  # type: ignore[method-assign]
    run.log({"loss": 1.0}, 0)
    assert released.wait(60)
    deliver_spools(tmp_path, tenant)  # it waits but a moment, as on a machine that is busy
    assert tenant.sessions.get("r").info.run_status == "failed"
