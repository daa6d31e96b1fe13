"""Other systems that a run's metrics go to: TensorBoard and MLflow."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from chatmemory import InvalidInputError
from chatmemory_training.config_reading import config_value
from chatmemory_training.directories import Directories
from chatmemory_training.time_limits import call_within

LOG = logging.getLogger("chatmemory_training")
CLOSE_SECONDS = 0.5  # for each sink
BACKENDS = ("tensorboard", "mlflow", "wandb")


class MetricSink(Protocol):
    """A system that receives metrics."""

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        """Send the metrics of one step."""

    def close(self) -> None:
        """Flush and close."""


class TensorBoard:
    """Event files in the run's directory, written by tensorboardX or torch."""

    def __init__(self, _config: Any, directories: Directories) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            from torch.utils.tensorboard import SummaryWriter
        self._writer = SummaryWriter(str(directories.run / "tensorboard"))
        self._step = 0

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        """Send the metrics of one step."""
        self._step = self._step + 1 if step is None else step
        for name, value in values.items():
            self._writer.add_scalar(name, value, self._step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class MlFlow:
    """An MLflow run at MLFLOW_TRACKING_URI."""

    def __init__(self, config: Any, directories: Directories) -> None:
        import mlflow

        self._mlflow = mlflow
        project = config_value(config, "wandb.project")
        if project:
            mlflow.set_experiment(project)
        mlflow.start_run(run_name=directories.name)

    def log(self, values: Mapping[str, float], step: int | None) -> None:
        """Send the metrics of one step."""
        self._mlflow.log_metrics(dict(values), step=step)

    def close(self) -> None:
        """Flush and close."""
        self._mlflow.end_run()


def open_metric_sink(backend: str, config: Any, directories: Directories) -> MetricSink | None:
    """Open a metric sink; None if it cannot be opened: the reason is logged and training continues.

    Raises:
        InvalidInputError: The backend is unknown.
    """
    if backend not in BACKENDS:
        raise InvalidInputError(f"backend must be one of {', '.join(BACKENDS)}.")
    try:
        return (TensorBoard if backend == "tensorboard" else MlFlow)(config, directories)
    except ImportError:
        LOG.warning("%s is not installed; training continues without it", backend)
    except Exception as error:  # noqa: BLE001  # training continues after any failure
        LOG.warning("%s could not start (%s); training continues without it", backend, type(error).__name__)
    return None


def send(sinks: Sequence[Any], values: Mapping[str, float], step: int | None) -> None:
    """Send the metrics of one step to all sinks; one that fails is logged, and training continues."""
    for sink in sinks:
        try:
            sink.log(values, step=step)
        except Exception as error:  # noqa: BLE001  # a backend's failure must not stop training
            LOG.warning("a metrics backend failed (%s); training continues", type(error).__name__)


def close_all(sinks: list[MetricSink]) -> None:
    """Close all sinks and empty the list; one that fails or hangs is logged."""
    while sinks:
        try:
            call_within(sinks.pop().close, CLOSE_SECONDS)
        except Exception as error:  # noqa: BLE001  # as above
            LOG.warning("a metrics backend could not be closed (%s)", type(error).__name__)
