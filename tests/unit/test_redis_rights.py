"""The rights that are documented and tried are those that the scripts need."""

import re
from importlib.resources import files
from pathlib import Path

from chatmemory.storage.redis_rights import COMMANDS, KEYS

DEPLOY = Path(__file__).parents[2] / "docs" / "deploy.md"
SCRIPTS = {
    path.name: {name.lower() for name in re.findall(r"redis\.p?call\('(\w+)'", path.read_text())}
    for path in files("chatmemory.storage").joinpath("lua").iterdir()
}


def test_the_probe_runs_what_the_other_scripts_run() -> None:
    """So that a user who lacks one of the rights is found by the probe."""
    probe = SCRIPTS.pop("probe.lua")
    assert probe == set().union(*SCRIPTS.values())
    assert set(COMMANDS) == probe | {"eval", "evalsha"}


def test_the_documented_rights_are_those() -> None:
    """The line for an administrator names each."""
    rules = " ".join([KEYS, *(f"+{command}" for command in COMMANDS)])
    assert f"ACL SETUSER chatmemory on >PASSWORD {rules}\n" in DEPLOY.read_text()
