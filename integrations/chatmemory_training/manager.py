"""SessionManager: run directories, seeds, wandb, checkpoints and the record of a training script."""

import logging
import os
import sys
import threading
import time
import traceback
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from chatmemory import Tenant
from chatmemory_training import checkpoints, effective_config, wandb_run
from chatmemory_training.config_reading import config_value
from chatmemory_training.directories import CONFIG, Directories, create_directories
from chatmemory_training.errors import ConfigSaveError, SessionManagerError
from chatmemory_training.metric_sinks import CLOSE_SECONDS, MetricSink, close_all, open_metric_sink, send
from chatmemory_training.metric_values import numbers_in
from chatmemory_training.process_group import process_group
from chatmemory_training.run_details import configured_details, declared_details
from chatmemory_training.run_identity import identify_alone
from chatmemory_training.run_names import choose_run_name, sanitize_run_name
from chatmemory_training.run_reporter import Reporter
from chatmemory_training.seeding import seed_everything
from chatmemory_training.signals import SigtermHandler, end_status
from chatmemory_training.spool_delivery import spool_path
from chatmemory_training.startup_log import append_start_line, log_run_header

LOG = logging.getLogger("chatmemory_training")
FINALIZE_SECONDS = 10.0
_NO_DIRECTORIES = "Directories not yet set up. Call setup_directories() first."
_NO_WANDB = "WandB not yet initialized. Call setup_wandb() first."


class SessionManager:
    """The session of a training script: name, directories, seeds, wandb, and its record in chatmemory.

    As a context manager it runs the setup steps in order, records the run's end status, and finalizes. No step needs
    a database; with a tenant, the run is a session of kind training whose id is the run's name.

    Args:
        config: Any object or mapping. These values are read, and each may be missing: logging.run_name, wandb_enabled,
            log_level, log_file, model_dir; wandb.enabled, project, entity, run_name_prefix; env.seed, device;
            training.total_timesteps, steps_per_epoch.
        args: Any object or mapping; run_name is read.
        run_name: The run's name; None: args.run_name, config's logging.run_name, or a new one.
        tenant: The tenant that records the run; None: the run is not recorded.
        user_id: The run's user; None: the user that runs this process.
        share_result: Whether the result is remembered for the whole tenant instead of for the user alone.
        resume: Whether to go on with the newest run of this name, in its directories and its session; or the id of the
            session to go on with. None: whether args.resume is set.

    Attributes:
        config: As given.
        args: As given.
    """

    def __init__(
        self,
        config: Any,
        args: Any,
        run_name: str | None = None,
        *,
        tenant: Tenant | None = None,
        user_id: object = None,
        share_result: bool = False,
        resume: bool | str | None = None,
    ) -> None:
        self.config, self.args = config, args
        self._resume = bool(config_value(args, "resume")) if resume is None else resume
        self._tenant, self._user_id, self._share = tenant, user_id, share_result
        self._run_name = self._asked_name = choose_run_name(run_name, args, config)
        self._run_artifact_dir: str | None = None
        self._model_dir: str | None = None
        self._log_file_path: str | None = None
        self._eval_log_file_path: str | None = None
        self._is_wandb_active: bool | None = None
        self._directories: Directories | None = None
        self._wandb: Any = None
        self._reporter: Reporter | None = None
        self._sinks: list[MetricSink] = []
        self._last_metrics: dict[str, float] = {}
        self._checkpoints: checkpoints.Checkpoints | None = None
        self._config_saved = self._seeded = self._active = self._failed = False
        self._finalizing = threading.Lock()
        self._pid = os.getpid()
        self._sigterm = SigtermHandler()
        if isinstance(level := config_value(config, "logging.log_level"), str):
            LOG.setLevel(level.upper())

    @staticmethod
    def _sanitize_run_name(name: str) -> str:
        return sanitize_run_name(name)

    def setup_directories(self) -> dict[str, str]:
        """Create the run's directories, private to the user, and lock them.

        If a run of this name has used them, the name gets a number: NAME-2. A resumed run gets its own again.

        Returns:
            run_artifact_dir, model_dir, log_file_path, eval_log_file_path.

        Raises:
            DirectoryError: "Failed to setup directories: …".
        """
        if self._directories is None:
            goes_on = bool(self._resume) or process_group().is_restart
            directories = create_directories(self.config, self._run_name, resume=goes_on)
            if directories.name != self._run_name and not goes_on:
                LOG.warning("there is a run %r already; this one is named %r", self._run_name, directories.name)
            weakref.finalize(self, directories.lock.release)
            self._directories, self._run_name = directories, directories.name
            self._run_artifact_dir, self._model_dir = str(directories.run), str(directories.models)
            self._log_file_path, self._eval_log_file_path = str(directories.log), str(directories.eval_log)
        names = ("run_artifact_dir", "model_dir", "log_file_path", "eval_log_file_path")
        return {name: getattr(self, name) for name in names}

    def save_effective_config(self) -> None:
        """Write the config, with secrets masked, to effective_config.json: whole or not at all.

        Raises:
            ConfigSaveError: "Failed to save effective config: …".
        """
        path = Path(self.run_artifact_dir) / CONFIG
        try:
            effective_config.save(self.config, path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise ConfigSaveError(f"Failed to save effective config: {reason}: {path}") from error
        self._config_saved = True

    def setup_wandb(self) -> bool:
        """Start a wandb run if the config enables it.

        Returns:
            Whether a run was started; if not, the reason is logged.

        Raises:
            SessionManagerError: The directories have not been set up.
        """
        self._wandb = wandb_run.begin(self.config, self._require_directories())
        self._is_wandb_active = self._wandb is not None
        return self._is_wandb_active

    def setup_seeding(self) -> None:
        """Seed random, numpy and torch with env.seed, if it is set."""
        seed = config_value(self.config, "env.seed")
        if seed is not None:
            seed_everything(int(seed))
            self._seeded = True

    def setup_remote_logging(self, backend: str = "tensorboard") -> bool:
        """Send the run's metrics to another system as well.

        Args:
            backend: tensorboard, mlflow or wandb.

        Returns:
            Whether the backend was opened; if not, the reason is logged and training continues.

        Raises:
            InvalidInputError: The backend is unknown.
            SessionManagerError: The directories have not been set up.
        """
        directories = self._require_directories()
        if backend == "wandb":
            return self._is_wandb_active or self.setup_wandb()
        sink = open_metric_sink(backend, self.config, directories)
        if sink is not None:
            self._sinks.append(sink)
        return sink is not None

    def setup_auto_checkpointing(
        self, interval: int = 1000, save: checkpoints.Save | None = None, *, suffix: str = ".pt"
    ) -> None:
        """Save a checkpoint every `interval` steps, counted by log_metrics().

        Args:
            interval: Steps between two checkpoints, 1 or more.
            save: Writes a checkpoint to the path it receives; training goes on if it fails. None: the run's summary and
                last metrics are written, as JSON.
            suffix: The files' suffix.

        Raises:
            SessionManagerError: The directories have not been set up.
        """
        path, suffix = Path(self.model_dir), ".json" if save is None else suffix
        saves = save or (lambda path: checkpoints.save_progress(path, self.get_session_summary(), self._last_metrics))
        self._checkpoints = checkpoints.Checkpoints(path, interval, saves, suffix)

    def find_latest_checkpoint(self, load: checkpoints.Load | None = None) -> str | None:
        """Return the path of the newest checkpoint that loads; None if there is none.

        Args:
            load: Raises if a file does not load, as torch.load does. None: a file saved here must match its checksum,
                and any other file must be complete.

        Raises:
            SessionManagerError: The directories have not been set up.
        """
        path = checkpoints.find_latest(Path(self.model_dir), load)
        return None if path is None else str(path)

    def log_session_start(self) -> None:
        """Record the run's start in its log file and in chatmemory; a file that cannot be written is skipped."""
        append_start_line(Path(self.log_file_path), self._run_name)
        self._active = True
        self._open_reporter().begin(configured_details(self.config), {"artifacts": self._run_artifact_dir})

    def log_session_info(
        self,
        logger_func: Callable[[str], object],
        agent_info: Mapping[str, Any] | None = None,
        resumed_from_checkpoint: object = None,
        global_timestep: int = 0,
        total_episodes_completed: int = 0,
    ) -> None:
        """Log a description of the run, line by line.

        Args:
            logger_func: Called with each line.
            agent_info: The agent's "type" and "name".
            resumed_from_checkpoint: The checkpoint that training resumes from, if any.
            global_timestep: The time step that training resumes from, 0 or more.
            total_episodes_completed: Episodes completed before that step.
        """
        url = wandb_run.url_of(self._wandb)
        progress = (agent_info, resumed_from_checkpoint, global_timestep, total_episodes_completed)
        log_run_header(logger_func, self.config, self.get_session_summary(), url, *progress)

    def log_metrics(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics in chatmemory, wandb and the other backends, without waiting for a database.

        Args:
            values: Values by metric name. Lists become series, NAME.0, NAME.1 …; what is no number is named in the log.
            step: The step, 0 or more; None: the next one.
        """
        numbers, _ = numbers_in(values)
        self._last_metrics |= numbers if step is None else {**numbers, "step": step}
        self._open_reporter().log(values, step)  # it names the values that are none
        send([*self._sinks, *([self._wandb] if self._wandb is not None else [])], numbers, step)
        if self._checkpoints is not None and step is not None:
            self._checkpoints.at_step(step)

    def update(self, *, results: Any = None, stage: str | None = None, **details: Any) -> None:
        """Update the run's record in chatmemory, without waiting: current_epoch=3, results={…} and so on."""
        self._open_reporter().update(details=declared_details(details), results=results, stage=stage)

    def get_session_summary(self) -> dict[str, Any]:
        """Return the session's name, paths, seed, device and wandb state; None for what is not set up yet."""
        return {
            "run_name": self._run_name,
            "run_artifact_dir": self._run_artifact_dir,
            "model_dir": self._model_dir,
            "log_file_path": self._log_file_path,
            "eval_log_file_path": self._eval_log_file_path,
            "is_wandb_active": self._is_wandb_active,
            "seed": config_value(self.config, "env.seed"),
            "device": config_value(self.config, "env.device"),
        }

    def finalize_session(self) -> None:
        """Finish wandb, the metrics backends and the record. Takes at most 10 s, raises nothing, works from any thread.

        A run still in progress is recorded as completed, or as ended by the exception being handled, if any.
        """
        if os.getpid() != self._pid:  # a forked child: the parent finalizes the run
            return
        kind, error = sys.exc_info()[:2]
        with self._finalizing:
            until = time.monotonic() + FINALIZE_SECONDS - CLOSE_SECONDS
            try:
                self._record_end(kind, error)
                self._finish_backends()
                if self._reporter is not None:
                    self._reporter.close(max(CLOSE_SECONDS, until - time.monotonic()), self._release)
            except Exception as problem:  # noqa: BLE001  # finalizing raises nothing
                LOG.warning("the session could not be finalized (%s)", type(problem).__name__)
            finally:
                self._active = False
                if self._reporter is None:
                    self._release()

    def _record_end(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        """Record the end status of a run in progress, from the exception being handled, if any."""
        if self._active:
            status, reason = end_status(kind, error)
            self._failed = self._failed or status == "failed"
            if status == "failed" and error is not None:
                reason = "".join(traceback.format_exception(error))
            self._open_reporter().end("failed" if self._failed else status, error=reason)
            self._active = False

    def _release(self, _delivered: bool = True) -> None:
        """Unlock the directories."""
        if self._directories is not None:
            self._directories.lock.release()

    def _finish_backends(self) -> None:
        if self._is_wandb_active:
            self._is_wandb_active, self._wandb = False, None
            wandb_run.finish(failed=self._failed)
        close_all(self._sinks)

    def __enter__(self) -> Self:
        self.setup_directories()
        try:
            self._sigterm.__enter__()
            self.save_effective_config()
            self.setup_wandb()
            self.setup_seeding()
            self.log_session_start()
        except BaseException:
            self._sigterm.__exit__()
            self._failed = True
            self.finalize_session()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._sigterm.__exit__()
        self._record_end(kind, error)
        self.finalize_session()

    @property
    def run_name(self) -> str:
        """The run's name."""
        return self._run_name

    @property
    def run_artifact_dir(self) -> str:
        """The directory of the run's files."""
        return _require_path(self._run_artifact_dir)

    @property
    def model_dir(self) -> str:
        """The directory of the run's models."""
        return _require_path(self._model_dir)

    @property
    def log_file_path(self) -> str:
        """The path of the training log."""
        return _require_path(self._log_file_path)

    @property
    def eval_log_file_path(self) -> str:
        """The path of the evaluation log."""
        return _require_path(self._eval_log_file_path)

    @property
    def is_wandb_active(self) -> bool:
        """True if a wandb run was started."""
        if self._is_wandb_active is None:
            raise SessionManagerError(_NO_WANDB)
        return self._is_wandb_active

    @property
    def session_id(self) -> str | None:
        """The session's id; None until the database has it, or without a tenant."""
        return self._reporter.session_id if self._reporter else None

    @property
    def session_state(self) -> dict[str, bool]:
        """The setup steps, and whether each is done."""
        return {
            "directories_setup": self._directories is not None,
            "wandb_initialized": self._is_wandb_active is not None,
            "config_saved": self._config_saved,
            "seeding_setup": self._seeded,
            "session_active": self._active,
        }

    def _require_directories(self) -> Directories:
        _require_path(self._run_artifact_dir)
        assert self._directories is not None
        return self._directories

    def _open_reporter(self) -> Reporter:
        if self._reporter is None:
            known = self._directories
            spool = spool_path(known.run, self._tenant) if known and self._tenant is not None else None
            number = known.number if known else 1
            identity = identify_alone(self._asked_name, self._user_id, self._resume, number)
            self._reporter = Reporter(self._tenant, identity, spool, share=self._share)
            weakref.finalize(self, self._reporter.abandon)
        return self._reporter

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._run_name!r}>"


def _require_path(path: str | None) -> str:
    if path is None:
        raise SessionManagerError(_NO_DIRECTORIES)
    return path
