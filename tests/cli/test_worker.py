"""`worker`, as a process that is told to stop."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

import pytest

from chatmemory import ChatMemory, Session
from tests.cli.conftest import Cli

PATIENCE = 60


class Model(ThreadingHTTPServer):
    """An OpenAI-compatible server that answers when the test lets it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.asked, self.may_answer, self.status = Event(), Event(), 200

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment that points the command at this server."""
        url = f"http://127.0.0.1:{self.server_port}/v1"
        return {"CHATMEMORY_LLM_MODEL": "m", "CHATMEMORY_LLM_BASE_URL": url, "CHATMEMORY_LLM_API_KEY": "k"}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Whoever asked may have gone."""


class _Answer(BaseHTTPRequestHandler):
    server: Model

    def do_POST(self) -> None:
        """Answer a question with a summary and no facts."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.set()
        assert self.server.may_answer.wait(PATIENCE)
        content = json.dumps({"summary": "They greet each other.", "facts": []})
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        reply = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
        body = json.dumps({**reply, "usage": usage}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def model() -> Iterator[Model]:
    """Such a server."""
    with Model() as server:
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.may_answer.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def session(memory: ChatMemory) -> Session:
    """A session that is due."""
    session = memory.tenant("default").sessions.create(user_id="ann")
    for number in range(4):
        session.append("user", f"Hello {number}")
    session.end()
    return session


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(cli: Cli) -> Iterator[Start]:
    """Starts a worker that is gone when the test is."""
    started = []

    def start(**environment: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "chatmemory.cli", "worker", "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=cli.folder,
            env={**cli.environment, **environment},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_once(cli: Cli, memory: ChatMemory, session: Session) -> None:
    """With --once it learns from what is due, in every tenant, and ends."""
    other = memory.tenant("acme").sessions.create(user_id="bob")
    other.append_many([{"role": "user", "content": "Good morning"}] * 4)
    other.end()
    done = cli("worker", "--once", "--concurrency", "2", "--json")
    assert json.loads(done.stdout) == {"processed": 2, "failed": 0, "parked": 0}
    logged = [line for line in done.stderr.splitlines() if "INFO chatmemory" in line]
    assert len(logged) == 2
    assert any(
        f"tenant 'acme', session {other.id!r}: learnt from messages 1 to 4; memories: " in line for line in logged
    )
    assert cli("worker", "--once").stdout.startswith("Nothing is due: a session is due when it has ended or")
    assert len(memory.tenant("acme").memories.recall("morning", user_id="bob")) == 4


def test_a_signal_lets_it_finish(start: Start, model: Model, memory: ChatMemory, session: Session) -> None:
    """Told to stop while a model answers, it waits for the answer, keeps what was learnt, and exits with 0."""
    worker = start(**model.environment)
    assert model.asked.wait(PATIENCE)
    worker.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        worker.wait(0.5)  # it must not end by itself
    model.may_answer.set()
    out, _ = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0
    assert json.loads(out) == {"processed": 1, "failed": 0, "parked": 0}
    assert memory.tenant("default").sessions.get(session.id).summary == "They greet each other."


def test_an_idle_worker_ends_at_once(start: Start, memory: ChatMemory, session: Session) -> None:
    """Without anything to do it does not wait for its next look."""
    worker = start(CHATMEMORY_WORKER_POLL_SECONDS="3600")
    memories = memory.tenant("default").memories
    while not memories.list(with_total=True).total:
        assert worker.poll() is None
    worker.send_signal(signal.SIGINT)
    worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 0


def test_a_second_signal_hands_back(start: Start, model: Model, memory: ChatMemory, session: Session) -> None:
    """Told twice, it ends without an answer, and another worker may begin at once: no lease is left."""
    worker = start(**model.environment)
    assert model.asked.wait(PATIENCE)
    worker.send_signal(signal.SIGTERM)
    worker.send_signal(signal.SIGINT)
    worker.communicate(timeout=PATIENCE)
    assert worker.returncode in (128 + signal.SIGTERM, 128 + signal.SIGINT)
    assert memory.tenant("default").memories.list(with_total=True).total == 0
    assert memory.run_due().processed == 1


def test_parked_sessions_are_told_and_taken_up_again(cli: Cli, model: Model, session: Session) -> None:
    """A session whose model fails too often is parked, which doctor tells; --retry-parked tries it again."""
    model.status = 401
    model.may_answer.set()
    words = {**model.environment, "CHATMEMORY_WORKER_MAX_ATTEMPTS": "1"}
    page = cli("worker", "--once", code=1, **words).stdout
    assert "1 attempt failed" in page
    assert "1 session parked" in page
    assert "1 session parked" in cli("doctor").stdout
    assert cli.json("worker", "--once")["processed"] == 0
    assert cli.json("worker", "--once", "--retry-parked") == {"processed": 1, "failed": 0, "parked": 0}
