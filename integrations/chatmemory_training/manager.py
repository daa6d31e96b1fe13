"""Everything a training script wants around its loop."""

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
from chatmemory_training.bounded import bounded
from chatmemory_training.delivery import spool_path
from chatmemory_training.details import configured_details, known_details
from chatmemory_training.directories import CONFIG, Directories, set_up
from chatmemory_training.errors import ConfigSaveError, SessionManagerError
from chatmemory_training.journal import append_start, tell_session
from chatmemory_training.names import choose_run_name, sanitize_run_name
from chatmemory_training.options import option
from chatmemory_training.remote import Remote, open_remote
from chatmemory_training.reporter import Reporter
from chatmemory_training.seeding import seed_everything
from chatmemory_training.stopping import OnTerminate, how_it_ended
from chatmemory_training.values import number

LOG = logging.getLogger("chatmemory_training")
FINALIZE_SECONDS = 10.0
CLOSE_SECONDS = 0.5  # for each other place that numbers went to
_NO_DIRECTORIES = "Directories not yet set up. Call setup_directories() first."
_NO_WANDB = "WandB not yet initialized. Call setup_wandb() first."


class SessionManager:
    """The session of a training script: names, directories, seeds, wandb, and its record in chatmemory.

    As a context manager it does the steps in order, records how the run ended, and finalizes. None of them needs a
    database; with a tenant the run is a session of kind training, whose id is the run's name.

    Args:
        config: Any object or mapping; of it are read logging.run_name, wandb_enabled, log_level, log_file, model_dir;
            wandb.enabled, project, entity, run_name_prefix; env.seed, device; training.total_timesteps,
            steps_per_epoch. Each may be missing.
        args: Of it run_name is read, likewise.
        run_name: The run's name; None: args.run_name, config's logging.run_name, or a new one.
        tenant: Where the run is recorded; None: nowhere.
        user_id: Whose run it is; None: who runs this process.
        share_result: Whether its result is remembered for the whole tenant, and not for its user alone.

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
    ) -> None:
        self.config, self.args = config, args
        self._tenant, self._user_id, self._share = tenant, user_id, share_result
        self._run_name = choose_run_name(run_name, args, config)
        self._run_artifact_dir: str | None = None
        self._model_dir: str | None = None
        self._log_file_path: str | None = None
        self._eval_log_file_path: str | None = None
        self._is_wandb_active: bool | None = None
        self._directories: Directories | None = None
        self._wandb: Any = None
        self._reporter: Reporter | None = None
        self._remotes: list[Remote] = []
        self._checkpoints: checkpoints.Checkpoints | None = None
        self._config_saved = self._seeded = self._active = self._failed = False
        self._finalizing = threading.Lock()
        self._pid = os.getpid()
        self._on_terminate = OnTerminate()
        if isinstance(option(config, "logging.log_level"), str):
            LOG.setLevel(option(config, "logging.log_level").upper())

    @staticmethod
    def _sanitize_run_name(name: str) -> str:
        return sanitize_run_name(name)

    def setup_directories(self) -> dict[str, str]:
        """Make the run's directories, private to the user, and keep other runs out of them.

        A name that another run uses which still goes on gets a number: NAME-2.

        Returns:
            run_artifact_dir, model_dir, log_file_path, eval_log_file_path.

        Raises:
            DirectoryError: "Failed to setup directories: …".
        """
        if self._directories is None:
            found = set_up(self.config, self._run_name)
            if found.name != self._run_name:
                LOG.warning("a run %r goes on already; this one is called %r", self._run_name, found.name)
            weakref.finalize(self, found.lock.release)
            self._directories, self._run_name = found, found.name
            self._run_artifact_dir, self._model_dir = str(found.run), str(found.models)
            self._log_file_path, self._eval_log_file_path = str(found.log), str(found.eval_log)
        return {
            "run_artifact_dir": self.run_artifact_dir,
            "model_dir": self.model_dir,
            "log_file_path": self.log_file_path,
            "eval_log_file_path": self.eval_log_file_path,
        }

    def save_effective_config(self) -> None:
        """Write the config, its secrets masked, to effective_config.json; whole, or not at all.

        Raises:
            ConfigSaveError: "Failed to save effective config: …".
        """
        path = Path(self.run_artifact_dir) / CONFIG
        try:
            effective_config.save({"run_name": self._run_name, "config": self.config, "args": self.args}, path)
        except (OSError, ValueError) as error:
            told = getattr(error, "strerror", None) or type(error).__name__
            raise ConfigSaveError(f"Failed to save effective config: {told}: {path}") from error
        self._config_saved = True

    def setup_wandb(self) -> bool:
        """Begin wandb's run, if the config asks for it; False: it does not, or wandb cannot, and a log says why.

        Raises:
            SessionManagerError: The directories are not set up.
        """
        self._wandb = wandb_run.begin(self.config, self._needs_directories())
        self._is_wandb_active = self._wandb is not None
        return self._is_wandb_active

    def setup_seeding(self) -> None:
        """Seed random, numpy and torch with env.seed; without one nothing is done."""
        seed = option(self.config, "env.seed")
        if seed is not None:
            seed_everything(int(seed))
            self._seeded = True

    def setup_remote_logging(self, backend: str = "tensorboard") -> bool:
        """Log the run's numbers elsewhere too; False: that cannot be, a log says why, and training goes on.

        Args:
            backend: tensorboard, mlflow or wandb.

        Raises:
            InvalidInputError: There is no such backend.
            SessionManagerError: The directories are not set up.
        """
        directories = self._needs_directories()
        if backend == "wandb":
            return self._is_wandb_active or self.setup_wandb()
        remote = open_remote(backend, self.config, directories)
        if remote is not None:
            self._remotes.append(remote)
        return remote is not None

    def setup_auto_checkpointing(self, interval: int, save: checkpoints.Save, *, suffix: str = ".pt") -> None:
        """Save after every so many steps that log_metrics() is told of.

        Args:
            interval: How many steps.
            save: Writes a checkpoint to the path it is given. Where it fails, training goes on.
            suffix: What the files' names end in.

        Raises:
            SessionManagerError: The directories are not set up.
        """
        self._checkpoints = checkpoints.Checkpoints(Path(self.model_dir), interval, save, suffix)

    def find_latest_checkpoint(self, load: checkpoints.Load | None = None) -> str | None:
        """The newest checkpoint that loads; None: there is none.

        Args:
            load: Raises where a file does not load, as torch.load. None: a file that was saved here must be what was
                saved, another must look whole.

        Raises:
            SessionManagerError: The directories are not set up.
        """
        found = checkpoints.find_latest(Path(self.model_dir), load)
        return None if found is None else str(found)

    def log_session_start(self) -> None:
        """Mark the beginning in the run's log file, and in chatmemory; a file that cannot be written is let be."""
        append_start(Path(self.log_file_path), self._run_name)
        self._active = True
        self._reporting().begin(configured_details(self.config), {"artifacts": self._run_artifact_dir})

    def log_session_info(
        self,
        logger_func: Callable[[str], object],
        agent_info: Mapping[str, Any] | None = None,
        resumed_from_checkpoint: object = None,
        global_timestep: int = 0,
        total_episodes_completed: int = 0,
    ) -> None:
        """Say what run this is.

        Args:
            logger_func: Is called with each line.
            agent_info: Its type and its name.
            resumed_from_checkpoint: Which one, if any.
            global_timestep: Where training goes on.
            total_episodes_completed: How many there were until there.
        """
        url = wandb_run.url_of(self._wandb)
        how = (agent_info, resumed_from_checkpoint, global_timestep, total_episodes_completed)
        tell_session(logger_func, self.get_session_summary(), url, *how)

    def log_metrics(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Numbers of the run, for chatmemory, wandb and wherever else; never waits for a database.

        Args:
            values: By name; what is no number is left out.
            step: Where in the run; None: one further.
        """
        numbers = {name: found for name, value in values.items() if (found := number(value)) is not None}
        self._reporting().log(numbers, step)
        logs = [remote.log for remote in self._remotes]
        if self._wandb is not None:
            logs.append(self._wandb.log)
        for log in logs:
            try:
                log(numbers, step=step)
            except Exception as error:  # noqa: BLE001  # somebody else's place; training goes on
                LOG.warning("numbers could not be logged elsewhere (%s)", type(error).__name__)
        if self._checkpoints is not None and step is not None:
            self._checkpoints.at_step(step)

    def update(self, *, results: Any = None, stage: str | None = None, **details: Any) -> None:
        """What is known of the run, for chatmemory: current_epoch=3, results={…} and the like; never waits."""
        self._reporting().update(details=known_details(details), results=results, stage=stage)

    def get_session_summary(self) -> dict[str, Any]:
        """What there is to know of the session; what is not set up yet is None."""
        return {
            "run_name": self._run_name,
            "run_artifact_dir": self._run_artifact_dir,
            "model_dir": self._model_dir,
            "log_file_path": self._log_file_path,
            "eval_log_file_path": self._eval_log_file_path,
            "is_wandb_active": self._is_wandb_active,
            "seed": option(self.config, "env.seed"),
            "device": option(self.config, "env.device"),
        }

    def finalize_session(self) -> None:
        """End what was begun: wandb, other places, the record. At most 10 s, from any thread; raises nothing.

        A run that is not recorded as over yet has completed; or, where an exception is being handled, ended by that.
        """
        if os.getpid() != self._pid:  # a forked child: the run is its parent's
            return
        kind, error = sys.exc_info()[:2]
        with self._finalizing:
            until = time.monotonic() + FINALIZE_SECONDS - CLOSE_SECONDS
            try:
                self._ends(kind, error)
                self._finish_elsewhere()
                if self._reporter is not None:
                    self._reporter.close(max(CLOSE_SECONDS, until - time.monotonic()), self._leave)
            except Exception as problem:  # noqa: BLE001  # the run is over; nothing may spoil that
                LOG.warning("the session could not be finalized (%s)", type(problem).__name__)
            finally:
                self._active = False
                if self._reporter is None:
                    self._leave()

    def _ends(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        """Tell how the run ended, if it goes on: as what is being handled says, if anything is."""
        if self._active:
            status, why = how_it_ended(kind, error)
            self._failed = self._failed or status == "failed"
            if status == "failed" and error is not None:
                why = "".join(traceback.format_exception(error))
            self._reporting().end("failed" if self._failed else status, error=why)
            self._active = False

    def _leave(self, _delivered: bool = True) -> None:
        """Let others have the directories."""
        if self._directories is not None:
            self._directories.lock.release()

    def _finish_elsewhere(self) -> None:
        if self._is_wandb_active:
            self._is_wandb_active, self._wandb = False, None
            wandb_run.finish(failed=self._failed)
        while self._remotes:
            try:
                bounded(self._remotes.pop().close, CLOSE_SECONDS)
            except Exception as error:  # noqa: BLE001  # likewise
                LOG.warning("another place could not be closed (%s)", type(error).__name__)

    def __enter__(self) -> Self:
        self.setup_directories()
        try:
            self._on_terminate.__enter__()
            self.save_effective_config()
            self.setup_wandb()
            self.setup_seeding()
            self.log_session_start()
        except BaseException:
            self._on_terminate.__exit__()
            self._failed = True
            self.finalize_session()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._on_terminate.__exit__()
        self._ends(kind, error)
        self.finalize_session()

    @property
    def run_name(self) -> str:
        """The run's name."""
        return self._run_name

    @property
    def run_artifact_dir(self) -> str:
        """Where the run keeps its files."""
        return _set_up(self._run_artifact_dir)

    @property
    def model_dir(self) -> str:
        """Where its models go."""
        return _set_up(self._model_dir)

    @property
    def log_file_path(self) -> str:
        """The log of the training."""
        return _set_up(self._log_file_path)

    @property
    def eval_log_file_path(self) -> str:
        """The log of evaluations."""
        return _set_up(self._eval_log_file_path)

    @property
    def is_wandb_active(self) -> bool:
        """Whether wandb has begun a run."""
        if self._is_wandb_active is None:
            raise SessionManagerError(_NO_WANDB)
        return self._is_wandb_active

    @property
    def session_id(self) -> str | None:
        """The id of the run's session; None: the database does not have it yet, or there is none."""
        return self._reporter.session_id if self._reporter else None

    @property
    def session_state(self) -> dict[str, bool]:
        """Which steps have been done."""
        return {
            "directories_setup": self._directories is not None,
            "wandb_initialized": self._is_wandb_active is not None,
            "config_saved": self._config_saved,
            "seeding_setup": self._seeded,
            "session_active": self._active,
        }

    def _needs_directories(self) -> Directories:
        if self._directories is None:
            raise SessionManagerError(_NO_DIRECTORIES)
        return self._directories

    def _reporting(self) -> Reporter:
        if self._reporter is None:
            run = self._directories.run if self._directories else None
            spool = spool_path(run, self._tenant) if run and self._tenant is not None else None
            self._reporter = Reporter(self._tenant, self._user_id, "training", self._run_name, spool, self._share)
        return self._reporter

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._run_name!r}>"


def _set_up(path: str | None) -> str:
    if path is None:
        raise SessionManagerError(_NO_DIRECTORIES)
    return path
