"""Recording runs of Lightning's Trainer."""

from argparse import Namespace
from collections.abc import Mapping
from typing import Any

from chatmemory import MissingExtraError, Tenant
from chatmemory_training.recording import Recording

try:
    from lightning.pytorch.loggers.logger import Logger
    from lightning.pytorch.utilities import rank_zero_only
except ImportError as error:
    raise MissingExtraError("chatmemory_training.lightning needs lightning: pip install lightning") from error


class ChatMemoryLogger(Logger):
    """A logger of a Trainer: each fit(), validate() or test() that logs something is a run.

    Args:
        tenant: Where runs are recorded.
        name: The run's; None: a new one for each.
        dataset: What is trained on.
        recording: More, as Recording takes it: kind, user_id, share_result, spool_dir.
    """

    def __init__(
        self, tenant: Tenant, name: str | None = None, *, dataset: str | None = None, **recording: Any
    ) -> None:
        super().__init__()
        self._tenant, self._given, self._dataset, self._how = tenant, name, dataset, recording
        self._run: Recording | None = None
        self._hyperparameters: dict[str, Any] = {}
        self._last: dict[str, float] = {}

    @property
    def name(self) -> str | None:
        """The run's name."""
        return self._run.name if self._run is not None else self._given

    @property
    def version(self) -> str | None:
        """The run's session, once the database has it."""
        return self._run.session_id if self._run is not None else None

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """What is trained, and how."""
        given = vars(params) if isinstance(params, Namespace) else dict(params or {})
        self._hyperparameters.update(given)
        if self._run is not None:
            self._run.update(**_named(given))

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Numbers of the run."""
        run = self._begun()
        epoch = metrics.get("epoch")
        self._last.update(metrics)
        run.log(metrics, step)
        if epoch is not None:
            run.update(current_epoch=int(epoch) + 1)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """The run is over."""
        run, self._run = self._run, None
        if run is not None:
            run.results(**self._last)
            self._last = {}
            run.end("completed" if status in ("success", "finished") else "failed")

    def _begun(self) -> Recording:
        if self._run is None:
            self._run = Recording(self._tenant, self._given, **self._how)
            self._run.begin({"dataset_name": self._dataset, **_named(self._hyperparameters)})
        return self._run


def _named(given: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters under the names that trainings have."""
    other = {"lr": "learning_rate", "max_epochs": "total_epochs", "model": "model_id"}
    return {other.get(str(name), str(name)): value for name, value in given.items()}
