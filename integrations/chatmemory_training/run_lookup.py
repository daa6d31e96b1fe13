"""Finding the session of a run: its own, the one that it resumes, or a free id for a new one."""

from collections.abc import Iterator
from itertools import count
from typing import Any

from chatmemory import Session, SessionExistsError, SessionNotFoundError, Tenant
from chatmemory_training.spool import Entry

ATTEMPT = "attempt"  # metadata key: the attempt that recorded to the session last
RUN = "run"  # metadata key: the name that was asked for
JOB = "job"  # metadata key: the job of the recording process
MAX_GAP = 3  # ids in a row that a user's runs may lack: those of other users and of erased runs


def own_session(tenant: Tenant, entry: Entry) -> Session | None:
    """Return the session that this attempt has begun or resumed before; None: there is none."""
    found = (session for session in _sessions(tenant, entry) if session.info.metadata.get(ATTEMPT) == entry["attempt"])
    return next(found, None)


def session_to_resume(tenant: Tenant, entry: Entry, last: Session | None) -> Session | None:
    """Return the session that an entry asks to continue; None: it asks for none, or there is none.

    Args:
        tenant: The run's tenant.
        entry: The first entry of an attempt.
        last: The session of the attempt before, if the same spool had entries of it.
    """
    resume = entry.get("resume")
    if isinstance(resume, str):
        return _named(tenant, entry, resume)
    if not resume and not entry.get("is_restart"):
        return None
    if resume and last is not None:
        return last
    runs = [session for session in _sessions(tenant, entry) if session.info.metadata.get(RUN) == entry["name"]]
    if not resume:
        runs = [
            run for run in runs if run.info.metadata.get(JOB) == entry["job"] and run.info.run_status != "completed"
        ]
    return max(runs, key=lambda session: session.info.created_at, default=None)


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
    job = {JOB: entry["job"]} if entry.get("job") else {}
    return {ATTEMPT: entry["attempt"], **job, **entry["metadata"]}


def _ids(entry: Entry) -> Iterator[str]:
    for number in count(entry.get("number", 1)):
        yield entry["name"] if number == 1 else f"{entry['name']}-{number}"


def _sessions(tenant: Tenant, entry: Entry) -> Iterator[Session]:
    """Yield the user's runs of this kind under the ids of a name."""
    gap = 0
    for id in _ids({**entry, "number": 1}):
        try:
            session = tenant.sessions.get(id, user_id=entry["user"])
        except SessionNotFoundError:
            gap += 1
            if gap > max(MAX_GAP, entry.get("number", 1)):
                return
        else:
            gap = 0
            if session.info.kind == entry["kind"]:
                yield session


def _named(tenant: Tenant, entry: Entry, resume: str) -> Session | None:
    """Return the run with this id, or of this attempt."""
    try:
        session = tenant.sessions.get(resume, user_id=entry["user"])
    except SessionNotFoundError:
        found = (each for each in _sessions(tenant, entry) if each.info.metadata.get(ATTEMPT) == resume)
        return next(found, None)
    return session if session.info.kind == entry["kind"] else None
