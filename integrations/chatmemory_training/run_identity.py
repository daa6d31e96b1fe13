"""The identity of a run: a new one, one that is resumed, or the one of another process of the same job."""

import os
from collections import Counter
from getpass import getuser
from typing import Any, NamedTuple
from uuid import NAMESPACE_OID, uuid4, uuid5

from chatmemory_training.process_group import ProcessGroup, process_group

_processes: dict[int, str] = {}  # a name for this process, by its id: a forked child is another one
_begun: Counter[tuple[str | None, str]] = Counter()  # recordings of this process, by start of the job and name


class RunIdentity(NamedTuple):
    """The first entry of a spool, as far as it tells the run.

    Attributes:
        kind: training or testing.
        name: The name asked for.
        user: The run's user.
        attempt: The id of this attempt; a spool that is delivered twice finds its session by it.
        number: The first number to try for the session's id: NAME for 1, NAME-2 …
        resume: Whether to continue the newest run of this name, or the id or attempt of the run to continue.
        job: The job that the process belongs to; a restarted one continues its run.
        is_restart: Whether the job was started again.
        contributes: Whether another process records the run, and this one adds to it.
        rank: The number of this process in its job.
        process: A name for this process: a restarted job continues no run that it has begun itself.
    """

    kind: str
    name: str
    user: str
    attempt: str
    number: int = 1
    resume: bool | str = False
    job: str | None = None
    is_restart: bool = False
    contributes: bool = False
    rank: int = 0
    process: str | None = None

    def entry(self) -> dict[str, Any]:
        """Return the fields of the spool's first entry."""
        fields = self._asdict()
        return {**fields, "op": "join" if fields.pop("contributes") else "begin"}


def identify(
    kind: str,
    name: str,
    user_id: object = None,
    *,
    resume: bool | str = False,
    number: int = 1,
    asked: object = None,
    group: ProcessGroup | None = None,
) -> RunIdentity:
    """Return the identity of a new attempt.

    Args:
        kind: training or testing.
        name: The run's name.
        user_id: The run's user; None: the user that runs this process.
        resume: As in RunIdentity.
        number: Likewise.
        asked: The name that the script gave, the same in all processes of a job; None: a generated one.
        group: The job; None: that of this process.
    """
    group = group or process_group()
    user = str(_os_user() if user_id is None else user_id)
    attempt = str(uuid4())
    if group.start is not None:  # all processes of the job know it, without asking each other
        key = group.start, f"{kind}/{asked}"
        _begun[key] += 1
        attempt = str(uuid5(NAMESPACE_OID, f"{group.start}/{kind}/{asked}/{_begun[key]}"))
    process = _processes.setdefault(os.getpid(), str(uuid4()))
    return RunIdentity(
        kind, name, user, attempt, number, resume, group.job, group.is_restart, group.rank > 0, group.rank, process
    )


def identify_alone(name: str, user_id: object, resume: bool | str, number: int) -> RunIdentity:
    """Return the identity of a training whose script itself says which of its processes records."""
    group = process_group()._replace(rank=0, start=None)
    return identify("training", name, user_id, resume=resume, number=number, group=group)


def _os_user() -> str:
    try:
        return getuser()
    except (OSError, KeyError, ImportError):  # the user has no passwd entry, as in some containers
        return "nobody"
