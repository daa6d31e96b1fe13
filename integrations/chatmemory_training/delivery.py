"""Delivering what earlier runs could not tell."""

import logging
from hashlib import sha256
from pathlib import Path

from chatmemory import ChatMemoryError, StorageError, Tenant
from chatmemory_training.directories import RunLock, remove_empty
from chatmemory_training.names import sanitize_run_name
from chatmemory_training.replay import Replay
from chatmemory_training.spool import Spool

LOG = logging.getLogger("chatmemory_training")


def spool_path(run: Path, tenant: Tenant) -> Path:
    """Where a run in this directory keeps what the tenant's database does not have yet; no two tenants share a name."""
    return run / f".spool-{sanitize_run_name(tenant.id)[:40]}-{sha256(tenant.id.encode()).hexdigest()[:16]}.jsonl"


def deliver_spools(directory: Path | str, tenant: Tenant) -> int:
    """Tell the database what runs below a directory could not tell it; runs that still go on are left alone.

    What cannot be delivered for another reason than that Postgres is away stays where it is, and a log says why.

    Args:
        directory: What the directories of the runs lie in.
        tenant: Whose runs they are.

    Returns:
        How many entries were delivered.

    Raises:
        StorageUnavailableError: Postgres cannot be reached; what is left can be delivered later.
    """
    delivered = 0
    for path in sorted(Path(directory).glob(f"*/{spool_path(Path(), tenant).name}")):
        lock = RunLock(path.parent)
        if lock.acquire():
            try:
                delivered += _deliver(path, tenant)
                remove_empty(path.parent)
            except StorageError:
                raise
            except ChatMemoryError as error:
                LOG.warning("%s cannot be delivered: %s", path, error)
            finally:
                lock.release()
    return delivered


def _deliver(path: Path, tenant: Tenant) -> int:
    spool = Spool(path)
    entries = spool.read()
    replay = Replay(tenant, len(entries))
    for entry in entries:
        replay.apply(entry)
    replay.confirm()
    spool.clear()
    spool.close()
    return len(entries)
