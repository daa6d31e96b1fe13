"""A logger of Lightning's Trainer that records runs."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from chatmemory import MissingExtraError, Tenant
from chatmemory_training.run_recording import Recording

try:
    from lightning.pytorch.loggers.logger import Logger
    from lightning.pytorch.utilities import rank_zero_only
except ImportError as error:
    raise MissingExtraError("chatmemory_training.lightning needs lightning: pip install lightning") from error


class ChatMemoryLogger(Logger):
    """A logger of a Trainer; each fit(), validate() or test() that logs something is one run.

    Args:
        tenant: The tenant that records the runs.
        name: The runs' name; None: a generated one for each run.
        dataset: The dataset's name.
        recording: Further arguments of Recording: kind, user_id, share_result, spool_dir.
    """

    def __init__(
        self, tenant: Tenant, name: str | None = None, *, dataset: str | None = None, **recording: Any
    ) -> None:
        super().__init__()
        self._tenant, self._name, self._dataset, self._options = tenant, name, dataset, recording
        self._run: Recording | None = None
        self._hyperparameters: dict[str, Any] = {}
        self._last: dict[str, float] = {}

    @property
    def name(self) -> str | None:
        """The run's name."""
        return self._run.name if self._run is not None else self._name

    @property
    def version(self) -> str | None:
        """The session's id; None until the database has the session."""
        return self._run.session_id if self._run is not None else None

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Record hyperparameters."""
        hyperparameters = vars(params) if isinstance(params, Namespace) else dict(params or {})
        self._hyperparameters.update(hyperparameters)
        if self._run is not None:
            self._run.update(**_as_details(hyperparameters))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record metrics."""
        run = self._open_run()
        epoch = metrics.get("epoch")
        self._last.update(metrics)
        run.log(metrics, step)
        if epoch is not None:
            run.update(current_epoch=int(epoch) + 1)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run."""
        run, self._run = self._run, None
        if run is not None:
            run.results(**self._last)
            self._last = {}
            run.end("completed" if status in ("success", "finished") else "failed")

    def _open_run(self) -> Recording:
        if self._run is None:
            self._run = Recording(self._tenant, self._name, **self._options)
            self._run.begin({"dataset_name": self._dataset, **_as_details(self._hyperparameters)})
        return self._run


def _as_details(given: Mapping[str, Any]) -> dict[str, Any]:
    """Rename hyperparameters to the details of a training."""
    names = {"lr": "learning_rate", "max_epochs": "total_epochs", "model": "model_id"}
    return {names.get(str(name), str(name)): value for name, value in given.items()}
