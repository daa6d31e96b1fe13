"""One organisation's part of the memory."""

from collections.abc import Callable

from chatmemory._async.database import AsyncDatabase
from chatmemory._async.sessions import AsyncSessions
from chatmemory._public import public
from chatmemory.settings import Settings


@public
class AsyncTenant:
    """All that belongs to one tenant; every operation below it is bound to this tenant by the database.

    Attributes:
        id: The tenant's id.
        sessions: Its sessions.
    """

    def __init__(self, tenant_id: str, database: AsyncDatabase, settings: Settings, on_use: Callable[[], None]) -> None:
        self.id = tenant_id
        self.sessions = AsyncSessions(tenant_id, database, settings, on_use)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id!r}>"
