"""Recording trainings of Keras."""

from collections.abc import Mapping
from typing import Any

from chatmemory import MissingExtraError, Tenant
from chatmemory_training.recording import Recording
from chatmemory_training.values import number

try:
    from keras.callbacks import Callback
except ImportError as error:
    raise MissingExtraError("chatmemory_training.keras needs keras: pip install keras, and a backend of it") from error


class ChatMemoryCallback(Callback):
    """A callback of fit(): each is a run.

    A fit() that raises never says so to its callbacks: the run is left active, and expires; record_run() around it
    records that too.

    Args:
        tenant: Where runs are recorded.
        name: The run's; None: the model's.
        dataset: What is trained on.
        recording: More, as Recording takes it: user_id, share_result, spool_dir.
    """

    def __init__(
        self, tenant: Tenant, name: str | None = None, *, dataset: str | None = None, **recording: Any
    ) -> None:
        super().__init__()
        self._tenant, self._name, self._dataset, self._how = tenant, name, dataset, recording
        self._run: Recording | None = None

    def on_train_begin(self, logs: Mapping[str, Any] | None = None) -> None:
        """The run begins."""
        optimizer = getattr(self.model, "optimizer", None)
        self._run = Recording(self._tenant, self._name or self.model.name, **self._how)
        self._run.begin(
            {
                "model_id": self.model.name,
                "dataset_name": self._dataset,
                "total_epochs": self.params.get("epochs"),
                "steps_per_epoch": self.params.get("steps"),
                "learning_rate": number(getattr(optimizer, "learning_rate", None)),
                "optimizer": getattr(optimizer, "name", None),
            }
        )

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
        """Numbers of one epoch."""
        if self._run is not None:
            self._run.log(logs or {}, step=epoch)
            self._run.update(current_epoch=epoch + 1)

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:
        """The run came to its end."""
        run, self._run = self._run, None
        if run is not None:
            run.results(**{name: value for name, value in (logs or {}).items() if number(value) is not None})
            run.end()
