"""`demo`."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from chatmemory.cli.demo import Finding, Play
from chatmemory.cli.demo_script import SCENES, TURNS, answer
from tests.cli.conftest import Cli


def test_demo_on_an_empty_data_directory(data_dir: Path, tmp_path: Path) -> None:
    """On a machine with nothing, the demo succeeds twice, and the commands it prints work as they stand."""
    cli = Cli(tmp_path, CHATMEMORY_DATA_DIR=str(data_dir))
    page = cli("demo").stdout
    assert re.search(r"All \d+ acknowledged messages are stored: none lost, none doubled", page)
    assert "kill -9" in page
    assert cli.json("sessions")["total"] == 3
    commands = [line.strip() for line in page.splitlines() if "-m chatmemory.cli" in line]
    assert len(commands) == 3
    bare = {name: value for name, value in cli.environment.items() if name != "CHATMEMORY_DATA_DIR"}
    outputs = [
        subprocess.run(
            ["bash", "-c", command], env=bare, cwd=tmp_path, capture_output=True, text=True, input="", check=True
        )
        for command in commands
    ]
    assert "-lisbon" in outputs[0].stdout
    assert "You are Ada" in outputs[1].stdout
    assert "Resuming" in outputs[2].stderr
    assert "none lost, none doubled" in cli("demo").stdout
    assert cli.json("sessions")["total"] == 6


def test_demo_in_a_tenant(cli: Cli) -> None:
    """The sessions are in the tenant that was named, whole and active, and the commands say so."""
    page = cli("demo", "--tenant", "acme corp").stdout
    assert shlex.quote("acme corp") in page
    sessions = cli.json("sessions", "--tenant", "acme corp")["items"]
    assert {(s["message_count"], s["status"]) for s in sessions} == {(2 * TURNS, "active")}
    assert {s["user_id"] for s in sessions} == {"ada", "grace"}


def test_script() -> None:
    """No line is said twice, and the last answer needs the first line."""
    for scene in SCENES:
        lines = [scene.line(turn) for turn in range(1, TURNS + 1)]
        assert len(set(lines)) == TURNS
        assert answer(lines).startswith(f"You are {scene.user.title()}, and there are {TURNS - 2}: ")
        assert "stranger" in answer(lines[1:])


@pytest.mark.parametrize(
    "fault",
    [{"lost": 1}, {"doubled": 1}, {"contiguous": False}, {"complete": False}],
    ids=lambda fault: next(iter(fault)),
)
def test_any_fault_is_a_failure(fault: dict[str, int]) -> None:
    """The verdict is good only if nothing at all is wrong."""
    sound = {"session": "s", "acknowledged": 82, "found": 82, "lost": 0, "doubled": 0, "contiguous": 1, "complete": 1}
    assert Finding(**sound).good  # type: ignore[arg-type]  # plain numbers will do
    assert not Finding(**{**sound, **fault}).good  # type: ignore[arg-type]


def test_a_lost_message_is_noticed(cli: Cli, postgres_url: str) -> None:
    """A message missing right after the kill counts as lost, even if the second process writes it again."""
    from rich.console import Console

    from chatmemory import ChatMemory

    with ChatMemory.open(postgres_url) as memory:
        play = Play(memory, "default", postgres_url, Console(quiet=True))
        sessions = memory.tenant("default").sessions
        for scene in SCENES:
            session = sessions.create(user_id=scene.user, session_id=play.session(scene))
            session.append("user", scene.line(1), message_id="turn-01-said")
            play.acknowledged[session.id] = {"turn-01-said": scene.line(1), "turn-01-reply": "Nice."}
        play.survey()
        assert [finding.lost for finding in play.findings()] == [2, 2, 2]  # at the kill, and at the end
        assert json.loads(cli("sessions", "--json").stdout)["total"] == 3
