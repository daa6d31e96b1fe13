"""Calls that are interrupted in the middle, as in a notebook."""

import json
import subprocess
import sys

from chatmemory import ChatMemory


def test_no_interrupt_breaks_what_comes_after_it(memory: ChatMemory, postgres_url: str, redis_url: str) -> None:
    """After hundreds of interrupts at any moment no connection is lost, no answer is another call's, seq has no gap."""
    memory.tenant("acme").sessions.list()
    command = [sys.executable, "-m", "tests.processes.interrupted", postgres_url, redis_url, "200"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found.pop("heard") > 380  # Python ignores one that comes while it collects garbage
    assert found == {"whole": True, "lost": 0}
