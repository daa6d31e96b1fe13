# Generated from chatmemory/_async/tenant.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""One organisation's part of the memory."""

from chatmemory._public import public
from chatmemory._sync.parts import Parts
from chatmemory._sync.sessions import Sessions


@public
class Tenant:
    """All that belongs to one tenant; every operation below it is bound to this tenant by the database.

    Attributes:
        id: The tenant's id.
        sessions: Its sessions.
    """

    def __init__(self, tenant_id: str, parts: Parts) -> None:
        self.id = tenant_id
        self.sessions = Sessions(tenant_id, parts)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}>"
