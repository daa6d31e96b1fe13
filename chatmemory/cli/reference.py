"""The help of every command as a page. `python -m chatmemory.cli.reference > docs/cli.md`."""

from typing import Any

import typer

from chatmemory.cli import app

WIDTH = 100
HEAD = """# The command line

Written by `python -m chatmemory.cli.reference > docs/cli.md`; do not edit.

Errors are one message on stderr. Exit codes: 0 done, 1 it failed, 2 the command line is wrong, 130 Ctrl-C. Results
go to stdout, everything else to stderr; `--json` is for scripts.
"""


def reference() -> str:
    """The page."""
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    top = _context(group, "chatmemory")
    parts = [HEAD, _help(top)]
    for name in group.list_commands(top):
        command = group.get_command(top, name)
        assert command is not None
        parts += [f"## {name}\n", _help(_context(command, f"chatmemory {name}"))]
        for below, part in getattr(command, "commands", {}).items():
            parts += [f"### {name} {below}\n", _help(_context(part, f"chatmemory {name} {below}"))]
    return "\n".join(parts)


def _context(command: Any, name: str) -> typer.Context:
    return typer.Context(command, info_name=name, terminal_width=WIDTH, max_content_width=WIDTH)


def _help(context: typer.Context) -> str:
    lines = [line.rstrip() for line in context.get_help().splitlines()]
    return "\n".join(["```text", *lines, "```", ""])


if __name__ == "__main__":
    print(reference(), end="")
