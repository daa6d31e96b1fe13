"""One AsyncChatMemory in two event loops, and a fork beside a thread that appends."""

import os
import subprocess
import sys
import threading

import pytest

from chatmemory import ChatMemory, Session, Settings

TWO_LOOPS = """
import asyncio, sys
from chatmemory import AsyncChatMemory

async def use(memory):
    session = await memory.tenant("acme").sessions.create(user_id="ann")
    await session.append("user", "Hello.")
    await session.context()

async def close(memory):
    await memory.close()

memory = AsyncChatMemory.open(sys.argv[1], redis=sys.argv[2])
asyncio.run(use(memory))
asyncio.run(close(memory))
print("closed")
"""


def test_a_memory_of_two_loops_can_be_closed(postgres_url: str, redis_url: str) -> None:
    """The parts of the loop that has ended are abandoned, and the log says what to do."""
    command = [sys.executable, "-c", TWO_LOOPS, postgres_url, redis_url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "closed\n", done.stderr
    assert "several event loops" in done.stderr


@pytest.mark.timeout(120)
def test_a_child_forked_while_a_thread_appends_can_use_the_handle(
    postgres_url: str, redis_url: str, settings: Settings
) -> None:
    """Whatever lock the thread holds at that moment: each child appends and reads, and exits."""
    with ChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        sessions = memory.tenant("acme").sessions
        session = sessions.create(user_id="ann")
        run = sessions.create(user_id="ann", kind="training")
        stop = threading.Event()

        def append() -> None:
            while not stop.is_set():
                session.append("user", "parent")
                session.context()
                run.log_metrics({"loss": 1.0})

        threads = [threading.Thread(target=append) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            codes = [_code_of_a_child(session, run) for _ in range(20)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        assert codes == [0] * 20
        assert [message.text for message in session.messages()].count("child") == 20


def _code_of_a_child(session: Session, run: Session) -> int:
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            session.append("user", "child")
            session.context()
            session.history()
            run.log_metrics({"loss": 2.0})
            run.flush()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
