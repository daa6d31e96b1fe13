"""A Weights & Biases run. wandb may be missing, fail or hang; training continues."""

import logging
import os
from typing import Any

from chatmemory_training.config_reading import config_value, is_enabled
from chatmemory_training.directories import Directories
from chatmemory_training.effective_config import masked
from chatmemory_training.time_limits import call_within

LOG = logging.getLogger("chatmemory_training")
FINISH_SECONDS = 5.0
FAIL_SECONDS = 2.0
INIT_SECONDS = 60


def begin(config: Any, directories: Directories) -> Any:
    """Start or resume the wandb run of this name; None if there is none: the reason is logged."""
    if not is_enabled(config, "wandb.enabled", "logging.wandb_enabled") or _mode(config) == "disabled":
        return None
    try:
        import wandb
    except ImportError:
        LOG.warning("wandb is not installed; training continues without it")
        return None
    try:
        if not _has_key(wandb, _mode(config)):
            LOG.warning("wandb has no API key; training continues without it. Run: wandb login")
            return None
        run = wandb.init(
            project=config_value(config, "wandb.project"),
            entity=config_value(config, "wandb.entity"),
            id=directories.name,
            name=directories.name,
            dir=str(directories.run),
            config=masked(config),
            resume="allow",
            mode=_mode(config),  # type: ignore[arg-type]  # wandb refuses another word itself
            settings={"init_timeout": INIT_SECONDS},
        )
        return None if getattr(run, "disabled", False) is True else run
    except Exception as error:  # noqa: BLE001  # training continues after any failure
        LOG.warning("wandb could not start (%s); training continues without it", type(error).__name__)
        return None


def _mode(config: Any) -> str | None:
    """Return wandb's mode: the config's, or WANDB_MODE; None: neither is set."""
    mode = config_value(config, "wandb.mode") or os.environ.get("WANDB_MODE")
    off = os.environ.get("WANDB_DISABLED", "").lower() in ("1", "true", "yes")
    return "disabled" if off else str(mode).lower() if mode else None


def _has_key(wandb: Any, mode: str | None) -> bool:
    """Return whether wandb can start without prompting for a key."""
    if mode in ("offline", "dryrun") or os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return wandb.login(prompt=False) is not False
    except (TypeError, AttributeError):  # a version without this argument
        return True


def finish(*, failed: bool = False) -> None:
    """Finish the wandb run; if that fails or hangs, finish it as failed. Takes at most 7 s and raises nothing."""
    import wandb

    try:
        call_within(lambda: wandb.finish(exit_code=1) if failed else wandb.finish(), FINISH_SECONDS)
    except BaseException as error:  # noqa: BLE001  # finishing raises nothing
        LOG.warning("wandb did not finish (%s)", type(error).__name__)
        try:
            call_within(lambda: wandb.finish(exit_code=1), FAIL_SECONDS)
        except BaseException as error:  # noqa: BLE001  # as above
            LOG.warning("wandb did not finish as failed either (%s)", type(error).__name__)


def url_of(run: Any) -> str | None:
    """Return the run's web address; None if it has none, as when offline."""
    url = getattr(run, "url", None)
    return url if isinstance(url, str) else None
