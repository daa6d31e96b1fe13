"""Finding the session of a run: its own, the one that it resumes, or a free id for a new one."""

import logging
from collections.abc import Iterator
from itertools import count
from typing import Any

from chatmemory import Session, SessionExistsError, SessionNotFoundError, Tenant
from chatmemory_training.spool import Entry

LOG = logging.getLogger("chatmemory_training")
ATTEMPT = "attempt"  # metadata key: the attempt that recorded to the session last
RUN = "run"  # metadata key: the name that was asked for
JOB = "job"  # metadata key: the job of the recording process
PROCESS = "process"  # metadata key: the process that recorded to the session last, if it belongs to a job


def own_session(tenant: Tenant, entry: Entry) -> Session | None:
    """Return the session that this attempt has begun or resumed before; None: there is none."""
    return _newest(tenant, entry, f"metadata.{ATTEMPT} = {_quoted(entry['attempt'])}")


def session_to_resume(tenant: Tenant, entry: Entry, last: Session | None) -> Session | None:
    """Return the session that an entry asks to continue; None: it asks for none, or there is none.

    Args:
        tenant: The run's tenant.
        entry: The first entry of an attempt.
        last: The session of the attempt before, if the same spool had entries of it.
    """
    resume = entry.get("resume")
    if isinstance(resume, str):
        named = _named(tenant, entry, resume)
        if named is None:
            LOG.warning("there is no run %r to go on with: run %r is a new one", resume, entry["name"])
        return named
    if not resume and not entry.get("is_restart"):
        return None
    if resume and last is not None:
        return last
    where = f"metadata.{RUN} = {_quoted(entry['name'])}"
    if not resume:
        where += f" and metadata.{JOB} = {_quoted(entry['job'])} and run_status != 'completed'"
        if entry.get("process"):  # it is a run beside this one, and not one that the job began before
            where += f" and not metadata.{PROCESS} = {_quoted(entry['process'])}"
    return _newest(tenant, entry, where)


def create_session(tenant: Tenant, entry: Entry) -> Session:
    """Create a session under the first free id of NAME, NAME-2, NAME-3 and so on."""
    for id in _ids(entry):
        try:
            return tenant.sessions.create(
                session_id=id,
                user_id=entry["user"],
                kind=entry["kind"],
                title=entry["name"],
                metadata={**attempt_metadata(entry), RUN: entry["name"]},
                details=entry["details"],
                on_limit="exceed",  # no new run may end another one
            )
        except SessionExistsError:
            continue
    raise AssertionError("there is no last id")


def attempt_metadata(entry: Entry) -> dict[str, Any]:
    """Return the metadata of a session that this attempt records to."""
    job = {JOB: entry["job"], PROCESS: entry.get("process")} if entry.get("job") else {}
    return {ATTEMPT: entry["attempt"], **job, **entry["metadata"]}


def _ids(entry: Entry) -> Iterator[str]:
    for number in count(entry.get("number", 1)):
        yield entry["name"] if number == 1 else f"{entry['name']}-{number}"


def _named(tenant: Tenant, entry: Entry, resume: str) -> Session | None:
    """Return the run with this id, or of this attempt."""
    try:
        session = tenant.sessions.get(resume, user_id=entry["user"])
    except SessionNotFoundError:
        return _newest(tenant, entry, f"metadata.{ATTEMPT} = {_quoted(resume)}")
    return session if session.info.kind == entry["kind"] else None


def _newest(tenant: Tenant, entry: Entry, where: str) -> Session | None:
    """Return the user's newest run of this kind for which a condition holds."""
    for run in tenant.sessions.runs(where, user_id=entry["user"], kind=entry["kind"], limit=1):
        return tenant.sessions.get(run.info.id, user_id=entry["user"])
    return None


def _quoted(text: str) -> str:
    """Return a text as sessions.runs() reads it."""
    return "'" + text.replace("'", "''") + "'"
