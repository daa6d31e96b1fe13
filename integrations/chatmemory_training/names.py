"""What a run is called."""

import re
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from chatmemory_training.options import option

UNNAMED = "unnamed_run"
LONGEST = 120  # characters; wandb takes 128 as an id, and a file name 255 bytes
MOST_BYTES = 200


def generate_run_name(config: Any = None) -> str:
    """A new name: names sort by the time they were made (UTC), and no two are the same.

    Args:
        config: Its wandb.run_name_prefix is the beginning; none: "run".
    """
    prefix = sanitize_run_name(option(config, "wandb.run_name_prefix") or "run")[:60]
    return f"{prefix}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{token_hex(3)}"


def sanitize_run_name(name: object) -> str:
    """A name as a file can have it: a basename of letters, digits, _, - and dots, no dot first."""
    base = re.split(r"[/\\]+", str(name).strip().rstrip("/\\"))[-1]
    kept = re.sub(r"[^\w\-.]", "_", base).lstrip(".")[:LONGEST]
    return kept.encode("utf-8", "ignore")[:MOST_BYTES].decode("utf-8", "ignore") or UNNAMED


def choose_run_name(given: str | None, args: Any, config: Any) -> str:
    """The first there is: what was given, args.run_name, config.logging.run_name, a new one."""
    for name in (given, option(args, "run_name"), option(config, "logging.run_name")):
        if name is not None and str(name).strip():
            return sanitize_run_name(name)
    return generate_run_name(config)
