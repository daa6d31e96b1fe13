"""Processes that exit without closing their memory."""

import subprocess
import sys

import pytest

from chatmemory import ChatMemory


@pytest.mark.parametrize("half", ["sync", "async"])
def test_what_is_late_arrives_when_the_process_exits(
    cached_memory: ChatMemory, postgres_url: str, redis_url: str, half: str
) -> None:
    """The window in Redis, which nobody else refreshes, holds what was appended right before the exit."""
    session = cached_memory.tenant("acme").sessions.create(user_id="ann")
    session.append("user", "the first")
    session.context()
    command = [sys.executable, "-m", "tests.processes.leaving", postgres_url, redis_url, session.id, half]
    subprocess.run(command, check=True, timeout=60, capture_output=True)
    context = session.context()
    assert [message.text for message in context] == ["the first", "the last"]
    assert context.source == "redis"
