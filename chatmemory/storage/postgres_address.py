"""Where a Postgres URL points to, without its secrets."""

import re
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from chatmemory.errors import (
    ConfigurationError,
)

# What a URL's parts look like where no password has spilled into them.
_HOSTS = re.compile(r"[\w.,%-]*|[\da-fA-F:.,%\w]*:[\da-fA-F:.,%\w]*|/.*")  # names, IPv6, a socket's directory


_PORTS = re.compile(r"\d+(,\d+)*")


_SPILLED = re.compile(r"[@:/]")


def unreadable() -> ConfigurationError:
    """The error for an address that makes no sense; the address is not shown."""
    return ConfigurationError(
        "The Postgres URL cannot be read (it is not shown: it may hold a password). "
        "Use postgresql://user:password@host:5432/database, with special characters percent-encoded."
    )


class Address(NamedTuple):
    """Where a URL points to, without its secrets."""

    host: str
    port: str | None
    database: str | None
    user: str | None

    def __str__(self) -> str:
        where = f"{self.host}:{self.port}" if self.port else self.host
        return f"{where} (database {self.database or 'default'}, user {self.user or 'default'})"


def address_of(url: str) -> Address:
    """Read a URL.

    Raises:
        ConfigurationError: It cannot be read, or a password with unescaped characters has spilled into its other
            parts, where errors would show it.
    """
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise unreadable() from None
    named = {name: str(parts[name]) for name in ("host", "port", "dbname", "user") if parts.get(name) is not None}
    address = Address(named.get("host") or "localhost", *map(named.get, ("port", "dbname", "user")))
    readable = _HOSTS.fullmatch(address.host) and _PORTS.fullmatch(address.port or "5432")
    if not readable or _SPILLED.search(address.database or ""):
        raise unreadable()
    return address
