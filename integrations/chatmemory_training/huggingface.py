"""A callback of Hugging Face's Trainer that records trainings."""

import math
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chatmemory import MissingExtraError, Tenant
from chatmemory_training.effective_config import masked
from chatmemory_training.run_recording import Recording
from chatmemory_training.trainer_runs import TrainerRun, watch

try:
    from transformers import Trainer, TrainerCallback
except ImportError as error:
    raise MissingExtraError(
        'chatmemory_training.huggingface needs transformers: pip install "transformers[torch]"'
    ) from error

watch(Trainer, "train")


class ChatMemoryCallback(TrainerCallback):
    """A callback of a Trainer; each train() is one run, or part of the run of a record_run() around it.

    Whatever leaves train() ends the run: an exception as failed, Ctrl-C and SIGTERM as stopped. A train() that loads a
    checkpoint resumes the run of its name. An evaluate() after train() adds its metrics to the run; one without it is a
    run of kind testing.

    Args:
        tenant: The tenant that records the runs.
        name: The run's name; None: run_name of the TrainingArguments, or the name of their output directory.
        dataset: The dataset's name.
        recording: Further arguments of Recording: user_id, share_result, spool_dir, resume, ranks, lost_after.
    """

    def __init__(
        self, tenant: Tenant, name: str | None = None, *, dataset: str | None = None, **recording: Any
    ) -> None:
        self._tenant, self._name, self._dataset, self._options = tenant, name, dataset, recording
        self._run: TrainerRun | None = None
        self._trained: Recording | None = None  # the last run that completed

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin the run; in other processes than the main one, only if all are asked to add to it."""
        if not self._is_recorded(state):
            return
        options = {"resume": state.global_step > 0, **self._options}
        details = {
            "total_epochs": math.ceil(args.num_train_epochs),
            "learning_rate": args.learning_rate,
            "batch_size": args.per_device_train_batch_size,
            "max_steps": state.max_steps,
            "seed": args.seed,
            "training_arguments": masked(args.to_dict()),
        }
        self._trained = None
        self._run = self._begin(args, {**details, **self._model_details(kwargs.get("model"))}, options)

    def _is_recorded(self, state: Any) -> bool:
        return bool(state.is_world_process_zero) or self._options.get("ranks") == "all"

    def _begin(self, args: Any, details: dict[str, Any], options: dict[str, Any]) -> TrainerRun:
        name = self._name or getattr(args, "run_name", None) or Path(args.output_dir).name
        return TrainerRun(self._tenant, name, details, options, artifacts=Path(args.output_dir).absolute())

    def _model_details(self, model: Any) -> dict[str, Any]:
        config = getattr(model, "config", None)
        name = getattr(config, "_name_or_path", None) or type(model).__name__
        to_dict = getattr(config, "to_dict", None)
        return {
            "model_id": name,
            "dataset_name": self._dataset,
            "model_config": masked(to_dict()) if callable(to_dict) else None,
        }

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Record metrics."""
        if self._run is not None and logs:
            self._run.recording.log(logs, step=state.global_step)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Record the current epoch."""
        if self._run is not None and state.epoch is not None:
            self._run.recording.update(current_epoch=math.floor(state.epoch + 1e-9))

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """End the run."""
        run, self._run = self._run, None
        if run is not None:
            logged = {name: value for entry in state.log_history for name, value in entry.items()}
            run.recording.results(**logged, best_metric=state.best_metric, best_checkpoint=state.best_model_checkpoint)
            run.end()
            self._trained = run.recording

    def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Record an evaluate() outside train(): inside, its metrics are logged."""
        is_training = self._run is not None and self._run.is_open
        if is_training or not metrics or not self._is_recorded(state):
            return
        how = {"kind": "testing"} if self._trained is None else {"resume": self._trained.attempt}
        run = self._begin(args, self._model_details(kwargs.get("model")), {**self._options, **how})
        run.recording.log(metrics, step=state.global_step)
        run.recording.results(**metrics)
        run.end()
        self._trained = None if self._trained is None else run.recording

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.end(error)
