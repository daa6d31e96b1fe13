"""The options that several commands share, and the memory they lead to."""

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

TenantOption = Annotated[
    str, typer.Option("--tenant", envvar="CHATMEMORY_TENANT", help="The organisation whose sessions these are.")
]
UserOption = Annotated[
    str | None,
    typer.Option("--user", envvar="CHATMEMORY_USER", show_default="your login name", help="Whose sessions these are."),
]
PostgresOption = Annotated[
    str | None,
    typer.Option(
        "--postgres",
        metavar="URL",
        show_default="CHATMEMORY_POSTGRES_URL, else an embedded server",
        help="The database; postgresql://user:password@host/database.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
SessionArgument = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]


def user_or_me(user: str | None) -> str:
    """The user that was named, or whoever is logged in."""
    if user:
        return user
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # no name for this uid, as in some containers
        return f"uid-{os.getuid()}"


def settings_for(postgres: str | None) -> "Settings":
    """The settings in force, with the database that was named."""
    from chatmemory import ChatMemory

    return ChatMemory.open(postgres).settings


def memory_on(postgres: str | None) -> "ChatMemory":
    """The memory on the database that was named, or configured."""
    from chatmemory import ChatMemory

    return ChatMemory.open(postgres)


def session_of(memory: "ChatMemory", tenant: str, session_id: str, user: str | None = None) -> "Session":
    """A session by its id.

    Raises:
        SessionNotFoundError: In the words of the command line.
    """
    from chatmemory import SessionNotFoundError

    try:
        return memory.tenant(tenant).sessions.get(session_id, user_id=user)
    except SessionNotFoundError:
        whose = f" of user {user!r}" if user else ""
        raise SessionNotFoundError(
            f"There is no session {session_id!r}{whose} in tenant {tenant!r}{elsewhere(tenant)}; "
            "`chatmemory sessions` lists them."
        ) from None


def elsewhere(tenant: str) -> str:
    """How to look into another tenant, for those who have named none."""
    return " (--tenant names another)" if tenant == DEFAULT_TENANT else ""


def command(*words: str, tenant: str = DEFAULT_TENANT, postgres: str | None = None) -> str:
    """A command line to copy, which leads to the same database and tenant as this one."""
    line = [*_program(), *words]
    if tenant != DEFAULT_TENANT:
        line += ["--tenant", tenant]
    if postgres is not None and not _has_password(postgres):
        line += ["--postgres", postgres]
    return " ".join([*_environment(postgres), *map(shlex.quote, line)])


def _environment(postgres: str | None) -> list[str]:
    """The variables this process may have got for itself alone; a URL with a password is not repeated."""
    names = ["CHATMEMORY_POSTGRES_URL"] if postgres is None and "CHATMEMORY_POSTGRES_URL" in os.environ else []
    if postgres is None and not names and "CHATMEMORY_DATA_DIR" in os.environ:
        names = ["CHATMEMORY_DATA_DIR"]
    return [f"{name}={shlex.quote(os.environ[name])}" for name in names if not _has_password(os.environ[name])]


def _has_password(url: str) -> bool:
    return re.search(r"password|://[^/@]*:[^/]*@", url) is not None


def _program() -> list[str]:
    """How this program was called, so that calling it again works."""
    called = Path(sys.argv[0]).absolute()
    if called.name != "chatmemory":
        return [sys.executable, "-m", "chatmemory.cli"]
    found = shutil.which("chatmemory")
    if found and Path(found).resolve() == called.resolve():
        return ["chatmemory"]
    return [str(called.relative_to(Path.cwd()) if called.is_relative_to(Path.cwd()) else called)]
