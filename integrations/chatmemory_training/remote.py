"""Other places that want a run's numbers too."""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from chatmemory import InvalidInputError
from chatmemory_training.directories import Directories
from chatmemory_training.options import option

LOG = logging.getLogger("chatmemory_training")
BACKENDS = ("tensorboard", "mlflow", "wandb")


class Remote(Protocol):
    """Somewhere else."""

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        """Numbers of one step."""

    def close(self) -> None:
        """There are no more."""


class TensorBoard:
    """Event files in the run's directory, by tensorboardX or torch."""

    def __init__(self, _config: Any, directories: Directories) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            from torch.utils.tensorboard import SummaryWriter
        self._writer = SummaryWriter(str(directories.run / "tensorboard"))
        self._step = 0

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        """Numbers of one step."""
        self._step = self._step + 1 if step is None else step
        for name, value in values.items():
            self._writer.add_scalar(name, value, self._step)

    def close(self) -> None:
        """There are no more."""
        self._writer.close()


class MlFlow:
    """A run of mlflow, where MLFLOW_TRACKING_URI says."""

    def __init__(self, config: Any, directories: Directories) -> None:
        import mlflow

        self._mlflow = mlflow
        project = option(config, "wandb.project")
        if project:
            mlflow.set_experiment(project)
        mlflow.start_run(run_name=directories.name)

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        """Numbers of one step."""
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        """There are no more."""
        self._mlflow.end_run()


def open_remote(backend: str, config: Any, directories: Directories) -> Remote | None:
    """Begin to log somewhere else; None: it cannot be, a log says why, and training goes on.

    Raises:
        InvalidInputError: There is no such place.
    """
    if backend not in BACKENDS:
        raise InvalidInputError(f"backend must be one of {', '.join(BACKENDS)}.")
    try:
        return (TensorBoard if backend == "tensorboard" else MlFlow)(config, directories)
    except ImportError:
        LOG.warning("%s is not installed; training goes on without it", backend)
    except Exception as error:  # noqa: BLE001  # whatever it is, training goes on
        LOG.warning("%s could not begin (%s); training goes on without it", backend, type(error).__name__)
    return None
