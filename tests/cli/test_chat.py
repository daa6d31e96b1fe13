"""`chat`."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, ClassVar

import pytest

from chatmemory import ChatMemory, Session
from tests.cli.conftest import Cli


class Model(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that repeats, and fails when it is asked to."""

    requests: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        """Stream an answer in the protocol's events."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append({**request, "authorization": self.headers["Authorization"]})
        last = request["messages"][-1]["content"]
        self.send_response(400 if last == "fail" else 200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        if last == "fail":
            self.wfile.write(b'{"error": {"message": "bad key sk-secret given"}}')
            return
        for piece in ("You said: ", last, " \x1b[31m"):
            chunk = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
            delta = {"index": 0, "delta": {"content": piece}, "finish_reason": None}
            self.wfile.write(b"data: " + json.dumps({**chunk, "choices": [delta]}).encode() + b"\n\n")
            if last == "break":
                self.wfile.write(b"data: {not json}\n\n")
        self.wfile.write(b"data: [DONE]\n\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def base_url() -> Iterator[str]:
    """Such a server."""
    Model.requests.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Model)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


def only_session(memory: ChatMemory) -> Session:
    """The one session that was made."""
    sessions = memory.tenant("default").sessions
    [info] = sessions.list()
    return sessions.get(info.id)


def contents(session: Session) -> list[tuple[str, Any]]:
    """Return the contents of the session."""
    return [(message.role, message.content) for message in session.history()]


def test_offline_and_resume(cli: Cli, memory: ChatMemory) -> None:
    """Without a model a responder says that it is none; the session is resumed by the command that was printed."""
    first = cli("chat", stdin="Hello there\n\n")
    assert "offline responder, not a language model" in first.stdout
    assert "No language model is configured" in first.stderr
    found = re.search(r"chat --session (\S+)", first.stderr)
    assert found
    second = cli("chat", "--session", found[1], stdin="What did I say?\n")
    assert "you said: “Hello there”" in second.stdout
    assert [role for role, _ in contents(only_session(memory))] == ["user", "assistant"] * 2


def test_nothing_said_nothing_stored(cli: Cli, memory: ChatMemory) -> None:
    """Opening a chat and leaving it makes no session."""
    cli("chat", stdin="\n")
    assert memory.tenant("default").sessions.list(with_total=True).total == 0


def test_model(cli: Cli, memory: ChatMemory, base_url: str) -> None:
    """A server's answer is streamed and stored; the history goes along, the key only in the header."""
    done = cli("chat", "--model", "m", stdin="one\ntwo\n", OPENAI_BASE_URL=base_url, OPENAI_API_KEY="sk-secret")
    assert "You said: one" in done.stdout
    assert "\x1b" not in done.stdout
    assert "sk-secret" not in done.stdout + done.stderr
    said = [message["content"] for message in Model.requests[-1]["messages"]]
    assert said == ["one", "You said: one \x1b[31m", "two"]
    assert Model.requests[-1]["authorization"] == "Bearer sk-secret"
    assert contents(only_session(memory))[-1] == ("assistant", "You said: two \x1b[31m")


def test_context_is_bounded(cli: Cli, base_url: str) -> None:
    """The model is shown as many messages as --context says."""
    cli("chat", "--base-url", base_url, "--context", "3", stdin="one\ntwo\nthree\n")
    assert len(Model.requests[-1]["messages"]) == 3


def test_memories_are_recalled(cli: Cli, memory: ChatMemory, base_url: str) -> None:
    """A memory of another session stands before the line, as data; --no-recall leaves it out."""
    memory.tenant("default").memories.remember("Ann lives in Lisbon.", user_id="ann")
    line = "Where in Lisbon does Ann live?\n"
    offline = cli("chat", "--user", "ann", stdin=line)
    assert "I recall: “Ann lives in Lisbon.”" in offline.stdout
    assert "Lisbon." not in cli("chat", "--user", "ann", "--no-recall", stdin=line).stdout
    cli("chat", "--base-url", base_url, "--user", "ann", "--model", "m", stdin=line)
    notes, question = Model.requests[-1]["messages"]
    assert (notes["role"], question["content"]) == ("user", line.strip())
    assert "Ann lives in Lisbon." in notes["content"]
    cli("chat", "--base-url", base_url, "--user", "ann", "--no-recall", stdin=line)
    assert len(Model.requests[-1]["messages"]) == 1


def test_failing_model(cli: Cli, memory: ChatMemory, base_url: str) -> None:
    """When the server fails, the line is stored, the error is readable, and the talk goes on."""
    done = cli("chat", "--base-url", base_url, stdin="fail\nagain\n", code=1, OPENAI_API_KEY="sk-secret")
    assert "Your message is stored" in done.stderr
    assert "sk-secret" not in done.stderr
    assert [role for role, _ in contents(only_session(memory))] == ["user", "user", "assistant"]


def test_reply_that_breaks_off(cli: Cli, memory: ChatMemory, base_url: str) -> None:
    """Half a reply is not stored as if it were one."""
    done = cli("chat", "--base-url", base_url, stdin="break\nagain\n", code=1)
    assert "broke off" in done.stderr
    assert [role for role, _ in contents(only_session(memory))] == ["user", "user", "assistant"]


def test_unreachable_model(cli: Cli, memory: ChatMemory) -> None:
    """No server at all is the same."""
    done = cli("chat", "--base-url", "http://127.0.0.1:1/v1", stdin="hello\n", code=1)
    assert "gave no reply" in done.stderr
    assert contents(only_session(memory)) == [("user", "hello")]


def test_what_cannot_be_stored(cli: Cli, memory: ChatMemory) -> None:
    """A line that cannot be stored is refused, and the talk goes on."""
    done = cli("chat", stdin="nul \0 here\nhello\n", code=1)
    assert "Not stored: " in done.stderr
    assert contents(only_session(memory))[0] == ("user", "hello")


def test_ended_session_is_followed_by_a_new_one(cli: Cli, memory: ChatMemory) -> None:
    """Resuming a session that has ended says so, and makes another."""
    old = memory.tenant("default").sessions.create(user_id="ann")
    old.end()
    assert "is completed and accepts no more messages" in cli("chat", "--session", old.id, stdin="hi\n").stderr
    assert old.refresh().message_count == 0
    assert memory.tenant("default").sessions.list(with_total=True).total == 2


def test_an_expired_session_is_continued(cli: Cli, memory: ChatMemory) -> None:
    """A person gets the chat back."""
    session = memory.tenant("default").sessions.create(user_id="ann")
    session.append("user", "Before")
    session.expire()
    result = cli("chat", "--session", session.id, "--user", "ann", stdin="Still there?\n")
    assert f"--session {session.id}" in result.stderr
    assert [message.text for message in session.history()][:2] == ["Before", "Still there?"]


def test_foreign_session(cli: Cli, memory: ChatMemory) -> None:
    """Another user's session is not there."""
    other = memory.tenant("default").sessions.create(user_id="ben")
    assert "no session" in cli("chat", "--session", other.id, stdin="hi\n", code=1).stderr


def test_in_a_terminal(cli: Cli, memory: ChatMemory) -> None:
    """At a terminal there is a prompt, /quit ends the talk, and a reply's escape sequences stay harmless."""
    keyboard, terminal = os.openpty()
    os.write(keyboard, b"red [bold] \xc2\x9b5m\n/quit\n")
    words = [sys.executable, "-m", "chatmemory.cli", "chat"]
    done = subprocess.run(
        words, stdin=terminal, capture_output=True, env=cli.environment, cwd=cli.folder, timeout=60, check=True
    )
    os.close(keyboard)
    os.close(terminal)
    assert b"you> " in done.stdout
    assert b"/quit or Ctrl-D ends the conversation." in done.stderr
    assert contents(only_session(memory))[0] == ("user", "red [bold] \x9b5m")
    again = cli("chat", "--session", only_session(memory).id, stdin="and?\n")
    assert r"red [bold] \u009b5m" in again.stdout
    assert "\x9b" not in again.stdout + again.stderr


def test_ctrl_c(cli: Cli, memory: ChatMemory) -> None:
    """Ctrl-C ends with 130, says how to resume, and what was said is stored."""
    process = subprocess.Popen(
        [sys.executable, "-m", "chatmemory.cli", "chat"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=cli.environment,
        cwd=cli.folder,
    )
    assert process.stdin
    assert process.stdout
    process.stdin.write("hello\n")
    process.stdin.flush()
    assert "offline responder" in process.stdout.readline()
    deadline = time.monotonic() + 60
    while only_session(memory).info.message_count < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, trouble = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Resume with: " in trouble
    assert "Traceback" not in trouble
    assert len(contents(only_session(memory))) == 2
