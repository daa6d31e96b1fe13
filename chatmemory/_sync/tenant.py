# Generated from chatmemory/_async/tenant.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""One organisation's part of the memory."""

from datetime import datetime

from chatmemory._public import public
from chatmemory._sync.items import Items
from chatmemory._sync.memories.memories import Memories
from chatmemory._sync.sessions.sessions import Sessions
from chatmemory._sync.shared import Parts
from chatmemory._sync.users import Users
from chatmemory.memories.records import Spend
from chatmemory.validation import check_time


@public
class Tenant:
    """All that belongs to one tenant; every operation below it is bound to this tenant by the database.

    Attributes:
        id: The tenant's id.
        sessions: Its sessions.
        memories: What was learnt from them, and what it was told to keep.
        items: What the app keeps of its own, under namespaces and keys.
        users: What belongs to one user, over all sessions.
    """

    def __init__(self, tenant_id: str, parts: Parts) -> None:
        self.id = tenant_id
        self.sessions = Sessions(tenant_id, parts)
        self.memories = Memories(tenant_id, parts)
        self.items = Items(tenant_id, parts)
        self.users = Users(tenant_id, parts)
        self._spending = parts.spending

    def spend(self, *, since: datetime) -> Spend:
        """What models were paid for since then, in tokens: by model, by user and in all.

        Raises:
            InvalidInputError: The time has no time zone.
        """
        return self._spending.since(self.id, check_time(since, "since") or datetime.min)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}>"
