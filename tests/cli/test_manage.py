"""`tenants`, `rename`, `delete`, `restore`, `erase`, `users`, `export --all`, `--version`."""

import json
from pathlib import Path

from chatmemory import ChatMemory
from tests.cli.conftest import Cli


def test_sessions_are_renamed_hidden_shown_and_erased(cli: Cli, memory: ChatMemory) -> None:
    """Each on its own: what is not there is an error, and stops none of the others."""
    sessions = memory.tenant("default").sessions
    first, second = sessions.create(user_id="ann", session_id="one"), sessions.create(user_id="ann", session_id="two")
    first.append("user", "Hello")
    assert cli("rename", "one", "A better title").stdout == "one: renamed\n"
    assert first.refresh().title == "A better title"
    failed = cli("delete", "one", "nope", "two", code=1)
    assert failed.stdout.splitlines() == ["one: deleted", "two: deleted"]
    assert "nope" in failed.stderr
    assert len(sessions.list()) == 0
    assert cli("restore", "one", "two").stdout.splitlines() == ["one: restored", "two: restored"]
    assert "--yes" in cli("erase", "one", code=2).stderr
    assert first.refresh().message_count == 1
    assert "1 messages" in cli("erase", "one", "--yes").stdout
    assert [info.id for info in sessions.list()] == [second.id]
    assert "no session" in cli("erase", "one", "--yes", code=1).stderr
    cli("erase", code=2)
    assert "1 sessions" in cli("erase", "--all", "--yes").stdout
    assert len(sessions.list()) == 0


def test_users_and_tenants(cli: Cli, memory: ChatMemory, tmp_path: Path) -> None:
    """They are listed, exported and erased."""
    for tenant, user in (("default", "ann"), ("default", "bob"), ("acme", "ann")):
        memory.tenant(tenant).sessions.create(user_id=user).append("user", f"I am {user}")
    assert [each["id"] for each in cli.json("tenants")["items"]] == ["acme", "default"]
    assert "acme" in cli("tenants").stdout
    assert [(each["id"], each["sessions"]) for each in cli.json("users", "list")["items"]] == [("ann", 1), ("bob", 1)]
    assert "bob" in cli("users", "list").stdout
    assert "No users" in cli("users", "list", "--tenant", "nobody").stdout
    lines = [json.loads(line) for line in cli("users", "export", "ann").stdout.splitlines()]
    assert [line["content"] for line in lines if line["record"] == "message"] == ["I am ann"]
    cli("users", "erase", "ann", code=2)
    assert "1 sessions, 1 messages" in cli("users", "erase", "ann", "-y").stdout
    file = tmp_path / "all.jsonl"
    assert str(file) in cli("export", "--all", "--output", str(file)).stderr.replace("\n", "")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["user_id"] for line in records if line["record"] == "session"] == ["bob"]
    cli("export", code=2)
    cli("export", "some", "--all", code=2)


def test_version_and_short_help(cli: Cli) -> None:
    """As every command has them."""
    assert cli("--version").stdout.startswith("chatmemory 0.")
    assert cli("-h").stdout == cli("--help").stdout
    assert "Usage" in cli("users", "list", "-h").stdout
