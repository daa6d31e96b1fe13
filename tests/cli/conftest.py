"""The real command, as a subprocess."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Result = subprocess.CompletedProcess[str]


class Cli:
    """Runs `chatmemory` against one database, in an environment of the test's own."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        own = {name: value for name, value in os.environ.items() if not name.startswith(("CHATMEMORY_", "OPENAI_"))}
        self.environment = {**own, "NO_COLOR": "1", "CHATMEMORY_USER": "ann", **environment}

    def __call__(self, *words: str, stdin: str = "", code: int = 0, **environment: str) -> Result:
        """Run it, and expect an exit code."""
        done = subprocess.run(
            [sys.executable, "-m", "chatmemory.cli", *words],
            input=stdin,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=120,
            cwd=self.folder,
            env={**self.environment, **environment},
            check=False,
        )
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *words: str, code: int = 0, **environment: str) -> Any:
        """Return the printed JSON."""
        return json.loads(self(*words, "--json", code=code, **environment).stdout)


@pytest.fixture
def cli(postgres_url: str, tmp_path: Path) -> Cli:
    """The command, on a database of the test's own."""
    return Cli(tmp_path, CHATMEMORY_POSTGRES_URL=postgres_url)


@pytest.fixture
def offline_cli(tmp_path: Path) -> Cli:
    """The command, where there is no database at all."""
    return Cli(tmp_path, CHATMEMORY_POSTGRES_URL="postgresql://nobody:hunter2@127.0.0.1:1/nowhere")


@pytest.fixture
def write_json(tmp_path: Path) -> Callable[[Any], str]:
    """Write a value as a JSON file to import; return its path."""

    def write(value: Any) -> str:
        path = tmp_path / "file.json"
        path.write_text(json.dumps(value), encoding="utf-8")
        return str(path)

    return write
