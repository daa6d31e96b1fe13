"""Spool files: delivery to the database, and everything that can be wrong with them."""

import errno
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatmemory import ChatMemory, Settings, Tenant
from chatmemory_training import Recording, SessionManager, deliver_spools, record_run
from chatmemory_training.directories import RunLock
from chatmemory_training.spool import Spool
from chatmemory_training.spool_delivery import spool_path


def begin(name: str, **more: Any) -> dict[str, Any]:
    """The first entry of a run."""
    known = {"attempt": f"a-{name}", "user": "ann", "kind": "training", "name": name, "details": {}, "metadata": {}}
    return {"op": "begin", **known, **more}


def log(step: int) -> dict[str, Any]:
    """One point."""
    return {"op": "log", "step": step, "values": {"loss": 1.0}, "at": 1_700_000_000.0 + step}


def left(root: Path, tenant: Tenant, name: str, *entries: dict[str, Any]) -> Path:
    """Write the spool of a killed run."""
    path = spool_path(root / name, tenant)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return path


def until_swept(path: Path) -> None:
    """Wait until somebody has delivered a file."""
    for _ in range(3000):
        if not path.exists():
            return
        time.sleep(0.02)
    raise AssertionError(f"{path} is still there")


def steps(tenant: Tenant, id: str) -> list[int]:
    """The steps of a run's loss."""
    curve = tenant.sessions.get(id).metrics().get("loss")
    return list(curve.steps) if curve else []


@pytest.mark.parametrize(("one", "other"), [("acme/eu", "eu"), ("a b", "a_b"), ("x" * 130 + "1", "x" * 130 + "2")])
def test_no_tenant_is_told_what_another_left(tmp_path: Path, memory: ChatMemory, one: str, other: str) -> None:
    """Each tenant has its own spool, also if its id is not a valid file name."""
    left(tmp_path, memory.tenant(one), "r", begin("r"), log(1))
    assert deliver_spools(tmp_path, memory.tenant(other)) == 0
    assert memory.tenant(other).sessions.list(with_total=True).total == 0
    assert deliver_spools(tmp_path, memory.tenant(one)) == 2


def half_told(root: Path, tenant: Tenant) -> tuple[Recording, Path]:
    """A run of Ann's of which the database knows all but the last step, and its file."""
    run = Recording(tenant, "r", user_id="ann", spool_dir=root)
    run._reporter._unswept = None  # its thread would look for spools after this function released the lock
    run.begin()
    path = spool_path(root / "r", tenant)
    while run.session_id is None or '"op":"begin"' in path.read_text():
        time.sleep(0.01)
    run._reporter._thread = None  # as after a SIGKILL: nobody delivers any more
    run._abandoned.detach()
    run._reporter._spool.add(log(7))
    assert run._lock is not None
    run._lock.release()
    return run, path


def test_the_last_steps_of_a_killed_run_find_their_session(tmp_path: Path, tenant: Tenant) -> None:
    """The file that had been delivered once begins with it."""
    half_told(tmp_path, tenant)
    deliver_spools(tmp_path, tenant)
    assert steps(tenant, "r") == [7]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("user", ["bob", "ann"])
def test_the_last_steps_go_to_no_other_session_of_the_name(tmp_path: Path, tenant: Tenant, user: str) -> None:
    """The session was erased, and a new session, of another user or the same one, has its id."""
    _, path = half_told(tmp_path, tenant)
    tenant.sessions.get("r").erase()
    tenant.sessions.create(session_id="r", user_id=user, kind="training")
    deliver_spools(tmp_path, tenant)
    assert steps(tenant, "r") == []
    assert not path.exists()


def test_a_run_that_expired_keeps_what_it_tells_later(tmp_path: Path, tenant: Tenant) -> None:
    """The session expired before the run ended: the results are kept."""
    with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path) as run:
        while run.session_id is None or tenant.sessions.get("r").info.run_status != "running":
            time.sleep(0.01)
        tenant.sessions.get("r").expire()
        run.results(rmse=0.5)
    info = tenant.sessions.get("r").info
    assert (info.status, info.metadata["late"]) == ("expired", {"ended_as": "completed", "results": {"rmse": 0.5}})


def test_two_machines_never_share_a_session(tmp_path: Path, tenant: Tenant) -> None:
    """Each has a session of its own, with its own results, whoever ends first."""
    one, two = (Recording(tenant, "r", user_id="ann", spool_dir=tmp_path / place) for place in "ab")
    for run in (one, two):
        run.begin()
        run.log({"loss": 1.0})
        while run.session_id is None:
            time.sleep(0.01)
    for number, run in enumerate((one, two)):
        run.results(number=number)
        assert run.end()
    ended = {run.session_id: tenant.sessions.get(run.session_id).info for run in (one, two)}
    assert {id: info.results for id, info in ended.items()} == {"r": {"number": 0}, "r-2": {"number": 1}}
    assert {info.run_status for info in ended.values()} == {"completed"}


def test_a_run_that_another_machine_takes_up_loses_no_results(
    tmp_path: Path, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    """The other was told to resume it while it was running: what the first one says at its end is kept, and said."""
    with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path / "a") as one:
        while one.session_id is None:
            time.sleep(0.01)
        with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path / "b", resume=True) as two:
            two.results(b=2)
        one.results(a=1)
    info = tenant.sessions.get("r").info
    assert (two.session_id, info.results) == ("r", {"b": 2})
    assert info.metadata["late"] == {"ended_as": "completed", "results": {"a": 1}}
    assert "taken up by another run" in caplog.text


@pytest.mark.parametrize("how", ["end", "delete", "erase"])
def test_last_steps_that_have_no_place_are_told_of(
    tmp_path: Path, tenant: Tenant, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The session ended or went meanwhile: a log says so, and the next run of the name is a new session."""
    half_told(tmp_path, tenant)
    getattr(tenant.sessions.get("r"), how)()
    with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path) as run:
        run.log({"loss": 0.5}, 8)
    assert "record is incomplete" in caplog.text
    assert run.session_id == ("r" if how == "erase" else "r-2")
    assert steps(tenant, str(run.session_id)) == [8]


def test_a_file_that_cannot_be_delivered_stands_in_nobodys_way(
    tmp_path: Path, tenant: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    """The other files are delivered, and the delivering run is recorded."""
    left(tmp_path, tenant, "bad-1", begin("bad-1", user="x" * 300), log(1))
    left(
        tmp_path, tenant, "bad-2", begin("bad-2"), {"op": "none"}, {"op": "log"}, {"op": "update", "changes": 3}, log(1)
    )
    good = left(tmp_path, tenant, "good", begin("good"), log(1))
    with record_run(tenant, "mine", user_id="ann", spool_dir=tmp_path) as run:
        run.log({"loss": 1.0}, 1)
        until_swept(good)
        run.results(rmse=0.5)
    assert tenant.sessions.get("mine").info.results == {"rmse": 0.5}
    assert steps(tenant, "good") == steps(tenant, "bad-2") == [1]
    assert "record is incomplete" in caplog.text


def test_a_file_is_delivered_whatever_the_limit(
    tmp_path: Path, tenant: Tenant, memory: ChatMemory, postgres_url: str
) -> None:
    """Its session is one more than the user may have, and no other ends for it."""
    settings = memory.settings.model_copy(update={"max_sessions_per_user": 1, "session_limit_policy": "refuse"})
    with ChatMemory.open(postgres_url, settings=settings) as strict:
        first = strict.tenant("acme").sessions.create(user_id="ann", kind="training")
        path = left(tmp_path, tenant, "r", begin("r"), log(1))
        assert deliver_spools(tmp_path, strict.tenant("acme")) == 2
        assert not path.exists()
        assert first.refresh().is_active
    assert steps(tenant, "r") == [1]


DETAILS: list[dict[str, Any]] = [
    {"learning_rate": float("nan")},
    {"total_epochs": -1, "batch_size": -1},  # as Lightning says for ever, and some libraries: by yourself
    {"notes": "y" * 2_000_000},
    {"a\ud800": 1, "dataset_name": "b\0c"},
]


@pytest.mark.parametrize("details", DETAILS, ids=["nan", "negative", "large", "broken"])
def test_details_that_cannot_be_stored_cost_no_run(tmp_path: Path, tenant: Tenant, details: dict[str, Any]) -> None:
    """Details in any form are accepted; at worst the run is recorded without them."""
    with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path, details=details) as run:
        run.log({"loss": 1.0, "x" * 300: 2, "": 3}, 4)
    assert tenant.sessions.get("r").info.status == "completed"
    assert steps(tenant, "r") == [4]


def test_a_step_that_is_none_stops_no_training(tmp_path: Path, tenant: Tenant) -> None:
    """The point is kept, one step further."""
    with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path) as run:
        for step in (float("nan"), "next", 2**70):
            run.log({"loss": 1.0}, step)  # type: ignore[arg-type]  # on purpose
    assert steps(tenant, "r") == [0, 1, 2**63 - 1]


def test_a_disk_that_was_full_for_a_while_leaves_no_gap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries that could not be written are written first, before later ones."""
    spool = Spool(tmp_path / "r/.spool")
    write = os.write

    def fail(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", fail)
    spool.add(begin("r"))
    spool.add(log(1))
    monkeypatch.setattr(os, "write", write)
    spool.add(log(2))
    assert [entry.get("step") for entry in Spool(tmp_path / "r/.spool").read()] == [None, 1, 2]


@pytest.fixture
def child() -> Iterator[None]:
    """Nothing that a forked child does wrong reaches the tests."""
    parent = os.getpid()
    yield
    if os.getpid() != parent:
        os._exit(1)


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_tells_nothing_of_the_run(tmp_path: Path, tenant: Tenant, child: None) -> None:
    """The child leaves the block, and the parent's run continues with its files and its name."""
    config = {"logging": {"model_dir": str(tmp_path / "runs")}}
    with (
        SessionManager(config, None, "r", tenant=tenant, user_id="ann") as made,
        record_run(tenant, "s", user_id="ann", spool_dir=tmp_path / "spools") as run,
    ):
        pid = os.fork()
        if not pid:
            made.log_metrics({"loss": 9.0})
            made.__exit__(SystemExit, SystemExit(0), None)
            os._exit(run.end() or 0)
        assert os.waitpid(pid, 0)[1] == 0
        made.log_metrics({"loss": 1.0})
        run.log({"loss": 1.0})
        assert not RunLock(tmp_path / "runs/r").acquire()
        text = "".join(path.read_text() for path in tmp_path.glob("*/*/.spool*"))
        assert '"op":"end"' not in text
        made.update(results={"rmse": 0.5})
    info = tenant.sessions.get("r").info
    assert (info.run_status, info.results) == ("completed", {"rmse": 0.5})
    assert steps(tenant, "r") == steps(tenant, "s") == [0]


def test_a_lock_that_was_removed_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that ends removes its directory: who opened the lock just before gets the new one, as all others do."""
    from fasteners import InterProcessLock

    acquire = InterProcessLock.acquire
    removed: list[bool] = []

    def late(self: Any, **how: Any) -> bool:
        got = bool(acquire(self, **how))
        if not removed:
            (tmp_path / ".lock").unlink()
            removed.append(True)
        return got

    monkeypatch.setattr(InterProcessLock, "acquire", late)
    lock = RunLock(tmp_path)
    assert lock.acquire()
    assert (tmp_path / ".lock").exists()
    lock.release()


def test_runs_that_give_way_say_so_once(tmp_path: Path, postgres_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """A recorded run pushes out no other; one that gives way to a session of the app keeps what it reports later."""
    settings = Settings(max_sessions_per_user=1, cleanup_inactive_sessions=False)
    with ChatMemory.open(postgres_url, settings=settings) as memory:
        tenant = memory.tenant("acme")
        with record_run(tenant, "first", user_id="ann", spool_dir=tmp_path) as first:
            while first.session_id is None:
                time.sleep(0.01)
            with record_run(tenant, "second", user_id="ann", spool_dir=tmp_path):
                pass
            assert tenant.sessions.get("first").info.is_active
            tenant.sessions.create(user_id="ann", kind="training")
            for epoch in range(5):
                first.update(current_epoch=epoch)
            first.results(rmse=0.5)
        info = tenant.sessions.get("first").info
        assert info.run_status == "stopped"
        assert info.metadata["late"] == {
            "ended_as": "completed", "results": {"rmse": 0.5}, "details": {"current_epoch": 4}
        }  # fmt: skip
    told = [record.getMessage() for record in caplog.records if "record is incomplete" in record.getMessage()]
    assert len(told) == len(set(told)) <= 2
    assert told
