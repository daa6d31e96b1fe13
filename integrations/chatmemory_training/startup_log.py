"""Log lines at the start of a training script."""

import os
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from chatmemory_training.config_reading import config_value


def append_start_line(log: Path, run_name: str) -> None:
    """Append a start marker to a log file; a file that cannot be written is skipped."""
    line = f"[{datetime.now():%Y-%m-%d %H:%M:%S}] --- SESSION START: {run_name} ---\n"
    try:
        with open(log, "a", encoding="utf-8", opener=_private) as file:  # Path.open takes no opener
            file.write(line)
    except OSError:
        return


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def log_run_header(
    log_line: Callable[[str], object],
    config: Any,
    summary: Mapping[str, Any],
    url: str | None,
    agent_info: Mapping[str, Any] | None,
    resumed_from_checkpoint: object,
    global_timestep: int,
    total_episodes_completed: int,
) -> None:
    """Log the run's name, directories, seed, device and steps, and the point it resumes from."""
    log_line(f"Training run: {summary['run_name']}" + (f" (W&B: {url})" if url else ""))
    log_line(f"Run directory: {summary['run_artifact_dir']}")
    log_line(f"Config directory: {summary['run_artifact_dir']}")
    if summary["seed"] is not None:
        log_line(f"Random seed: {summary['seed']}")
    log_line(f"Device: {summary['device']}")
    if agent_info:
        log_line(f"Agent: {agent_info.get('type', 'unknown')} ({agent_info.get('name', 'unknown')})")
    steps = [config_value(config, f"training.{name}") for name in ("total_timesteps", "steps_per_epoch")]
    if any(each is not None for each in steps):
        log_line(f"Total timesteps: {steps[0]}, steps per epoch: {steps[1]}")
    if resumed_from_checkpoint:
        log_line(f"Resumed training from checkpoint: {resumed_from_checkpoint}")
    if global_timestep > 0:
        log_line(f"Resuming from timestep {global_timestep}, {total_episodes_completed} episodes completed.")
    elif not resumed_from_checkpoint:
        log_line("Starting fresh training.")
