"""Weights & Biases beside a run: it may be missing, refuse, or hang, and training goes on."""

import logging
import os
from typing import Any

from chatmemory_training.bounded import bounded
from chatmemory_training.directories import Directories
from chatmemory_training.effective_config import masked
from chatmemory_training.options import is_on, option

LOG = logging.getLogger("chatmemory_training")
FINISH_SECONDS = 5.0
FAIL_SECONDS = 2.0
INIT_SECONDS = 60


def begin(config: Any, directories: Directories) -> Any:
    """Wandb's run of this run's name, resumed if there is one; None: there is none, and a log says why."""
    if not is_on(config, "wandb.enabled", "logging.wandb_enabled"):
        return None
    try:
        import wandb
    except ImportError:
        LOG.warning("wandb is not installed; training goes on without it")
        return None
    try:
        if not _has_key(wandb):
            LOG.warning("wandb has no API key; training goes on without it. Run: wandb login")
            return None
        return wandb.init(
            project=option(config, "wandb.project"),
            entity=option(config, "wandb.entity"),
            id=directories.name,
            name=directories.name,
            dir=str(directories.run),
            config=masked(config),
            resume="allow",
            settings={"init_timeout": INIT_SECONDS},
        )
    except Exception as error:  # noqa: BLE001  # whatever it is, training goes on
        LOG.warning("wandb could not begin (%s); training goes on without it", type(error).__name__)
        return None


def _has_key(wandb: Any) -> bool:
    """Whether wandb would begin without asking on the terminal for a key."""
    if os.environ.get("WANDB_MODE") in ("offline", "dryrun", "disabled") or os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return wandb.login(prompt=False) is not False
    except (TypeError, AttributeError):  # a version that does not know how to be asked so
        return True


def finish(*, failed: bool = False) -> None:
    """End wandb's run; where that fails or hangs, end it once more as failed. Takes 7 s at most, raises nothing."""
    import wandb

    try:
        bounded(lambda: wandb.finish(exit_code=1) if failed else wandb.finish(), FINISH_SECONDS)
    except BaseException as error:  # noqa: BLE001  # the run is over; nothing may hold it up
        LOG.warning("wandb did not finish (%s)", type(error).__name__)
        try:
            bounded(lambda: wandb.finish(exit_code=1), FAIL_SECONDS)
        except BaseException as error:  # noqa: BLE001  # likewise
            LOG.warning("wandb did not finish as failed either (%s)", type(error).__name__)


def url_of(run: Any) -> str | None:
    """Where the run can be looked at; None: nowhere, as offline."""
    url = getattr(run, "url", None)
    return url if isinstance(url, str) else None
