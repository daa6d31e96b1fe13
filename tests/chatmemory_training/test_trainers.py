"""Real trainings with Hugging Face, Lightning, Keras and torchrun; docs/tests.md says how to run them."""

import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from chatmemory import SessionInfo, Tenant
from tests.chatmemory_training import trainings

LIBRARIES = {"huggingface": "transformers", "lightning": "lightning", "keras": "keras"}
ROOT = Path(trainings.__file__).resolve().parents[2]
pytestmark = [
    pytest.mark.skipif(
        any(find_spec(library) is None for library in (*LIBRARIES.values(), "torch")),
        reason="torch and the trainers are not installed; make test-trainers installs them where they are at hand",
    ),
    pytest.mark.timeout(300),
]
every = pytest.mark.parametrize("library", LIBRARIES)


def start(library: str, url: str, folder: Path, what: str, *launcher: str) -> subprocess.Popen[str]:
    """Start a training."""
    command = [sys.executable, *launcher, "-m", trainings.__name__, library, url, str(folder), what]
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "CHATMEMORY_LOG_DIR": str(folder / "spools"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    return subprocess.Popen(
        command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def train(library: str, url: str, folder: Path, what: str, *launcher: str, fails: bool = False) -> str:
    """Run a training to its end; return what it printed."""
    process = start(library, url, folder, what, *launcher)
    printed, errors = process.communicate(timeout=240)
    assert (process.returncode != 0) == fails, errors[-3000:]
    return printed


def info(tenant: Tenant, id: str = "line") -> SessionInfo:
    """A recorded run of Ann's."""
    return tenant.sessions.get(id, user_id="ann").info


def steps(tenant: Tenant, id: str = "line") -> list[int]:
    """The steps of a run's loss."""
    return list(tenant.sessions.get(id).metrics()["loss"].steps)


@every
def test_a_training_and_its_test_are_recorded(tenant: Tenant, postgres_url: str, tmp_path: Path, library: str) -> None:
    """Parameters, losses, epochs, and what the evaluation after it has measured."""
    train(library, postgres_url, tmp_path, "test")
    run = info(tenant)
    assert (run.run_status, run.details["dataset_name"], run.details["current_epoch"]) == ("completed", "lines", 3)
    assert (run.details["total_epochs"], run.progress) == (3, 100.0)
    assert len(steps(tenant)) == {"huggingface": 6, "lightning": 6, "keras": 3}[library]
    expected = {"line", "line-test"} if library == "lightning" else {"line"}
    assert {each.id for each in tenant.sessions.list()} == expected
    assert isinstance(run.results, dict)
    if library == "huggingface":
        assert run.details["training_arguments"]["warmup_steps"] == 1
        assert run.details["model_config"]["hidden_size"] == 1
        assert run.results["eval_loss"] > 0
        assert tenant.sessions.get("line").metrics()["eval_loss"].steps == (6,)
    if library == "lightning":
        assert (run.details["model_id"], run.details["learning_rate"]) == ("Line", 0.01)
        test = info(tenant, "line-test")
        assert (test.kind, test.run_status, test.details["training"]) == ("testing", "completed", "line")
        assert isinstance(test.results, dict)
        assert test.results["test_loss"] > 0
        assert [path.relative_to(tmp_path / "logs").parts[:2] for path in tmp_path.rglob("*.ckpt")] == [
            ("line", "version_0")
        ]
    if library == "keras":
        assert run.results["test_loss"] > 0


@every
def test_an_exception_ends_the_run(tenant: Tenant, postgres_url: str, tmp_path: Path, library: str) -> None:
    """With its traceback; the next run of the name is a new one, and begins with step 0."""
    train(library, postgres_url, tmp_path, "raise", fails=True)
    run = info(tenant)
    assert run.run_status == "failed"
    assert "ValueError: broken" in (run.error or "")
    train(library, postgres_url, tmp_path, "run")
    assert info(tenant) == run
    assert info(tenant, "line-2").run_status == "completed"
    assert steps(tenant, "line-2") == sorted(set(steps(tenant, "line-2")))


@every
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["ctrl-c", "term", "kill"])
def test_a_training_that_is_stopped(
    tenant: Tenant, postgres_url: str, tmp_path: Path, library: str, number: signal.Signals
) -> None:
    """Ctrl-C and SIGTERM stop the run; of a killed one the next training says that it is lost."""
    process = start(library, postgres_url, tmp_path, "endless")
    assert process.stdout is not None
    for _ in range(3):
        assert process.stdout.readline()
    process.send_signal(number)
    process.communicate(timeout=120)
    assert process.returncode != 0
    if number == signal.SIGKILL:
        train(library, postgres_url, tmp_path, "run")
    reason = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM", signal.SIGKILL: "lost"}[number]
    assert info(tenant).run_status == ("failed" if number == signal.SIGKILL else "stopped")
    assert tenant.sessions.get("line").status_history()[-1].reason == reason


@every
def test_a_checkpoint_resumes_the_run(tenant: Tenant, postgres_url: str, tmp_path: Path, library: str) -> None:
    """It goes on in the same session, and a repeated step has one value."""
    train(library, postgres_url, tmp_path, "run")
    before = steps(tenant)
    train(library, postgres_url, tmp_path, "resume")
    assert {each.id for each in tenant.sessions.list()} == {"line"}
    assert steps(tenant) == before
    assert info(tenant).run_status == "completed"


def torchrun(*more: str) -> tuple[str, ...]:
    """Start a module in two processes."""
    return "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", *more


@pytest.mark.parametrize("ranks", ["first", "all"])
def test_two_ranks_are_one_run(tenant: Tenant, postgres_url: str, tmp_path: Path, ranks: str) -> None:
    """Rank 0 records; the other contributes when it is asked to."""
    train("ddp", postgres_url, tmp_path, ranks, *torchrun())
    [run] = tenant.sessions.list()
    curves = tenant.sessions.get("line").metrics()
    assert (run.id, run.run_status, list(curves["loss"].steps)) == ("line", "completed", [0, 1, 2])
    if ranks == "all":
        assert curves["rank1/loss"].steps == (0, 1, 2)
        assert run.results == {"samples": 3, "rank1": {"samples": 3}}
    else:
        assert set(curves) == {"loss"}
        assert run.results == {"samples": 3}


def test_a_supervisor_that_starts_the_ranks_again_goes_on(tenant: Tenant, postgres_url: str, tmp_path: Path) -> None:
    """Torchrun restarts a job of which a process failed: the run is the same, and no step comes twice."""
    train("ddp", postgres_url, tmp_path, "restart", *torchrun("--max-restarts=1"))
    [run] = tenant.sessions.list()
    assert (run.run_status, steps(tenant)) == ("completed", [0, 1, 2])


CLI = """
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import LightningCLI

class Line(LightningModule):
    def __init__(self, lr: float = 0.01):
        super().__init__()
        self.save_hyperparameters()
        self.line = torch.nn.Linear(1, 1)
    def training_step(self, batch, index):
        loss = (self.line(batch) ** 2).mean()
        self.log("loss", loss)
        return loss
    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.arange(4.0).reshape(4, 1))
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

if __name__ == "__main__":
    LightningCLI(Line)
"""
CONFIG = """
trainer:
  max_epochs: 1
  accelerator: cpu
  enable_progress_bar: false
  logger:
    class_path: chatmemory_training.lightning.ChatMemoryLogger
    init_args:
      tenant: acme
      name: line
      user_id: ann
"""


def test_lightning_cli_and_its_yaml(tenant: Tenant, postgres_url: str, tmp_path: Path) -> None:
    """The logger stands in the config; each run saves it in a directory of its own."""
    (tmp_path / "train.py").write_text(CLI)
    (tmp_path / "config.yaml").write_text(CONFIG)
    environment = {
        **os.environ,
        "CHATMEMORY_POSTGRES_URL": postgres_url,
        "CHATMEMORY_LOG_DIR": str(tmp_path / "spools"),
    }
    for _ in range(2):
        command = [sys.executable, "train.py", "fit", "--config", "config.yaml"]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=200
        )
        assert done.returncode == 0, done.stderr[-3000:]
    assert {each.id: each.run_status for each in tenant.sessions.list()} == {"line": "completed", "line-2": "completed"}
    saved = sorted(path.parent.name for path in (tmp_path / "lightning_logs/line").rglob("config.yaml"))
    assert saved == ["version_0", "version_1"]
    assert not list(tmp_path.rglob("None"))
