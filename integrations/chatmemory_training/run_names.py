"""Names of runs: generating, sanitizing and choosing them."""

import re
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any

from chatmemory_training.config_reading import config_value

UNNAMED = "unnamed_run"
MAX_CHARACTERS = 120  # wandb allows 128 in an id, file systems 255 bytes in a name
MAX_BYTES = 200


def generate_run_name(config: Any = None) -> str:
    """Generate a unique name; names sort by creation time (UTC).

    Args:
        config: A config whose wandb.run_name_prefix begins the name; "run" if it has none.
    """
    prefix = sanitize_run_name(config_value(config, "wandb.run_name_prefix") or "run")[:60]
    return f"{prefix}-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{token_hex(3)}"


def sanitize_run_name(name: object) -> str:
    """Turn a name into a valid file name: letters, digits, _, - and single dots, not as the first."""
    base = re.split(r"[/\\]+", str(name).strip().rstrip("/\\"))[-1]
    safe = re.sub(r"\.{2,}", ".", re.sub(r"[^\w\-.]", "_", base)).lstrip(".")[:MAX_CHARACTERS]
    return safe.encode("utf-8", "ignore")[:MAX_BYTES].decode("utf-8", "ignore") or UNNAMED


def choose_run_name(given: str | None, args: Any, config: Any) -> str:
    """Return the first name that is set: `given`, args.run_name, config.logging.run_name; else a new one."""
    for name in (given, config_value(args, "run_name"), config_value(config, "logging.run_name")):
        if name is not None and str(name).strip():
            return sanitize_run_name(name)
    return generate_run_name(config)
