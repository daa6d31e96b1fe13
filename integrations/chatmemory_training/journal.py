"""What a training script says at its beginning."""

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any


def append_start(log: Path, run_name: str) -> None:
    """Mark the beginning of a session in a log file; a file that cannot be written is left as it is."""
    line = f"[{datetime.now():%Y-%m-%d %H:%M:%S}] --- SESSION START: {run_name} ---\n"
    try:
        with open(log, "a", encoding="utf-8", opener=_private) as file:  # Path.open takes no opener
            file.write(line)
    except OSError:
        return


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def tell_session(
    tell: Callable[[str], object],
    summary: Mapping[str, Any],
    url: str | None,
    agent_info: Mapping[str, Any] | None,
    resumed_from_checkpoint: object,
    global_timestep: int,
    total_episodes_completed: int,
) -> None:
    """Say what run this is, where its files are, and from where it goes on."""
    tell(f"Training run: {summary['run_name']}" + (f" (W&B: {url})" if url else ""))
    tell(f"Run directory: {summary['run_artifact_dir']}")
    if summary["seed"] is not None:
        tell(f"Random seed: {summary['seed']}")
    tell(f"Device: {summary['device']}")
    if agent_info:
        tell(f"Agent: {agent_info.get('type', 'unknown')} ({agent_info.get('name', 'unknown')})")
    if resumed_from_checkpoint:
        tell(f"Resumed training from checkpoint: {resumed_from_checkpoint}")
    if global_timestep > 0:
        tell(f"Resuming from timestep {global_timestep}, {total_episodes_completed} episodes completed.")
    elif not resumed_from_checkpoint:
        tell("Starting fresh training.")
