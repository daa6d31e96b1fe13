import json
import subprocess
import sys
from importlib.util import find_spec
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


TRAINING = {
    "huggingface": """
import torch
from transformers import Trainer, TrainingArguments
from chatmemory_training.huggingface import ChatMemoryCallback

class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.line = torch.nn.Linear(1, 1)
    def forward(self, x=None, labels=None):
        out = self.line(x)
        return {"loss": ((out - labels) ** 2).mean(), "logits": out}

data = [{"x": torch.tensor([i / 8]), "labels": torch.tensor([2 * i / 8])} for i in range(16)]
args = TrainingArguments(output_dir=folder, num_train_epochs=3, learning_rate=0.01, logging_steps=1,
    per_device_train_batch_size=8, save_strategy="no", report_to=[], use_cpu=True, disable_tqdm=True)
callback = ChatMemoryCallback(tenant, "hf", dataset="lines", user_id="ann")
Trainer(model=Model(), args=args, train_dataset=data, callbacks=[callback]).train()

class Broken(Model):
    def forward(self, **_):
        raise ValueError("broken")
try:
    with ChatMemoryCallback(tenant, "hf-broken", user_id="ann") as callback:
        Trainer(model=Broken(), args=args, train_dataset=data, callbacks=[callback]).train()
except ValueError:
    pass
""",
    "lightning": """
import torch
from lightning.pytorch import LightningModule, Trainer
from chatmemory_training.lightning import ChatMemoryLogger

class Model(LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.save_hyperparameters()
        self.line = torch.nn.Linear(1, 1)
    def training_step(self, batch, index):
        loss = ((self.line(batch) - 2 * batch) ** 2).mean()
        if self.hparams.lr > 1:
            raise ValueError("broken")
        self.log("loss", loss)
        return loss
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

data = torch.utils.data.DataLoader(torch.arange(16.0).reshape(16, 1) / 8, batch_size=8)
def fit(name, lr):
    Trainer(max_epochs=3, logger=ChatMemoryLogger(tenant, name, dataset="lines", user_id="ann"), log_every_n_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
        default_root_dir=folder).fit(Model(lr), data)
fit("lightning", 0.01)
""",
    "keras": """
import os
os.environ["KERAS_BACKEND"] = "torch"
import keras, numpy as np
from chatmemory_training.keras import ChatMemoryCallback

x = np.arange(16.0).reshape(16, 1) / 8
model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)], name="line")
model.compile(keras.optimizers.SGD(0.01), loss="mse")
callback = ChatMemoryCallback(tenant, "keras", dataset="lines", user_id="ann")
model.fit(x, 2 * x, epochs=3, batch_size=8, verbose=0, callbacks=[callback])
""",
}
AROUND = """
import sys
from chatmemory import ChatMemory
folder = sys.argv[2]
with ChatMemory.open(sys.argv[1]) as memory:
    tenant = memory.tenant("acme")
    exec(sys.argv[3])
"""
_HAS = {
    module: find_spec(library) is not None and find_spec("torch") is not None for module, library in TRAINERS.items()
}
_WHY = "torch is 3 GB from PyPI, too much for the test extra; docs/tests.md says how this was run with the CPU's torch"


@pytest.mark.parametrize(
    "module", [pytest.param(name, marks=pytest.mark.skipif(not _HAS[name], reason=_WHY)) for name in TRAINERS]
)
def test_a_real_training_is_recorded(tenant: Tenant, postgres_url: str, tmp_path: Path, module: str) -> None:
    """The real library trains a line for three epochs: its losses, its epochs and its learning rate are there."""
    command = [sys.executable, "-c", AROUND, postgres_url, str(tmp_path), TRAINING[module]]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr[-3000:]
    name = {"huggingface": "hf"}.get(module, module)
    session = tenant.sessions.get(name, user_id="ann")
    info = session.info
    assert (info.run_status, info.details["dataset_name"]) == ("completed", "lines")
    assert info.details["learning_rate"] == pytest.approx(0.01)
    assert info.details["current_epoch"] == 3
    losses = session.metrics()["loss"].values
    assert len(losses) == {"huggingface": 6, "lightning": 6, "keras": 3}[module]
    assert all(0 < loss < 1000 for loss in losses)
    assert json.dumps(info.results)
    if module == "huggingface":
        assert (info.progress, info.details["batch_size"]) == (100.0, 8)
        assert tenant.sessions.get("hf-broken").info.run_status == "failed"
