"""One organisation's part of the memory."""

from chatmemory._async.parts import AsyncParts
from chatmemory._async.sessions import AsyncSessions
from chatmemory._public import public


@public
class AsyncTenant:
    """All that belongs to one tenant; every operation below it is bound to this tenant by the database.

    Attributes:
        id: The tenant's id.
        sessions: Its sessions.
    """

    def __init__(self, tenant_id: str, parts: AsyncParts) -> None:
        self.id = tenant_id
        self.sessions = AsyncSessions(tenant_id, parts)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}>"
