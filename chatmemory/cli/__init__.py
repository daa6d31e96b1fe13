"""The command `chatmemory`: one file for each group of commands, and the handling of errors."""

import sys
import warnings
from typing import Annotated

import typer

from chatmemory.cli.admin import doctor, migrate
from chatmemory.cli.chat import chat
from chatmemory.cli.demo import demo
from chatmemory.cli.end import end
from chatmemory.cli.import_files import import_
from chatmemory.cli.manage import delete, erase, rename, restore, tenants
from chatmemory.cli.memories import memories
from chatmemory.cli.recall import recall
from chatmemory.cli.reembed import reembed
from chatmemory.cli.runs import runs
from chatmemory.cli.sessions import export, sessions, show
from chatmemory.cli.users import users
from chatmemory.cli.wording import in_options
from chatmemory.cli.worker import worker
from chatmemory.errors import ChatMemoryError

app = typer.Typer(
    name="chatmemory",
    context_settings={"help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
COMMANDS = (
    *(demo, chat, sessions, show, end, rename, delete, restore, erase, export, import_),
    *(recall, worker, reembed, tenants, migrate, doctor),
)
for command in COMMANDS:
    app.command(name=command.__name__.rstrip("_"))(command)
app.add_typer(runs, name="runs")
app.add_typer(memories, name="memories")
app.add_typer(users, name="users")


def _show_version(wanted: bool) -> None:
    if wanted:
        from chatmemory.admin.installation import own_version

        print(f"chatmemory {own_version()}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Conversational memory for LLM apps: durable, tenant-isolated sessions on Postgres."""


def main() -> None:
    """Run the command line; an expected error is one message on stderr and exit code 1, wrong usage exit code 2."""
    warnings.simplefilter("ignore", UserWarning)  # the commands report fallbacks themselves
    for stream in (sys.stdout, sys.stderr):
        _escape_unencodable(stream)
    try:
        app(prog_name="chatmemory")
    except BrokenPipeError:
        raise SystemExit(1) from None
    except ChatMemoryError as error:
        _fail(in_options(str(error), typer.main.get_command(app), sys.argv[1:]))
    except OSError as error:
        _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))


def _escape_unencodable(stream: object) -> None:
    """Print characters that the terminal's encoding lacks as escapes instead of failing."""
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _fail(message: str) -> None:
    from chatmemory.cli.terminal import complain

    sys.stdout.flush()
    complain(message)
    raise SystemExit(1) from None
