"""Names of Redis keys, and the scripts that work on them. What stands under a key is one hash in one cluster slot."""

from functools import cache
from hashlib import sha1
from importlib.resources import files
from urllib.parse import quote


def window_key(tenant_id: str, session_id: str) -> str:
    """Where a session's window stands."""
    return f"cm:{{{_quoted(tenant_id)}/{_quoted(session_id)}}}:window"


def sessions_key(tenant_id: str, user_id: str) -> str:
    """Where the sessions stand that a user may resume without asking Postgres."""
    return f"cm:{{{_quoted(tenant_id)}/{_quoted(user_id)}}}:sessions"


def _quoted(id: str) -> str:
    """An id without the characters that would end a part of the key."""
    return quote(id, safe="")


@cache
def script(name: str) -> str:
    """The text of a script in lua/."""
    return (files("chatmemory.storage") / "lua" / f"{name}.lua").read_text()


@cache
def digest(name: str) -> str:
    """What Redis calls a script."""
    return sha1(script(name).encode(), usedforsecurity=False).hexdigest()
