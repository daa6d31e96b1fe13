"""The address in a Postgres URL, without its secrets."""

import re
from typing import NamedTuple

import psycopg
from psycopg.conninfo import conninfo_to_dict

from chatmemory.errors import ConfigurationError

# Hosts and ports of a sound URL, and the characters that an unescaped password leaves in the database's name.
_HOSTS = re.compile(r"[\w.,%-]*|[\da-fA-F:.,%\w]*:[\da-fA-F:.,%\w]*|/.*")  # names, IPv6, a socket's directory
_PORTS = re.compile(r"\d+(,\d+)*")
_SPILLED = re.compile(r"[@:/]")


def unreadable() -> ConfigurationError:
    """Return the error for a URL that cannot be parsed; it does not show the URL."""
    return ConfigurationError(
        "The Postgres URL cannot be read (it is not shown: it may hold a password). "
        "Use postgresql://user:password@host:5432/database, with special characters percent-encoded."
    )


class Address(NamedTuple):
    """Host, port, database and user of a URL."""

    host: str
    port: str | None
    database: str | None
    user: str | None

    def __str__(self) -> str:
        where = f"{self.host}:{self.port}" if self.port else self.host
        return f"{where} (database {self.database or 'default'}, user {self.user or 'default'})"


def address_of(url: str) -> Address:
    """Return the address in a URL.

    Raises:
        ConfigurationError: The URL cannot be parsed, or an unescaped password got into its other parts, where errors
            would show it.
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


def hosts_in(url: str) -> int:
    """Return how many hosts a URL names, at least 1."""
    parts = conninfo_to_dict(url)
    return 1 + str(parts.get("hostaddr") or parts.get("host") or "").count(",")
