"""A Keras callback that records trainings."""

from collections.abc import Mapping
from typing import Any

from chatmemory import MissingExtraError, Tenant
from chatmemory_training.json_values import as_float
from chatmemory_training.run_recording import Recording

try:
    from keras.callbacks import Callback
except ImportError as error:
    raise MissingExtraError("chatmemory_training.keras needs keras: pip install keras, and a backend of it") from error


class ChatMemoryCallback(Callback):
    """A callback of fit(); each fit() is one run.

    Keras does not report an exception in fit() to callbacks: the run stays active until it expires. record_run()
    around fit() records the failure.

    Args:
        tenant: The tenant that records the runs.
        name: The run's name; None: the model's name.
        dataset: The dataset's name.
        recording: Further arguments of Recording: user_id, share_result, spool_dir.
    """

    def __init__(
        self, tenant: Tenant, name: str | None = None, *, dataset: str | None = None, **recording: Any
    ) -> None:
        super().__init__()
        self._tenant, self._name, self._dataset, self._options = tenant, name, dataset, recording
        self._run: Recording | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """Begin the run."""
        optimizer = getattr(self.model, "optimizer", None)
        self._run = Recording(self._tenant, self._name or self.model.name, **self._options)
        self._run.begin(
            {
                "model_id": self.model.name,
                "dataset_name": self._dataset,
                "total_epochs": self.params.get("epochs"),
                "steps_per_epoch": self.params.get("steps"),
                "learning_rate": as_float(getattr(optimizer, "learning_rate", None)),
                "optimizer": getattr(optimizer, "name", None),
            }
        )

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Record the metrics of one epoch."""
        if self._run is not None:
            self._run.log(logs or {}, step=epoch)
            self._run.update(current_epoch=epoch + 1)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """End the run."""
        run, self._run = self._run, None
        if run is not None:
            run.results(**{name: value for name, value in (logs or {}).items() if as_float(value) is not None})
            run.end()
