import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import SGDClassifier

from chatmemory import ChatMemory, Tenant
from chatmemory_training import record_run

TRAINERS = {"huggingface": "transformers", "lightning": "lightning", "keras": "keras"}


@pytest.fixture(autouse=True)
def _spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spool into the test's own directory."""
    monkeypatch.setenv("CHATMEMORY_LOG_DIR", str(tmp_path / "spools"))


def test_scikit_learn_is_recorded(tenant: Tenant, tmp_path: Path) -> None:
    """A real training: parameters, a curve, results, and a result that answers which run was best."""
    x, y = load_iris(return_X_y=True)
    for rate in (0.001, 0.1):
        model = GradientBoostingClassifier(n_estimators=5, learning_rate=rate, random_state=0)
        with record_run(tenant, f"iris-{rate}", model=model, dataset="iris", user_id="ann") as run:
            model.fit(x, y)
            for step, loss in enumerate(model.train_score_):
                run.log({"loss": loss}, step)
            run.results(accuracy=model.score(x, y))
            run.update(artifacts=tmp_path / "model.joblib")
    session = tenant.sessions.get("iris-0.1", user_id="ann")
    info = session.info
    assert (info.kind, info.run_status, info.status) == ("training", "completed", "completed")
    assert (info.details["model_id"], info.details["dataset_name"]) == ("GradientBoostingClassifier", "iris")
    assert info.details["learning_rate"] == 0.1
    assert info.details["params"]["n_estimators"] == 5
    assert len(session.metrics()["loss"]) == 5
    comparison = tenant.sessions.compare(["iris-0.001", "iris-0.1"])
    assert comparison[1].best["loss"] < comparison[0].best["loss"]
    found = tenant.memories.recall("which run on iris had the best accuracy?", user_id="ann", kinds=["result"])
    assert {each.memory.sources[0].session_id for each in found} == {"iris-0.001", "iris-0.1"}
    assert all("model.joblib" in each.memory.text for each in found)
    assert not list((tmp_path / "spools").iterdir())


def test_a_test_of_a_model_is_recorded(tenant: Tenant) -> None:
    """kind="testing", shared with the tenant."""
    model = SGDClassifier()
    with record_run(tenant, "check", kind="testing", model=model, dataset="iris", share_result=True) as run:
        run.results(accuracy=np.float64(0.9), confusion=np.eye(2), worst=float("nan"))
    info = tenant.sessions.get("check").info
    assert info.results == {"accuracy": 0.9, "confusion": [[1.0, 0.0], [0.0, 1.0]], "worst": "nan"}
    assert len(tenant.memories.recall("accuracy on iris", user_id="anybody", kinds=["result"])) == 1


def test_a_run_that_raises_is_recorded_as_failed(tenant: Tenant) -> None:
    """With its traceback, and the error goes on; details that cannot be are kept as they were given."""
    details = {"total_epochs": "many", "nul": "a\0b", "fine": {"x": (1, 2)}}
    with pytest.raises(ValueError, match="no data"), record_run(tenant, "bad", model="lstm", details=details):
        raise ValueError("no data")
    info = tenant.sessions.get("bad").info
    assert (info.run_status, info.details["total_epochs_as_given"]) == ("failed", "many")
    assert info.details["nul"] == "ab"
    assert "ValueError: no data" in (info.error or "")


def test_a_name_that_ended_goes_on_beside(tenant: Tenant) -> None:
    """The next session is NAME-2; another user's session of the name is not touched."""
    tenant.sessions.create(user_id="bob", session_id="r")
    for _ in range(2):
        with record_run(tenant, "r", user_id="ann") as run:
            run.log({"loss": 1.0})
    assert [session.id for session in tenant.sessions.list(user_id="ann")] == ["r-3", "r-2"]
    assert tenant.sessions.get("r").info.is_active


def test_recording_without_a_database_costs_nothing(tenant: Tenant, tmp_path: Path, settings: Any) -> None:
    """The spooled run is delivered by the next run."""
    away = settings.model_copy(update={"postgres_timeout_seconds": 0.2})
    nowhere = ChatMemory.open("postgresql://nobody@127.0.0.1:1/none", settings=away)
    with record_run(nowhere.tenant("acme"), "waits", user_id="ann") as run:
        run.log({"loss": 1.0}, 0)
    with record_run(tenant, "next", user_id="ann"):
        pass
    assert tenant.sessions.get("waits").metrics()["loss"].values == (1.0,)
    assert tenant.sessions.get("waits").info.run_status == "completed"


def test_an_unwritable_directory_costs_nothing(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database gets it from memory."""
    monkeypatch.setenv("CHATMEMORY_LOG_DIR", "/proc/nowhere")
    with record_run(tenant, "unwritable") as run:
        run.log({"loss": 1.0})
    assert len(tenant.sessions.get("unwritable").metrics()["loss"]) == 1


@pytest.mark.parametrize("module", TRAINERS)
def test_a_missing_library_says_what_is_missing(module: str) -> None:
    """The error is ours."""
    code = (
        f"import sys; sys.modules[{TRAINERS[module]!r}] = None\n"
        f"import chatmemory\ntry:\n    import chatmemory_training.{module}\n"
        "except chatmemory.MissingExtraError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert f"needs {TRAINERS[module]}: pip install" in done.stdout
