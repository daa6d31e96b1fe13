"""A logger of Lightning's Trainer that records runs."""

import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from chatmemory import MissingExtraError, Tenant
from chatmemory_training.connection import tenant_of
from chatmemory_training.run_names import generate_run_name, sanitize_run_name
from chatmemory_training.run_recording import Recording
from chatmemory_training.trainer_runs import TrainerRun, current_call, watch

try:
    from lightning.pytorch import Trainer
    from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
    from lightning.pytorch.utilities import rank_zero_only
except ImportError as error:
    raise MissingExtraError("chatmemory_training.lightning needs lightning: pip install lightning") from error

TRAINING, TESTS = "fit", ("test", "validate")
watch(Trainer, TRAINING, *TESTS, "predict")


class ChatMemoryLogger(Logger):
    """A logger of a Trainer: each fit() is one run, and each test() or validate() one of kind testing.

    A test after a fit() is a run NAME-test whose details name the training. An exception ends the run as failed, with
    its traceback, Ctrl-C and SIGTERM as stopped. A fit() with a ckpt_path resumes the run of its name.

    Args:
        tenant: The tenant that records the runs, or its id on the configured database, as in the YAML of LightningCLI.
        name: The runs' name; None: a generated one.
        dataset: The dataset's name.
        save_dir: The directory below which each logger has one of its own, SAVE_DIR/NAME/VERSION, for checkpoints and
            the config of LightningCLI.
        version: The name of that directory; None: version_0, version_1 and so on, the first that is free.
        user_id: As for Recording.
        share_result: As for Recording.
        spool_dir: As for Recording.
        resume: As for Recording.
        ranks: Only "first": Lightning asks the logger of its first process alone. Use record_run() for "all".
        lost_after: As for Recording.
    """

    def __init__(
        self,
        tenant: Tenant | str,
        name: str | None = None,
        *,
        dataset: str | None = None,
        save_dir: Path | str = "lightning_logs",
        version: int | str | None = None,
        user_id: str | int | None = None,
        share_result: bool = False,
        spool_dir: Path | str | None = None,
        resume: bool | str = False,
        ranks: Literal["first", "all"] = "first",
        lost_after: int = 300,
    ) -> None:
        super().__init__()
        self._tenant, self._dataset = tenant_of(tenant), dataset
        self._name = sanitize_run_name(name) if name else generate_run_name()
        self._root, self._version = Path(save_dir), version
        self._options: dict[str, Any] = {
            "user_id": user_id, "share_result": share_result, "spool_dir": spool_dir, "ranks": ranks,
            "lost_after": lost_after,
        }  # fmt: skip
        self._resume = resume
        self._run: TrainerRun | None = None
        self._trained: Recording | None = None
        self._hyperparameters: dict[str, Any] = {}
        self._last: dict[str, float] = {}

    @property
    def name(self) -> str:
        """The runs' name."""
        return self._name

    @property
    def version(self) -> str:
        """The name of the logger's own directory."""
        if self._version is None:
            self._version = _free_version(self._root / self._name)
        return self._version if isinstance(self._version, str) else f"version_{self._version}"

    @property
    def log_dir(self) -> str:
        """The logger's own directory."""
        return str(self._root / self._name / self.version)

    @property
    def save_dir(self) -> str:
        """The same: Lightning takes it for log_dir, and puts checkpoints below it."""
        return self.log_dir

    @property
    @rank_zero_experiment
    def experiment(self) -> Recording | None:
        """The recording of the run in progress; Lightning asks for it when fit() or test() begins."""
        call = current_call()
        if self._run is None and call is not None and call.method not in (TRAINING, *TESTS):
            return None
        return self._open_run().recording

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Record hyperparameters."""
        hyperparameters = vars(params) if isinstance(params, Namespace) else dict(params or {})
        self._hyperparameters.update(hyperparameters)
        if self._run is not None:
            self._run.recording.update(**_as_details(hyperparameters))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics."""
        run = self._open_run().recording
        epoch = metrics.get("epoch")
        self._last.update(metrics)
        run.log(metrics, step)
        if epoch is not None:
            run.update(current_epoch=int(epoch) + 1)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run, as the exception being handled says."""
        run, self._run = self._run, None
        if run is not None:
            run.recording.results(**self._last)
            self._last = {}
            error = sys.exc_info()[1]
            run.end(error if error is not None or status != "failed" else RuntimeError("Lightning says it failed."))

    def _open_run(self) -> TrainerRun:
        if self._run is None or not self._run.is_open:
            call = current_call()
            trainer = call.owner if call is not None else None
            is_test = call is not None and call.method in TESTS
            if is_test:
                self._run = self._open_test(trainer)
            else:
                resume = self._resume or bool(call is not None and call.arguments.get("ckpt_path"))
                options = {**self._options, "resume": resume}
                self._run = TrainerRun(self._tenant, self._name, self._details(trainer), options, self.log_dir)
                self._trained = self._run.recording
        return self._run

    def _open_test(self, trainer: Any) -> TrainerRun:
        """Begin a test: of the training before it, if there was one."""
        options = {**self._options, "kind": "testing"}
        details = {**self._details(trainer), "test_type": "lightning"}
        if self._trained is None:
            return TrainerRun(self._tenant, self._name, details, options, self.log_dir)
        details["training"] = self._trained.session_id or self._trained.name
        return TrainerRun(self._tenant, f"{self._name}-test", details, options, self.log_dir)

    def _details(self, trainer: Any) -> dict[str, Any]:
        model = getattr(trainer, "lightning_module", None)
        limits = {name: getattr(trainer, name, None) for name in ("max_epochs", "max_steps")}
        known = {"model_id": None if model is None else type(model).__name__, **limits, **self._hyperparameters}
        return {"dataset_name": self._dataset, **_as_details(known)}


def _free_version(parent: Path) -> str:
    """Create and return the first version that does not exist yet."""
    number = 0
    while True:
        try:
            (parent / f"version_{number}").mkdir(parents=True)
        except FileExistsError:
            number += 1
        except OSError:  # the directory cannot be written; Lightning says so where it matters
            return generate_run_name()
        else:
            return f"version_{number}"


def _as_details(given: Mapping[str, Any]) -> dict[str, Any]:
    """Rename hyperparameters to the details of a training; -1 is Lightning's word for no limit."""
    names = {"lr": "learning_rate", "max_epochs": "total_epochs", "model": "model_id"}
    return {names.get(str(name), str(name)): each for name, each in given.items() if each != -1 or name != "max_epochs"}
