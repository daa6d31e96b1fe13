"""Workers that stop themselves, for good or until they are told to go on, at a given step of their work.

A step is the moment before a statement or a request to a model; after the last statement of a transaction comes its
commit, and then the first step of the next. Each worker is a process of its own, forked
from one that has imported everything, so that there may be many.
"""

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import httpx
import psycopg

import chatmemory._sync.memories.openai_client
from chatmemory import ChatMemory, Settings


class Steps:
    """Counts, and sends this process a signal at one step."""

    def __init__(self, at: int, number: signal.Signals) -> None:
        self._left = at
        self._number = number

    def before(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The call, with a step before it."""

        def counted(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), self._number)
            return call(*arguments, **named)

        return counted


def settings(server_url: str) -> Settings:
    """Two messages are a batch, so that a session takes several."""
    return Settings(
        cleanup_inactive_sessions=False,
        llm_model="teacher",
        llm_base_url=server_url,
        llm_api_key="none",
        embedding_model="compass",
        consolidation_messages=4,
        consolidation_batch_tokens=100,
        worker_lease_seconds=1,
    )


def work(url: str, server_url: str, steps: Steps) -> None:
    """Learn from one batch."""
    with ChatMemory.open(url, settings=settings(server_url)) as memory:
        memory.tenant("acme").sessions.list()  # connecting is no step
        psycopg.Connection.execute = steps.before(psycopg.Connection.execute)  # type: ignore[method-assign]
        httpx.Client.send = steps.before(httpx.Client.send)  # type: ignore[method-assign]
        memory.run_due(limit=1)  # one batch has every kind of step


def start(url: str, server_url: str, steps: Steps) -> int:
    """A worker in a process of its own."""
    pid = os.fork()
    if pid == 0:
        try:
            work(url, server_url, steps)
        finally:
            os._exit(0)
    return pid


def ended(pid: int) -> str:
    """Wait until a worker is done, was killed, or has stopped."""
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        return "stopped"
    return "killed" if os.WIFSIGNALED(status) else "done"


def main(url: str, server_url: str) -> None:
    """Start a worker for each line `SIGNAL step`, and tell how it ended; `go` lets a stopped one go on."""
    assert chatmemory._sync.memories.openai_client  # imported before the fork
    pid = 0
    for line in sys.stdin:
        match line.split():
            case ["go"]:
                os.kill(pid, signal.SIGCONT)
            case [name, step]:
                pid = start(url, server_url, Steps(int(step), signal.Signals[name]))
        print(ended(pid), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
