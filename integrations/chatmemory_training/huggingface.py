"""A callback of Hugging Face's Trainer that records trainings."""

import math
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chatmemory import MissingExtraError, Tenant
from chatmemory_training.run_recording import Recording
from chatmemory_training.signals import end_status

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise MissingExtraError(
        'chatmemory_training.huggingface needs transformers: pip install "transformers[torch]"'
    ) from error


class ChatMemoryCallback(TrainerCallback):
    """A callback of a Trainer; each train() is one run.

    The Trainer does not report an exception in train() to callbacks. Used as a context manager around train(), the
    callback records the failure; otherwise the run stays active until it expires.

    Args:
        tenant: The tenant that records the runs.
        name: The run's name; None: run_name of the TrainingArguments, or the name of their output directory.
        dataset: The dataset's name.
        recording: Further arguments of Recording: user_id, share_result, spool_dir.
    """

    def __init__(
        self, tenant: Tenant, name: str | None = None, *, dataset: str | None = None, **recording: Any
    ) -> None:
        self._tenant, self._name, self._dataset, self._options = tenant, name, dataset, recording
        self._run: Recording | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the run, in the main process only."""
        if not state.is_world_process_zero:
            return
        model = kwargs.get("model")
        model_name = getattr(getattr(model, "config", None), "_name_or_path", None)
        name = self._name or getattr(args, "run_name", None) or Path(args.output_dir).name
        self._run = Recording(self._tenant, name, **self._options)
        self._run.begin(
            {
                "model_id": model_name or type(model).__name__,
                "dataset_name": self._dataset,
                "total_epochs": math.ceil(args.num_train_epochs),
                "learning_rate": args.learning_rate,
                "batch_size": args.per_device_train_batch_size,
                "max_steps": state.max_steps,
                "seed": args.seed,
            },
            artifacts=Path(args.output_dir).absolute(),
        )

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Record metrics."""
        if self._run is not None and logs:
            self._run.log(logs, step=state.global_step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the current epoch."""
        if self._run is not None and state.epoch is not None:
            self._run.update(current_epoch=math.floor(state.epoch + 1e-9))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the run."""
        if self._run is not None:
            logged = {name: value for entry in state.log_history for name, value in entry.items()}
            self._run.results(**logged, best_metric=state.best_metric, best_checkpoint=state.best_model_checkpoint)
            self._end("completed", None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status, reason = end_status(kind, error)
        self._end(status, "".join(traceback.format_exception(error)) if status == "failed" and error else reason)

    def _end(self, status: str, reason: str | None) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.end(status, reason)
