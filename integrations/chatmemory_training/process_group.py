"""The job that this process belongs to, as its launcher or supervisor says in the environment."""

import os
import socket
from pathlib import Path
from typing import NamedTuple

MAX_STEP = 2**31  # Slurm's numbers from here on stand for a batch script or a shell, that may start several trainings


class ProcessGroup(NamedTuple):
    """A job of one or more processes.

    Attributes:
        rank: The number of this process, from 0.
        job: The job's id, the same after a restart; None: unknown.
        is_restart: Whether the job was started again, or may have been.
        start: What all processes of this start of the job have in common, and no other start has; None: nothing.
    """

    rank: int = 0
    job: str | None = None
    is_restart: bool = False
    start: str | None = None


def process_group() -> ProcessGroup:
    """Return the job of this process."""
    job, is_restart = _job()
    count = _number("WORLD_SIZE") or _number("SLURM_NTASKS") or 1
    if count <= 1:
        return ProcessGroup(0, job, is_restart)
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    rank = next((number for name in ranks if (number := _number(name)) is not None), 0)
    return ProcessGroup(rank, job, is_restart, _start())


def _start() -> str | None:
    """Return what tells this start of the job from all others, and is the same in each of its processes."""
    environment = os.environ
    known = []
    run = environment.get("TORCHELASTIC_RUN_ID")
    if run and environment.get("GROUP_WORLD_SIZE", "1") == "1":  # one agent has started all of them
        known.append(f"agent:{socket.gethostname()}:{os.getppid()}:{_begun_at(os.getppid())}")
    elif run and run != "none":  # "none" unless the user names it
        known.append(f"torch:{run}@{environment.get('MASTER_ADDR')}:{environment.get('MASTER_PORT')}")
    step = _number("SLURM_STEP_ID")
    if environment.get("SLURM_JOB_ID") and step is not None and step < MAX_STEP:
        known.append(f"slurm:{environment['SLURM_JOB_ID']}:{step}:{_number('SLURM_RESTART_COUNT')}")
    return f"{'/'.join(known)}/{_number('TORCHELASTIC_RESTART_COUNT')}" if known else None


def _begun_at(pid: int) -> str:
    """Return when a process was started, as in a container the same ids come again; "": unknown."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def _job() -> tuple[str | None, bool]:
    given = os.environ.get("CHATMEMORY_RUN_GROUP")
    if given:
        return f"given:{given}", True
    if os.environ.get("TORCHELASTIC_RUN_ID"):  # "none" unless the user names it: the agent tells jobs apart
        job = f"torch:{os.environ['TORCHELASTIC_RUN_ID']}:{socket.gethostname()}:{os.getppid()}"
        return job, bool(_number("TORCHELASTIC_RESTART_COUNT"))
    if os.environ.get("SLURM_JOB_ID"):
        return f"slurm:{os.environ['SLURM_JOB_ID']}", bool(_number("SLURM_RESTART_COUNT"))
    return None, False


def _number(name: str) -> int | None:
    try:
        return int(os.environ[name])
    except (KeyError, ValueError):
        return None
