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
    assert "1 message," in cli("erase", "one", "--yes").stdout
    assert [info.id for info in sessions.list()] == [second.id]
    assert "no session" in cli("erase", "one", "--yes", code=1).stderr
    cli("erase", code=2)
    assert "1 session," in cli("erase", "--all", "--yes").stdout
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
    assert "1 session, 1 message," in cli("users", "erase", "ann", "-y").stdout
    file = tmp_path / "all.jsonl"
    assert str(file) in cli("export", "--all", "--output", str(file)).stderr.replace("\n", "")
    records = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["user_id"] for line in records if line["record"] == "session"] == ["bob"]
    assert "Imported 1 conversation with 1 message" in cli("import", str(file), "--tenant", "copy").stdout
    [copied] = memory.tenant("copy").sessions.list()
    assert (copied.user_id, copied.message_count) == ("bob", 1)
    cli("export", code=2)
    cli("export", "some", "--all", code=2)


def test_version_and_short_help(cli: Cli) -> None:
    """As every command has them."""
    assert cli("--version").stdout.startswith("chatmemory 0.")
    assert cli("-h").stdout == cli("--help").stdout
    assert "Usage" in cli("users", "list", "-h").stdout


def test_errors_say_what_is_the_case(cli: Cli, memory: ChatMemory) -> None:
    """A session that is deleted, not deleted, or missing; in the words of the command line."""
    memory.tenant("default").sessions.create(user_id="ann", session_id="one")
    assert "'one' is not deleted" in cli("restore", "one", code=1).stderr
    assert "deleted or not" in cli("restore", "nope", code=1).stderr
    cli("delete", "one")
    for words in (("delete", "one"), ("erase", "one", "-y"), ("end", "one"), ("show", "one"), ("rename", "one", "x")):
        failed = cli(*words, code=1).stderr
        assert "chatmemory restore" in failed
        assert "()" not in failed
    for title in ("", "  "):
        assert "TITLE is empty" in cli("rename", "one", title, code=2).stderr
    assert "--limit is -1" in cli("sessions", "--limit", "-1", code=1).stderr
    assert "--kind" in cli("memories", "list", "--kind", "nonsense", code=1).stderr


def test_a_timeline_in_words(cli: Cli, memory: ChatMemory) -> None:
    """Entries are sentences and not JSON; an ended session names the one that continues it."""
    sessions = memory.tenant("default").sessions
    first = sessions.create(user_id="ann", session_id="one")
    first.expire(reason="idle")
    first.reopen()
    first.update(title="A new title")
    first.end()
    second = sessions.resume_or_create("one", user_id="ann", on_missing="adopt")
    page = cli("show", "one").stdout
    for words in ("expired reason idle", "reopened from expired", 'renamed to "A new title"', "ended as completed"):
        assert words in page
    assert "{" not in page
    assert "continued by" in page
    assert second.id in page
    assert cli.json("show", "one")["continued_by"] == [second.id]
    assert "created as the successor of one" in cli("show", second.id).stdout
