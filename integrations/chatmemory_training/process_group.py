"""The job that this process belongs to, as its launcher or supervisor says in the environment."""

import os
import socket
from typing import NamedTuple


class ProcessGroup(NamedTuple):
    """A job of one or more processes.

    Attributes:
        rank: The number of this process, from 0.
        job: The job's id, the same after a restart; None: unknown.
        is_restart: Whether the job was started again, or may have been.
        start: What all processes of this start of the job have in common; None: unknown.
    """

    rank: int = 0
    job: str | None = None
    is_restart: bool = False
    start: str | None = None


def process_group() -> ProcessGroup:
    """Return the job of this process."""
    environment = os.environ
    job, is_restart = _job()
    count = _number("WORLD_SIZE") or _number("SLURM_NTASKS") or 1
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    rank = next((number for name in ranks if (number := _number(name)) is not None), 0) if count > 1 else 0
    address = environment.get("MASTER_ADDR"), environment.get("MASTER_PORT")
    start = None
    if count > 1 and all(address):
        agent = os.getppid() if environment.get("GROUP_WORLD_SIZE", "1") == "1" else 0
        run = environment.get("TORCHELASTIC_RUN_ID") or environment.get("SLURM_JOB_ID")
        start = f"{run}@{':'.join(map(str, address))}/{agent}/{_number('TORCHELASTIC_RESTART_COUNT')}"
    return ProcessGroup(rank, job, is_restart, start)


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
