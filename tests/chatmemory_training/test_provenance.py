"""The origin of a run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chatmemory import ChatMemory
from chatmemory_training import record_run

SCRIPT = "import json\nfrom chatmemory_training.provenance import provenance\nprint(json.dumps(provenance()))\n"


def git(directory: Path, *arguments: str) -> str:
    """Run git in a repository of the test's own."""
    identity = ("-c", "user.name=Ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false")
    return subprocess.run(
        ["git", "-C", str(directory), *identity, *arguments], check=True, capture_output=True, text=True
    ).stdout.strip()


def told_by(script: Path, *arguments: str) -> dict[str, Any]:
    """Run a script and return what it tells."""
    done = subprocess.run([sys.executable, str(script), *arguments], check=True, capture_output=True, text=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository with one committed script, and a remote whose URL has a password."""
    git(tmp_path, "init", "--initial-branch", "main")
    (tmp_path / "train.py").write_text(SCRIPT)
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "First")
    git(tmp_path, "remote", "add", "origin", "https://ann:hunter2@example.com/repo.git")
    return tmp_path


def test_the_code_the_command_and_the_machine_are_told(repository: Path) -> None:
    """Without the secrets in any of them."""
    told = told_by(repository / "train.py", "--lr", "0.1", "--api-key", "hunter2", "--db=postgresql://u:hunter2@h/d")
    assert told["git"]["commit"] == git(repository, "rev-parse", "HEAD")
    assert (told["git"]["branch"], told["git"]["dirty"]) == ("main", False)
    assert told["command"][1:4] == [str(repository / "train.py"), "--lr", "0.1"]
    assert told["directory"] == str(repository)
    assert told["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"psycopg", "pydantic"} <= told["packages"].keys()
    assert "hunter2" not in json.dumps(told)


def test_changes_are_kept_while_they_are_small(repository: Path) -> None:
    """A large diff is told by its size; a file that git does not know makes the tree dirty too."""
    (repository / "new.txt").write_text("new")
    told = told_by(repository / "train.py")["git"]
    assert (told["dirty"], told.get("diff")) == (True, None)
    (repository / "train.py").write_text(SCRIPT + "# changed\n")
    assert "+# changed" in told_by(repository / "train.py")["git"]["diff"]
    (repository / "train.py").write_text(SCRIPT + "API_KEY = 'hunter2'\nrate = 0.25\n")
    diff = told_by(repository / "train.py")["git"]["diff"]
    assert ("hunter2" in diff, "API_KEY = '***'" in diff, "rate = 0.25" in diff) == (False, True, True)
    (repository / "train.py").write_text(SCRIPT + "# much\n" * 10_000)
    assert "left out" in told_by(repository / "train.py")["git"]["diff"]


def test_a_repository_runs_nothing_of_its_own(repository: Path) -> None:
    """No program that its configuration names."""
    ran = repository / "ran"
    program = repository / "program.sh"
    program.write_text(f"#!/bin/sh\ntouch {ran}\n")
    program.chmod(0o755)
    (repository / ".gitattributes").write_text("*.py diff=own\n")
    for name in ("core.fsmonitor", "diff.external", "diff.own.textconv", "diff.own.command"):
        git(repository, "config", name, str(program))
    (repository / "train.py").write_text(SCRIPT + "# changed\n")
    assert told_by(repository / "train.py")["git"]["dirty"] is True
    assert not ran.exists()


def test_without_a_repository_there_is_no_git(tmp_path: Path) -> None:
    """Everything else is told."""
    (tmp_path / "train.py").write_text(SCRIPT)
    told = told_by(tmp_path / "train.py")
    assert "git" not in told
    assert told["host"]


def test_a_run_knows_where_it_comes_from(memory: ChatMemory, tmp_path: Path) -> None:
    """Beside what its app says of it."""
    with record_run(memory.tenant("acme"), "run", user_id="ann", spool_dir=tmp_path) as run:
        run.update(artifacts="model.bin")
    [found] = memory.tenant("acme").sessions.runs("metadata.provenance.host is not null")
    assert found.info.metadata["artifacts"] == "model.bin"
    assert found.info.metadata["provenance"]["packages"]["pydantic"]
