"""The tenant of a service or recorder: given directly, by its id, or on the database of a SQLAlchemy session."""

import atexit
import threading
from typing import Any

from chatmemory import ChatMemory, ChatMemoryError, ConfigurationError, Tenant

TENANT = "default"

_memories: dict[str | None, ChatMemory] = {}
_lock = threading.Lock()


def tenant_of(given: Any) -> Tenant:
    """Return the tenant itself, the tenant of this id, or tenant "default" on the database of a SQLAlchemy session.

    An id is one on the configured database. All that is opened here is shared, and closed when the process ends.

    Raises:
        ConfigurationError: The argument is neither, or its database is not Postgres.
    """
    if isinstance(given, Tenant):
        return given
    if isinstance(given, str):
        return _opened(None).tenant(given)
    if not callable(getattr(given, "get_bind", None)):
        raise ConfigurationError(
            f"tenant must be a Tenant, as returned by ChatMemory.tenant(), its id, or a SQLAlchemy Session, "
            f"not a {type(given).__name__}."
        )
    return _opened(_url_of(given)).tenant(TENANT)


def _opened(url: str | None) -> ChatMemory:
    with _lock:
        if url not in _memories:
            _memories[url] = ChatMemory.open(url)
        return _memories[url]


def _url_of(session: Any) -> str:
    try:
        url = session.get_bind().engine.url
        is_postgres = url.get_backend_name() == "postgresql"
        text = url.set(drivername="postgresql").render_as_string(hide_password=False)
    except Exception as error:  # noqa: BLE001  # any error of a session without an engine
        raise ConfigurationError(f"The SQLAlchemy Session has no database ({type(error).__name__}).") from None
    if not is_postgres:
        raise ConfigurationError("The SQLAlchemy Session is not on Postgres; give a Tenant of a ChatMemory.")
    return str(text)


@atexit.register
def _close() -> None:
    with _lock:
        while _memories:
            _, memory = _memories.popitem()
            try:
                memory.close()
            except ChatMemoryError:
                continue
