"""One run from its beginning to its end, for recorders that have no directory of their own."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from platformdirs import user_state_path

from chatmemory import Tenant
from chatmemory_training.delivery import spool_path
from chatmemory_training.directories import RunLock, claim, from_environment, remove_empty
from chatmemory_training.errors import DirectoryError
from chatmemory_training.names import generate_run_name, sanitize_run_name
from chatmemory_training.reporter import Reporter
from chatmemory_training.values import plain

LOG = logging.getLogger("chatmemory_training")
CLOSE_SECONDS = 10.0


class Recording:
    """A run that is recorded; nothing of it raises, and nothing waits but end().

    Args:
        tenant: Where it is recorded.
        name: The run's, which is also its session's id (with a number after it where that is taken); None: a new one.
        kind: training or testing.
        user_id: Whose run it is; None: who runs this process.
        share_result: Whether its result is remembered for the whole tenant, and not for its user alone.
        spool_dir: Below it waits what the database does not have yet; None: CHATMEMORY_LOG_DIR, or the user's state.
    """

    def __init__(
        self,
        tenant: Tenant,
        name: str | None = None,
        *,
        kind: str = "training",
        user_id: object = None,
        share_result: bool = False,
        spool_dir: Path | str | None = None,
    ) -> None:
        self.name = sanitize_run_name(name) if name else generate_run_name({"wandb": {"run_name_prefix": kind}})
        self._directory: Path | None = None
        self._lock: RunLock | None = None
        self._results: dict[str, Any] = {}
        root = spool_dir or from_environment("LOG_DIR") or user_state_path("chatmemory") / "runs"
        try:
            self.name, self._directory, self._lock = claim(Path(root), self.name)
        except (OSError, DirectoryError) as error:
            LOG.warning("%s: what the database does not have yet is in memory alone (%s)", root, type(error).__name__)
        spool = spool_path(self._directory, tenant) if self._directory else None
        self._reporter = Reporter(tenant, user_id, kind, self.name, spool, share_result)

    @property
    def session_id(self) -> str | None:
        """The session's id, once the database has it."""
        return self._reporter.session_id

    @property
    def problem(self) -> str | None:
        """Why it is recorded no further; None: it is, or will be once Postgres is there."""
        return self._reporter.problem

    def begin(self, details: Mapping[str, Any] | None = None, *, artifacts: object = None) -> None:
        """The run begins.

        Args:
            details: What is run, on what: model_id, dataset_name, learning_rate and any others.
            artifacts: Where it keeps its files.
        """
        self._reporter.begin(details, {} if artifacts is None else {"artifacts": str(artifacts)})

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Numbers that were measured; what is no number is left out.

        Args:
            values: By name.
            step: Where in the run; None: one further.
        """
        self._reporter.log(values, step)

    def update(self, *, artifacts: object = None, **details: Any) -> None:
        """What is known of the run now: current_epoch=3 and the like, or where its artifacts are."""
        self._reporter.update_details(details, {} if artifacts is None else {"artifacts": str(artifacts)})

    def results(self, **results: Any) -> None:
        """What has come of it; told with its end."""
        self._results.update(plain(results))

    def append(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Messages of the run, as Session.append_many() takes them, each with a message_id."""
        self._reporter.append(messages)

    def end(self, status: str = "completed", error: str | None = None, seconds: float = CLOSE_SECONDS) -> bool:
        """The run is over: completed, failed or cancelled. Only the first end counts.

        Returns:
            Whether the database has it all; else it waits, and is delivered with a later run.
        """
        self._reporter.end(status, results=self._results or None, error=error)
        return self._reporter.close(seconds, self._leave)

    def _leave(self, delivered: bool) -> None:
        lock, self._lock = self._lock, None
        if lock is not None and self._directory is not None:
            if delivered:
                remove_empty(self._directory)
            lock.release()
