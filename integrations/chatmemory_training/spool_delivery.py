"""Delivery of the spool files that earlier runs left behind."""

import logging
from hashlib import sha256
from pathlib import Path

from chatmemory import ChatMemoryError, StorageError, Tenant
from chatmemory_training.directories import RunLock, remove_empty
from chatmemory_training.run_names import sanitize_run_name
from chatmemory_training.spool import Spool
from chatmemory_training.spool_replay import SpoolReplay

LOG = logging.getLogger("chatmemory_training")


def spool_path(run: Path, tenant: Tenant) -> Path:
    """Return the path of a run's spool file for a tenant; each tenant has a file of its own."""
    return run / f".spool-{sanitize_run_name(tenant.id)[:40]}-{sha256(tenant.id.encode()).hexdigest()[:16]}.jsonl"


def deliver_spools(directory: Path | str, tenant: Tenant) -> int:
    """Deliver the entries that runs below a directory could not write to the database; skip runs still in progress.

    A run whose process is gone without an end is ended as failed, for the reason `lost`; it can be resumed.
    A spool that the database rejects stays where it is, and the reason is logged.

    Args:
        directory: The parent of the runs' directories.
        tenant: The tenant of the runs.

    Returns:
        The number of delivered entries.

    Raises:
        StorageUnavailableError: Postgres cannot be reached; the remaining entries can be delivered later.
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
    replay = SpoolReplay(tenant, len(entries))
    for entry in entries:
        replay.apply(entry)
    replay.confirm()
    replay.end_as_lost()  # whoever had the lock is gone
    spool.clear()
    spool.close()
    return len(entries)
