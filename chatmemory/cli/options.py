"""Options shared by several commands, and the memory and session they select."""

import getpass
import os
import re
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from chatmemory import ChatMemory, Session, Settings

DEFAULT_TENANT = "default"

TenantOption = Annotated[str, typer.Option("--tenant", envvar="CHATMEMORY_TENANT", help="The tenant (organisation).")]
UserOption = Annotated[
    str | None,
    typer.Option("--user", envvar="CHATMEMORY_USER", show_default="your login name", help="The user."),
]
PostgresOption = Annotated[
    str | None,
    typer.Option(
        "--postgres",
        metavar="URL",
        show_default="CHATMEMORY_POSTGRES_URL, else an embedded server",
        help="URL of the database: postgresql://user:password@host/database.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
SessionArgument = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]


def user_or_me(user: str | None) -> str:
    """Return the given user, or the login name."""
    if user:
        return user
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # the uid has no name, as in some containers
        return f"uid-{os.getuid()}"


def settings_for(postgres: str | None) -> "Settings":
    """Return the settings, with the given database."""
    from chatmemory import ChatMemory

    return ChatMemory.open(postgres).settings


def memory_on(postgres: str | None) -> "ChatMemory":
    """Open the memory on the given or configured database."""
    from chatmemory import ChatMemory

    return ChatMemory.open(postgres)


def session_of(memory: "ChatMemory", tenant: str, session_id: str, user: str | None = None) -> "Session":
    """Return a session by its id.

    Raises:
        SessionNotFoundError: There is no such session; the message names a command that lists them.
    """
    from chatmemory import SessionNotFoundError

    try:
        return memory.tenant(tenant).sessions.get(session_id, user_id=user)
    except SessionNotFoundError:
        owner = f" of user {user!r}" if user else ""
        raise SessionNotFoundError(
            f"{no_session(session_id, tenant, owner)}{' --user names another user.' if user else ''}"
        ) from None


def no_session(session_id: str, tenant: str, owner: str = "") -> str:
    """Return the message about a session that is missing, erased or deleted, which no call tells apart."""
    return (
        f"There is no session {session_id!r}{owner} in tenant {tenant!r}{elsewhere(tenant)}; `chatmemory sessions` "
        "lists them. If it was deleted, `chatmemory restore` brings it back."
    )


def elsewhere(tenant: str) -> str:
    """Return a hint at --tenant if the tenant is the default."""
    return " (--tenant names another)" if tenant == DEFAULT_TENANT else ""


def command(*words: str, tenant: str = DEFAULT_TENANT, postgres: str | None = None) -> str:
    """Return a command line to copy, for the same database and tenant."""
    line = [*_program(), *words]
    if tenant != DEFAULT_TENANT:
        line += ["--tenant", tenant]
    if postgres is not None and not _has_password(postgres):
        line += ["--postgres", postgres]
    return " ".join([*_environment(postgres), *map(shlex.quote, line)])


def _environment(postgres: str | None) -> list[str]:
    """Return the environment variables the command needs; a URL with a password is left out."""
    names = ["CHATMEMORY_POSTGRES_URL"] if postgres is None and "CHATMEMORY_POSTGRES_URL" in os.environ else []
    if postgres is None and not names and "CHATMEMORY_DATA_DIR" in os.environ:
        names = ["CHATMEMORY_DATA_DIR"]
    return [f"{name}={shlex.quote(os.environ[name])}" for name in names if not _has_password(os.environ[name])]


def _has_password(url: str) -> bool:
    return re.search(r"password|://[^/@]*:[^/]*@", url) is not None


def _program() -> list[str]:
    """Return the words that call this program again."""
    called = Path(sys.argv[0]).absolute()
    if called.name != "chatmemory":
        return [sys.executable, "-m", "chatmemory.cli"]
    found = shutil.which("chatmemory")
    if found and Path(found).resolve() == called.resolve():
        return ["chatmemory"]
    return [str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)]
