"""EnhancedSessionManager: plugins, distributed training, resources, cost and baselines of a training session."""

import time
from collections.abc import Iterable, Mapping
from typing import Any

from chatmemory import InvalidInputError, StorageError, Tenant
from chatmemory_training.errors import SessionManagerError
from chatmemory_training.manager import LOG, SessionManager
from chatmemory_training.plugins import PluginManager
from chatmemory_training.resource_usage import resource_usage

SECONDS_PER_HOUR = 3600
COST, SECONDS = "cost", "duration_seconds"


class EnhancedSessionManager(SessionManager):
    """A SessionManager with plugins, distributed training, resource and cost tracking, and baselines.

    Args:
        config: As for SessionManager.
        args: As for SessionManager.
        plugins: Objects with on_session_start(session), on_metrics(session, values, step) or on_session_end(session).
        run_name: As for SessionManager.
        tenant: As for SessionManager.
        user_id: As for SessionManager.
        share_result: As for SessionManager.
        resume: As for SessionManager.

    Attributes:
        plugin_manager: Holds the plugins; register() adds one.
        rank: The number of this process, 0 or more; 0 if training is not distributed.
        world_size: The number of processes.

    Raises:
        InvalidInputError: A plugin has no hook.
    """

    def __init__(
        self,
        config: Any,
        args: Any,
        plugins: Iterable[Any] | None = None,
        run_name: str | None = None,
        *,
        tenant: Tenant | None = None,
        user_id: object = None,
        share_result: bool = False,
        resume: bool | str | None = None,
    ) -> None:
        super().__init__(
            config, args, run_name, tenant=tenant, user_id=user_id, share_result=share_result, resume=resume
        )
        self.plugin_manager = PluginManager(plugins)
        self.rank, self.world_size = 0, 1
        self._began: float | None = None
        self._resource_interval: int | None = None
        self._next_resources = 0
        self._price: float | None = None

    @property
    def is_main_process(self) -> bool:
        """True for the process that records the run: rank 0."""
        return self.rank == 0

    def enable_distributed_session(self, rank: int, world_size: int) -> None:
        """Declare this process one of several that train together; only rank 0 records the run and starts wandb.

        Another rank has directories of its own: those of the run RUN_NAME-rankN.

        Args:
            rank: The number of this process, from 0.
            world_size: The number of processes, 1 or more.

        Raises:
            InvalidInputError: The rank does not lie between 0 and world_size - 1.
            SessionManagerError: The directories have been set up already.
        """
        if not all(isinstance(each, int) for each in (rank, world_size)) or not 0 <= rank < world_size:
            raise InvalidInputError(f"rank must lie between 0 and world_size - 1; it is {rank!r} of {world_size!r}.")
        if self._directories is not None:
            raise SessionManagerError("Call enable_distributed_session() before setup_directories().")
        self.rank, self.world_size = rank, world_size
        if rank:
            self._tenant, self._run_name = None, f"{self._run_name}-rank{rank}"

    def setup_wandb(self) -> bool:
        """Start a wandb run if the config enables it, in the process that records the run.

        Returns:
            Whether a run was started.

        Raises:
            SessionManagerError: The directories have not been set up.
        """
        if self.is_main_process:
            return super().setup_wandb()
        self._require_directories()
        self._is_wandb_active = False
        return False

    def setup_resource_tracking(self, interval: int = 100) -> None:
        """Record CPU, memory and GPU memory as metrics every `interval` steps, counted by log_metrics().

        Args:
            interval: Steps between two measurements, 1 or more.
        """
        self._resource_interval = max(1, interval)

    def setup_cost_tracking(self, price_per_hour: float) -> None:
        """Record the run's cost with its results: the time of all its processes at a price.

        Args:
            price_per_hour: The price of one process for one hour, in any currency.

        Raises:
            InvalidInputError: The price is negative, or not a number.
        """
        if not isinstance(price_per_hour, (int, float)) or not price_per_hour >= 0:
            raise InvalidInputError("price_per_hour must be a number of 0 or more.")
        self._price = float(price_per_hour)

    @property
    def cost(self) -> float | None:
        """The cost of the run until now; None without setup_cost_tracking(), or before the start."""
        if self._price is None or self._began is None:
            return None
        return (time.monotonic() - self._began) / SECONDS_PER_HOUR * self._price * self.world_size

    def baselines(self, runs: int = 20) -> dict[str, float]:
        """Return what earlier completed runs of this user reached; of all users if no user_id was given.

        Args:
            runs: The number of runs to look at, newest first.

        Returns:
            The median of the runs' best values by metric name; empty without a tenant, runs, or a database.
        """
        if self._tenant is None:
            return {}
        try:
            sessions = self._tenant.sessions
            page = sessions.list(user_id=self._user_id, kind="training", status="completed", limit=runs)
            compared = sessions.compare([info.id for info in page if info.id != self.session_id])
        except StorageError as error:
            LOG.warning("baselines cannot be read: %s", error)
            return {}
        values: dict[str, list[float]] = {}
        for run in compared:
            for name, value in run.best.items():
                values.setdefault(name, []).append(value)
        return {name: sorted(found)[len(found) // 2] for name, found in values.items()}

    def log_session_start(self) -> None:
        """Record the run's start, and tell the plugins."""
        self._began = time.monotonic()
        super().log_session_start()
        if self.world_size > 1:
            self.update(world_size=self.world_size)
        self.plugin_manager.call("on_session_start", self)

    def log_metrics(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics, and the resources in use if they are due; tell the plugins.

        Args:
            values: Values by metric name; values that are not numbers are skipped.
            step: The step, 0 or more; None: the next one.
        """
        if self._resource_interval is not None and step is not None and step >= self._next_resources:
            self._next_resources = step + self._resource_interval
            values = {**values, **resource_usage()}
        super().log_metrics(values, step)
        self.plugin_manager.call("on_metrics", self, values, step)

    def _record_end(self, kind: type[BaseException] | None, error: BaseException | None) -> None:
        if self._active and self._began is not None:
            cost = {} if self.cost is None else {COST: self.cost}
            self.update(results={SECONDS: time.monotonic() - self._began, **cost})
            self.plugin_manager.call("on_session_end", self)
        super()._record_end(kind, error)
