"""The help, and the page about it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chatmemory.cli.reference import reference
from chatmemory.cli.terminal import plain, to_json

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_page_is_current() -> None:
    """docs/cli.md says what --help says."""
    assert PAGE.read_text(encoding="utf-8") == reference(), "docs/cli.md is out of date: make docs"


@pytest.mark.parametrize("words", [(), ("memories",), ("runs",)])
def test_help_is_whole_on_80_columns(words: tuple[str, ...]) -> None:
    """The short help of each command fits its line of the list."""
    command = [sys.executable, "-m", "chatmemory.cli", *words, "--help"]
    environment = {**os.environ, "COLUMNS": "80"}
    page = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    commands = page.partition("\nCommands:\n")[2]
    assert commands
    assert "..." not in commands


def test_help_is_light() -> None:
    """--help loads neither the driver nor pydantic, rich, openai or langchain."""
    code = "import sys; sys.argv = ['chatmemory', '--help']\nfrom chatmemory.cli import main\ntry: main()\nfinally: "
    code += "print(*{'psycopg', 'pydantic', 'rich', 'openai', 'langchain_core', 'ijson'} & set(sys.modules), sep='!')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Usage: chatmemory")
    assert done.stdout.splitlines()[-1] == ""


def test_plain_keeps_text_and_shows_the_rest() -> None:
    """Words, tabs and line ends of every language stay; what a terminal would act on is shown as a code."""
    assert plain("Grüße,\t🙂\nנ") == "Grüße,\t🙂\nנ"
    assert plain("\x1b[2J\r\x07\x9b\x7f\u202e") == r"\u001b[2J\u000d\u0007\u009b\u007f\u202e"
    assert to_json({"a": "\x9b"}) == '{\n  "a": "\\u009b"\n}'
