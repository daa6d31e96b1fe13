"""`sessions`, `show`, `export`."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chatmemory import ChatMemory, Session
from tests.cli.conftest import Cli


@pytest.fixture
def session(memory: ChatMemory) -> Session:
    """A session with a title, three messages and a timeline."""
    session = memory.tenant("default").sessions.create(user_id="ann", session_id="s-1", title="Lunch")
    session.append_many(
        [
            {"role": "user", "content": "Soup or salad?"},
            {"role": "assistant", "content": [{"type": "text", "text": "Soup."}, {"type": "image", "url": "x"}]},
            {"role": "user", "content": "[bold]thanks[/bold] \x1b[31mred\x1b[0m \x9b5m \u202egnp"},
        ]
    )
    return session


def test_sessions_table(cli: Cli, session: Session) -> None:
    """The table names what a session is, and never cuts an id."""
    page = cli("sessions").stdout
    for word in ("s-1", "Lunch", "ann", "chat", "active", "3", "just now", "1 session"):
        assert word in page


def test_narrow_terminal_keeps_ids(cli: Cli, memory: ChatMemory) -> None:
    """In 80 columns a long title gives way, the id does not."""
    sessions = memory.tenant("default").sessions
    made = sessions.create(user_id="ann.of.the.travel.desk", kind="training", title="long " * 30)
    made.end()
    page = cli("sessions", COLUMNS="80").stdout
    for word in (made.id, "long long", "ann.of.the.travel.desk", "training", "completed", "0 messages", "just now"):
        assert word in page
    assert max(map(len, page.splitlines())) <= 80
    assert made.id in cli("sessions", COLUMNS="30").stdout


def test_sessions_json_and_filters(cli: Cli, memory: ChatMemory, session: Session) -> None:
    """Filters and pages work, and the JSON has all fields of a session."""
    sessions = memory.tenant("default").sessions
    sessions.create(user_id="ben", kind="training").end()
    assert cli.json("sessions")["total"] == 2
    assert [s["id"] for s in cli.json("sessions", "--user", "ann")["items"]] == [session.id]
    assert cli.json("sessions", "--kind", "training")["items"][0]["user_id"] == "ben"
    assert cli.json("sessions", "--status", "completed")["total"] == 1
    page = cli.json("sessions", "--limit", "1", "--offset", "1")
    assert (page["total"], [s["id"] for s in page["items"]]) == (2, [session.id])
    assert page["items"][0]["created_at"].endswith("+00:00")
    assert cli.json("sessions", "--tenant", "other")["total"] == 0


def test_no_sessions(cli: Cli) -> None:
    """An empty tenant is said to be empty."""
    assert "No sessions in tenant 'default'" in cli("sessions").stdout


def test_show(cli: Cli, session: Session) -> None:
    """Info, timeline and messages are there, the oldest ones only on request."""
    page = cli("show", session.id).stdout
    for word in ("Lunch", "created", "Soup or salad?", "Soup.", '"url": "x"'):
        assert word in page
    short = cli("show", session.id, "--limit", "1").stdout
    assert "Soup or salad?" not in short
    assert "2 older" in short


def test_messages_are_shown_as_they_are(cli: Cli, session: Session) -> None:
    """Neither markup nor escape sequences in a message are interpreted, in no form of output."""
    for words in (("show", session.id), ("show", session.id, "--json")):
        page = cli(*words).stdout
        assert "[bold]thanks[/bold]" in page
        assert r"\u001b[31mred" in page
        assert not {"\x1b", "\x9b", "\u202e"} & set(page)


def test_show_json(cli: Cli, session: Session) -> None:
    """The JSON of a session holds the very messages."""
    shown = cli.json("show", session.id)
    assert shown["session"]["id"] == session.id
    assert [m["content"] for m in shown["messages"]] == [m.content for m in session.messages()]
    assert shown["events"][0]["type"] == "created"


def test_show_context(cli: Cli, session: Session) -> None:
    """The next context is shown with the tokens of each part and the omitted messages, as text and JSON."""
    page = cli("show", session.id, "--context").stdout
    for word in ("Soup.", "messages", "█", "3 messages", "read from postgres"):
        assert word in page
    assert "omitted" not in page
    context = cli.json("show", session.id, "--context", "--max-tokens", "60")
    assert context["omitted"] == {"count": 2, "from_seq": 1, "to_seq": 2}
    assert context["tokens"] == sum(context["tokens_by_part"].values()) <= 60
    assert [message["role"] for message in context["openai"]] == ["user"]
    short = cli("show", session.id, "--context", "--max-tokens", "60").stdout
    assert "omitted: 2 messages, seq 1 to 2" in short
    for wrong in (["--max-tokens", "9"], ["--context", "--limit", "1"], ["--context", "--max-tokens", "-5"]):
        assert "Usage" in cli("show", session.id, *wrong, code=2).stderr
    assert "Raise --max-tokens" in cli("show", session.id, "--context", "--max-tokens", "2", code=1).stderr


def test_show_context_shows_the_summary(cli: Cli, memory: ChatMemory) -> None:
    """The summary is shown as in the prompt, with its tokens."""
    session = memory.tenant("default").sessions.create(user_id="ann", session_id="s-2")
    session.append_many([{"role": "user", "content": f"Platform {number} is closed. " * 5} for number in range(30)])
    assert session.consolidate().status == "success"
    page = cli("show", "s-2", "--context", "--max-tokens", "500").stdout
    context = session.context(500)
    assert context.summary_text
    assert f"summary {context.tokens_by_part['summary']} tokens\n{context.summary_text}\n" in page


def test_show_unknown(cli: Cli) -> None:
    """An unknown session is an error that says where to look."""
    failed = cli("show", "nope", code=1)
    assert failed.stdout == ""
    assert "no session 'nope' in tenant 'default'" in failed.stderr


def test_export(cli: Cli, session: Session, tmp_path: Path) -> None:
    """Exports go to stdout unchanged, or into a file."""
    assert cli("export", session.id).stdout == session.export() + "\n"
    cli("export", session.id, "--format", "markdown", "-o", "page.md")
    assert (tmp_path / "page.md").read_text() == session.export("markdown")
    assert "No such file" in cli("export", session.id, "-o", "none/page.md", code=1).stderr


def test_wrong_usage_is_2(cli: Cli) -> None:
    """A wrong command line is exit code 2; a wrong value is explained by the library."""
    cli("sessions", "--limit", "many", code=2)
    cli("nothing", code=2)
    assert "status is 'nope'" in cli("sessions", "--status", "nope", code=1).stderr
    assert "limit is -1" in cli("sessions", "--limit", "-1", code=1).stderr


@pytest.mark.parametrize("words", [("sessions",), ("show", "x"), ("export", "x"), ("chat",), ("demo",), ("migrate",)])
def test_unreachable_postgres(offline_cli: Cli, words: tuple[str, ...]) -> None:
    """Without a database every command says so, and never shows the password."""
    failed = offline_cli(*words, code=1)
    assert "cannot be reached: connection to server" in failed.stderr
    assert "Is the server running" not in failed.stderr
    assert "hunter2" not in failed.stdout + failed.stderr


def test_broken_pipe_is_quiet(cli: Cli, memory: ChatMemory) -> None:
    """A reader that goes away early causes no complaint."""
    session = memory.tenant("default").sessions.create(user_id="ann", session_id="long")
    session.append_many([{"role": "user", "content": "x" * 10_000}] * 50)
    command = f"{sys.executable} -m chatmemory.cli show long | head -c 10"
    done = subprocess.run(
        ["bash", "-c", command], env=cli.environment, capture_output=True, cwd=cli.folder, timeout=60, check=False
    )
    assert done.stderr == b""


def test_json_is_utf8_wherever_it_goes(cli: Cli, memory: ChatMemory) -> None:
    """JSON parses also where the terminal knows ASCII only."""
    memory.tenant("default").sessions.create(user_id="ann", title="Grüße 🙂")
    page = json.loads(cli("sessions", "--json", PYTHONIOENCODING="ascii").stdout)
    assert page["items"][0]["title"] == "Grüße 🙂"
    assert "Gr" in cli("sessions", PYTHONIOENCODING="ascii").stdout


def test_end(cli: Cli, memory: ChatMemory) -> None:
    """Each on its own: what is there ends, what is not is told, and that is an error."""
    sessions = memory.tenant("default").sessions
    first, second = sessions.create(user_id="ann"), sessions.create(user_id="ann")
    failed = cli("end", first.id, "nope", second.id, code=1)
    assert failed.stdout.splitlines() == [f"{first.id}: completed", f"{second.id}: completed"]
    assert "nope" in failed.stderr
    assert cli("end", first.id).stdout == f"{first.id}: completed\n"
    assert {first.refresh().status, second.refresh().status} == {"completed"}


def test_an_apps_own_kind_is_a_filter(cli: Cli, memory: ChatMemory) -> None:
    """The command has not registered it, but lists what has it; a kind that nothing has is an error."""
    code = (
        "from chatmemory import ChatMemory, Kind, register_kind\n"
        "register_kind(Kind(name='billing'))\n"
        "register_kind(Kind(name='nightly', moves={'waiting': ['done', 'lost']}, "
        "endings={'completed': 'done', 'failed': 'lost', 'cancelled': 'lost', 'expired': 'lost'}))\n"
        "with ChatMemory.open() as memory:\n"
        "    for kind in ('billing', 'nightly'):\n"
        "        memory.tenant('default').sessions.create(user_id='ann', session_id=kind, kind=kind)\n"
    )
    subprocess.run([sys.executable, "-c", code], env=cli.environment, check=True)
    assert memory.tenant("default").sessions.list(kind=["billing", "nightly"], with_total=True).total == 2
    assert [each["id"] for each in cli.json("sessions", "--kind", "billing")["items"]] == ["billing"]
    assert [each["id"] for each in cli.json("runs", "--kind", "nightly")["items"]] == ["nightly"]
    assert "billing" in cli("sessions", "--kind", "billing").stdout
    assert "use one of chat" in cli("sessions", "--kind", "biling", code=1).stderr
