"""A Keras callback that records trainings."""

from collections.abc import Mapping
from typing import Any

from chatmemory import MissingExtraError, Tenant
from chatmemory_training.json_values import as_float
from chatmemory_training.trainer_runs import TrainerRun, current_call, watch

try:
    from keras import Model
    from keras.callbacks import Callback
except ImportError as error:
    raise MissingExtraError("chatmemory_training.keras needs keras: pip install keras, and a backend of it") from error

watch(Model, "fit")


class ChatMemoryCallback(Callback):
    """A callback of fit(); each fit() is one run, or part of the run of a record_run() around it.

    Whatever leaves fit() ends the run: an exception as failed, Ctrl-C and SIGTERM as stopped. A fit() that begins after
    epoch 0, because of initial_epoch or a BackupAndRestore before this callback, resumes the run of its name.

    Args:
        tenant: The tenant that records the runs.
        name: The run's name; None: the model's name.
        dataset: The dataset's name.
        recording: Further arguments of Recording: user_id, share_result, spool_dir, resume, ranks, lost_after.
    """

    def __init__(
        self, tenant: Tenant, name: str | None = None, *, dataset: str | None = None, **recording: Any
    ) -> None:
        super().__init__()
        self._tenant, self._name, self._dataset, self._options = tenant, name, dataset, recording
        self._run: TrainerRun | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Begin the run."""
        optimizer = getattr(self.model, "optimizer", None)
        details = {
            "model_id": self.model.name,
            "dataset_name": self._dataset,
            "total_epochs": self.params.get("epochs"),
            "steps_per_epoch": self.params.get("steps"),
            "learning_rate": as_float(getattr(optimizer, "learning_rate", None)),
            "optimizer": getattr(optimizer, "name", None),
        }
        options = {"resume": self._goes_on(), **self._options}
        self._run = TrainerRun(self._tenant, self._name or self.model.name, details, options)

    def _goes_on(self) -> bool:
        """Return whether this fit() continues an earlier one."""
        call = current_call()
        first = call.arguments.get("initial_epoch") if call is not None else None
        return bool(first or getattr(self.model, "_initial_epoch", None))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record the metrics of one epoch."""
        if self._run is not None:
            self._run.recording.log(logs or {}, step=epoch)
            self._run.recording.update(current_epoch=epoch + 1)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """End the run."""
        run, self._run = self._run, None
        if run is not None:
            run.recording.results(**{name: each for name, each in (logs or {}).items() if as_float(each) is not None})
            run.end()
