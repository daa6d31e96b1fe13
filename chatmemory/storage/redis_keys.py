"""Names of Redis keys, each of one hash in one cluster slot, and the scripts that work on them."""

from functools import cache
from hashlib import sha1
from importlib.resources import files
from urllib.parse import quote

PROBE = "cm:probe"


def window_key(tenant_id: str, session_id: str) -> str:
    """Return the key of a session's window."""
    return f"cm:{{{_quoted(tenant_id)}/{_quoted(session_id)}}}:window"


def sessions_key(tenant_id: str, user_id: str) -> str:
    """Return the key of the sessions that a user may resume without asking Postgres."""
    return f"cm:{{{_quoted(tenant_id)}/{_quoted(user_id)}}}:sessions"


def _quoted(id: str) -> str:
    """Return an id with the separators of the key escaped."""
    return quote(id, safe="")


@cache
def script(name: str) -> str:
    """Return the text of a script in lua/."""
    return (files("chatmemory.storage") / "lua" / f"{name}.lua").read_text()


@cache
def digest(name: str) -> str:
    """Return the digest under which Redis knows a script."""
    return sha1(script(name).encode(), usedforsecurity=False).hexdigest()
