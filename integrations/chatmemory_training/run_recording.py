"""The recording of one run, for recorders without a run directory."""

import logging
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from platformdirs import user_state_path

from chatmemory import InvalidInputError, Tenant
from chatmemory_training.directories import RunLock, claim, from_environment, remove_empty
from chatmemory_training.errors import DirectoryError
from chatmemory_training.json_values import as_text, to_json_value
from chatmemory_training.process_group import process_group
from chatmemory_training.run_identity import identify
from chatmemory_training.run_names import generate_run_name, sanitize_run_name
from chatmemory_training.run_reporter import LOST_AFTER, Reporter
from chatmemory_training.spool_delivery import spool_path

LOG = logging.getLogger("chatmemory_training")
CLOSE_SECONDS = 10.0


class Recording:
    """The recording of one run. Its methods raise nothing, and only end() waits.

    Args:
        tenant: The tenant that records the run.
        name: The run's name and its session's id, with a number after it if the id is taken; None: a generated name.
        kind: training or testing.
        user_id: The run's user; None: the user that runs this process.
        share_result: Whether the result is remembered for the whole tenant instead of for the user alone.
        spool_dir: Directory for entries that the database does not have yet; None: CHATMEMORY_LOG_DIR, or the user's
            state directory.
        resume: Whether to go on with the newest run of this name, or the id of the run to go on with: steps that are
            logged again replace those of before. Or the `attempt` of a recording, to add to what it recorded.
        ranks: Of the processes of a distributed training, the "first" records; "all": the others add their metrics
            and results to its run, as rank1/NAME and so on, if torchrun or Slurm has started them together.
        lost_after: Seconds after which the run counts as lost if its process gives no sign of life, 1 or more.

    Raises:
        InvalidInputError: ranks or lost_after is none of these.
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
        resume: bool | str = False,
        ranks: Literal["first", "all"] = "first",
        lost_after: int = LOST_AFTER,
    ) -> None:
        _check(ranks, lost_after)
        self.name = sanitize_run_name(name) if name else generate_run_name({"wandb": {"run_name_prefix": kind}})
        group = process_group()
        run = identify(kind, self.name, user_id, resume=resume, asked=name, group=group)
        self._attempt = run.attempt
        is_recorded = group.rank == 0 or (ranks == "all" and group.start is not None)
        if not is_recorded and ranks == "all":
            LOG.warning(
                "rank %s adds nothing to run %r: neither torchrun nor Slurm says which start of a job it belongs to",
                group.rank, self.name,
            )  # fmt: skip
        self._directory: Path | None = None
        self._lock: RunLock | None = None
        self._results: dict[str, Any] = {}
        root = spool_dir or from_environment("LOG_DIR") or user_state_path("chatmemory") / "runs"
        directory = f"{self.name}-rank{group.rank}" if group.rank else self.name
        try:
            if is_recorded:
                _, _, self._directory, self._lock = claim(
                    Path(root), directory, resume=bool(resume) or group.is_restart
                )
        except (OSError, DirectoryError) as error:
            LOG.warning(
                "%s cannot be used (%s); entries that the database does not have yet are in memory only",
                root,
                type(error).__name__,
            )
        spool = spool_path(self._directory, tenant) if self._directory else None
        self._reporter = Reporter(
            tenant if is_recorded else None, run, spool, share=share_result, lost_after=lost_after
        )
        release = self._lock.release if self._lock is not None else None
        self._abandoned = weakref.finalize(self, self._reporter.abandon, release)

    @property
    def session_id(self) -> str | None:
        """The session's id; None until the database has the session."""
        return self._reporter.session_id

    @property
    def attempt(self) -> str:
        """The id of this recording, by which a later one can resume its run."""
        return self._attempt

    @property
    def problem(self) -> str | None:
        """The reason why recording stopped; None while it continues or waits for Postgres."""
        return self._reporter.problem

    def begin(self, details: Mapping[str, Any] | None = None, *, artifacts: object = None) -> None:
        """Begin the run.

        Args:
            details: model_id, dataset_name, learning_rate and any others.
            artifacts: The directory or URL of the run's files.
        """
        self._reporter.begin(details, {} if artifacts is None else {"artifacts": as_text(artifacts)})

    def log(self, values: Mapping[str, Any], step: int | None = None) -> None:
        """Record metrics.

        Args:
            values: Values by metric name. True and False are 1 and 0; the numbers of a list are recorded as NAME.0,
                NAME.1 …, those of a dict as NAME/KEY. A value that is none of these is named in the log, once.
            step: The step, 0 or more; None: the next one.
        """
        self._reporter.log(values, step)

    def update(self, *, artifacts: object = None, **details: Any) -> None:
        """Update details, such as current_epoch=3, or the location of the artifacts."""
        self._reporter.update_details(details, {} if artifacts is None else {"artifacts": as_text(artifacts)})

    def results(self, **results: Any) -> None:
        """Add results; they are recorded when the run ends."""
        self._results.update(to_json_value(results))

    def append(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Append messages in the form of Session.append_many(), each with a message_id."""
        self._reporter.append(messages)

    def end(self, status: str = "completed", error: str | None = None, seconds: float = CLOSE_SECONDS) -> bool:
        """End the run. Only the first call counts.

        Args:
            status: completed, failed or cancelled.
            error: The reason of a failure or cancellation.
            seconds: Longest wait for the database, in seconds.

        Returns:
            Whether the database has everything; if not, the rest is spooled and delivered by a later run.
        """
        self._reporter.end(status, results=self._results or None, error=error)
        return self._reporter.close(seconds, self._release)

    def _release(self, delivered: bool) -> None:
        lock, self._lock = self._lock, None
        if lock is not None and self._directory is not None:
            if delivered:
                remove_empty(self._directory)
            lock.release()


def _check(ranks: object, lost_after: object) -> None:
    if ranks not in ("first", "all"):
        raise InvalidInputError(f"ranks must be 'first' or 'all', not {ranks!r}.")
    if not isinstance(lost_after, int) or isinstance(lost_after, bool) or lost_after < 1:
        raise InvalidInputError(f"lost_after must be a whole number of seconds, 1 or more, not {lost_after!r}.")
