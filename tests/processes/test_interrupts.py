"""Calls that are interrupted in the middle, as in a notebook."""

import _thread
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest

from chatmemory import ChatMemory, Settings


def test_no_interrupt_breaks_what_comes_after_it(memory: ChatMemory, postgres_url: str, redis_url: str) -> None:
    """After hundreds of interrupts at any moment no connection is lost, no answer is another call's, seq has no gap."""
    memory.tenant("acme").sessions.list()
    command = [sys.executable, "-m", "tests.processes.interrupted", postgres_url, redis_url, "200"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found.pop("heard") > 380  # Python ignores one that comes while it collects garbage
    assert found == {"whole": True, "lost": 0}


class Interrupt(int):
    """A signal that arrives when `arrives` is read.

    Reading an attribute is no moment at which Python handles signals: it handles this one at the next such moment of
    the traced code, as it would a real one, and never between the end of a `with` body and its lock's release.
    """

    arrives = property(_thread.interrupt_main)  # gets the number


STRIDE = 5  # lines; one by one, the test would take two minutes
SIGINT = Interrupt(signal.SIGINT)


class AtLine:
    """Has SIGINT arrive at the nth line that runs in the body, counted over all Python code."""

    def __init__(self, nth: int) -> None:
        self.lines, self.nth = 0, nth

    def __enter__(self) -> None:
        sys.settrace(self._trace)

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line":
            self.lines += 1
            if self.lines == self.nth:
                sys.settrace(None)  # the next call of this function would be such a moment
                assert SIGINT.arrives is None
        return self._trace


@pytest.mark.parametrize("call", ["append", "append_and_context", "context", "list", "recall", "refresh"])
def test_an_interrupt_at_any_line(postgres_url: str, redis_url: str, call: str) -> None:
    """At each line of a call, also the driver's: neither of two connections is lost, and no lock stays locked.

    The tracebacks are kept, as a notebook keeps the last one: what they refer to is never collected.
    """
    settings = Settings(cleanup_inactive_sessions=False, postgres_pool_min_size=2, postgres_pool_max_size=2)
    kept: list[BaseException] = []
    with ChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        acme = memory.tenant("acme")
        session = acme.sessions.create(user_id="ann")
        calls: dict[str, Callable[[], object]] = {
            "append": lambda: session.append("user", "I have a cat."),
            "append_and_context": lambda: session.append_and_context([{"role": "user", "content": "A cat."}]),
            "context": lambda: session.context(500),
            "list": lambda: list(acme.sessions.list(user_id="ann")),
            "recall": lambda: acme.memories.recall("cat", user_id="ann"),
            "refresh": lambda: session.refresh(),
        }
        for each in calls.values():
            each()
        nth, done = 0, False
        while not done:
            nth += STRIDE
            at = AtLine(nth)
            try:
                with at:
                    calls[call]()
                    for _ in range(3):  # one that came at the last line is handled before the body ends
                        pass
            except KeyboardInterrupt as interrupt:
                kept.append(interrupt)
            done = at.lines < nth
            session.append("user", "And on.")
        assert nth > 30
        assert len(kept) == nth // STRIDE - 1
        assert [message.seq for message in session.messages()] == list(range(1, session.refresh().last_seq + 1))
        for each in calls.values():
            each()
        assert session.context(500).messages[-1].seq == session.refresh().last_seq
        cache = memory._parts.recent
        assert cache.size == sum(cached.size for cached in cache._sessions.values())
