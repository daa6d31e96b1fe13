"""The metrics that log() makes of what it is given, and its words about the rest; runs that resume or are lost."""

import gc
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatmemory import Tenant
from chatmemory_training import Recording, record_run
from chatmemory_training.metric_values import numbers_in


@pytest.mark.parametrize(
    ("value", "numbers"),
    [
        (True, {"x": 1.0}),
        (np.bool_(False), {"x": 0.0}),
        (np.float32(0.5), {"x": 0.5}),
        ([1, 2.5], {"x.0": 1.0, "x.1": 2.5}),
        (np.array([[1.0, 2.0]]), {"x.0.0": 1.0, "x.0.1": 2.0}),
        ({"a": 1, "b": {"c": True}}, {"x/a": 1.0, "x/b/c": 1.0}),
    ],
)
def test_numbers_of_every_form_are_metrics(value: Any, numbers: dict[str, float]) -> None:
    """Booleans count, lists are series, dicts are groups."""
    assert numbers_in({"x": value}) == (numbers, {})


@pytest.mark.parametrize("value", ["0.5", None, object(), ["a"], list(range(101)), np.zeros(101), {"a": "b"}])
def test_what_is_no_number_is_refused_whole(value: Any) -> None:
    """With its name and a reason."""
    numbers, refused = numbers_in({"x": value, "y": 1})
    assert numbers == {"y": 1.0}
    assert set(refused) == {"x"}


def test_what_is_dropped_is_said_once(tmp_path: Path, tenant: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    """By name, for each name."""
    with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path) as run:
        for step in range(3):
            run.log({"loss": 1.0, "note": "fine", "ok": step > 0}, step)
            run.log({"other": None}, step)
    told = [record.getMessage() for record in caplog.records if "is not recorded" in record.getMessage()]
    assert [text.split("'")[1] for text in told] == ["note", "other"]
    assert tenant.sessions.get("r").metrics()["ok"].values == (0.0, 1.0, 1.0)


def test_a_resumed_run_repeats_no_step(tmp_path: Path, tenant: Tenant) -> None:
    """Its failure stays in the history, the steps before it too; what it logs again replaces the rest."""

    def fail() -> None:
        with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path) as run:
            for step in range(10):
                run.log({"loss": 1.0, "rate": 1.0}, step)
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path, resume=True) as run:
        for step in range(6, 12):
            run.log({"loss": 2.0}, step)
    session = tenant.sessions.get("r")
    curves = session.metrics()
    assert curves["loss"].steps == tuple(range(12))
    assert curves["loss"].values == (1.0,) * 6 + (2.0,) * 6
    assert curves["rate"].steps == tuple(range(10))  # it is not repeated
    assert [change.new for change in session.status_history()] == ["running", "failed", "running", "completed"]
    assert session.info.error is None
    with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path, resume="r") as run:
        pass
    assert run.session_id == "r"


def test_a_frozen_process_goes_on_in_its_run(tmp_path: Path, tenant: Tenant) -> None:
    """It was told as lost while it did not beat; its next sign of life takes that back."""
    with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path, lost_after=1) as run:
        while run.session_id is None:
            time.sleep(0.01)
        session = tenant.sessions.get("r")
        session.update(run_status="failed", reason="lost")
        session.end(success=False)
        run.results(rmse=0.5)
    info = session.refresh()
    assert (info.run_status, info.results, "late" in info.metadata) == ("completed", {"rmse": 0.5}, False)


def test_a_recording_that_is_left_behind_is_lost(tmp_path: Path, tenant: Tenant) -> None:
    """As by a notebook cell that is interrupted and run again: the first run does not go on beating for ever."""

    def cell() -> Recording:
        run = Recording(tenant, "r", user_id="ann", spool_dir=tmp_path)
        run.begin()
        while run.session_id is None:
            time.sleep(0.01)
        return run

    run = cell()
    run = cell()
    gc.collect()
    while tenant.sessions.get("r").info.is_active:
        time.sleep(0.05)
    info = tenant.sessions.get("r").info
    assert (info.run_status, run.session_id) == ("failed", "r-2")
    assert (info.error or "").startswith("lost")
    run.end()
