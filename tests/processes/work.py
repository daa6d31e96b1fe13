"""The work of the test processes, and starting them together."""

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import timedelta
from multiprocessing import get_context
from threading import Barrier
from typing import TypeVar

import psycopg

from chatmemory import ChatMemory, ChatMemoryError, MessageConflictError, SessionEndedError, Settings

T = TypeVar("T")

TENANT, USER = "acme", "ada"
PROCESSES = 8

_everybody_is_here: Barrier


def open_memory(url: str, **settings: float) -> ChatMemory:
    """A memory without clean-up beside the test's work."""
    return ChatMemory.open(url, settings=Settings(cleanup_inactive_sessions=False, **settings))  # type: ignore[arg-type]


def new_session(url: str) -> str:
    """An empty session; returns its id."""
    with open_memory(url) as memory:
        return memory.tenant(TENANT).sessions.create(user_id=USER).id


def stored(url: str, session_id: str) -> list[tuple[int, str]]:
    """(seq, id) of all messages, as they stand there; checks that seq is 1, 2, 3 … and that no id stands twice."""
    with open_memory(url) as memory:
        session = memory.tenant(TENANT).sessions.get(session_id)
        messages = [(message.seq, message.id) for message in session.messages()]
        assert [seq for seq, _ in messages] == list(range(1, len(messages) + 1))
        assert len({id for _, id in messages}) == len(messages)
        assert (session.info.last_seq, session.info.message_count) == (len(messages), len(messages))
    return messages


def together(work: Callable[[str, str, int], T], url: str, session_id: str = "") -> list[T]:
    """Run `work(url, session_id, number)` in 8 processes that begin at the same moment; return what they return."""
    spawn = get_context("spawn")
    barrier = spawn.Barrier(PROCESSES)
    with ProcessPoolExecutor(PROCESSES, mp_context=spawn, initializer=_wait_for, initargs=(barrier,)) as pool:
        running = [pool.submit(_at_once, work, url, session_id, number) for number in range(PROCESSES)]
        return [each.result(timeout=60) for each in running]


def _wait_for(barrier: Barrier) -> None:
    global _everybody_is_here
    _everybody_is_here = barrier


def _at_once(work: Callable[[str, str, int], T], url: str, session_id: str, number: int) -> T:
    _everybody_is_here.wait(timeout=60)
    return work(url, session_id, number)


def append_250(url: str, session_id: str, number: int) -> list[tuple[int, str]]:
    """Append 250 messages of this process's own."""
    with open_memory(url) as memory:
        session = memory.tenant(TENANT).sessions.get(session_id)
        messages = [session.append("user", f"{number} {turn}", message_id=f"{number}-{turn}") for turn in range(250)]
    return [(message.seq, message.id) for message in messages]


def append_the_same_50(url: str, session_id: str, number: int) -> list[tuple[int, str]]:
    """Append the 50 messages that all the others append too, each process beginning with another one."""
    turns = [(turn + 6 * number) % 50 for turn in range(50)]
    with open_memory(url) as memory:
        session = memory.tenant(TENANT).sessions.get(session_id)
        messages = [session.append("user", f"text {turn}", message_id=f"id-{turn}") for turn in turns]
    return sorted((message.seq, message.id) for message in messages)


def append_other_content(url: str, session_id: str, number: int) -> list[str]:
    """Append 20 ids that all the others append too, with content of this process's own; return the ids it got."""
    won = []
    with open_memory(url) as memory:
        session = memory.tenant(TENANT).sessions.get(session_id)
        for turn in range(20):
            try:
                session.append("user", f"from {number}", message_id=f"id-{turn}")
                won.append(f"id-{turn}")
            except MessageConflictError:
                continue
    return won


def first_use(url: str, _session_id: str, number: int) -> tuple[int, int]:
    """Use a database for the first time; return its schema version and how many messages a session got."""
    with open_memory(url) as memory:
        session = memory.tenant(TENANT).sessions.create(user_id=f"user {number}")
        session.append("user", "the first")
        count = len(session.history())
    with psycopg.connect(url) as connection:
        row = connection.execute("select max(version) from chatmemory.schema_migrations").fetchone()
    assert row is not None
    return row[0], count


def reopen_and_push_out(url: str, _session_id: str, number: int) -> int:
    """Resume the same five threads of one user, each process in another order, with room for three of them."""
    turns = 0
    with open_memory(url, max_sessions_per_user=3) as memory:
        sessions = memory.tenant(TENANT).sessions
        for turn in range(15):
            id = f"thread-{(number * 7 + turn * (number % 4 + 1)) % 5}"
            session = sessions.resume_or_create(id, user_id="ann", on_missing="adopt")
            assert session.id == id
            with suppress(SessionEndedError):  # another process has just pushed it out
                session.append("user", f"{number}-{turn}")
                turns += 1
            if turn % 5 == 0:
                sessions.end_inactive(timedelta(hours=1))
    return turns


def write_until_killed(url: str, session_id: str, name: str) -> None:
    """Append for ever; print the session's id, and then the seq and id of each message once it is acknowledged."""
    with open_memory(url) as memory:
        session = memory.tenant(TENANT).sessions.resume_or_create(session_id, user_id=USER)
        print(session.id, flush=True)
        sys.stdin.readline()  # the test says when
        turn = 0
        while True:
            message = session.append("user", f"message {turn} of {name}", message_id=f"{name}-{turn}")
            print(message.seq, message.id, flush=True)
            turn += 1


class Load:
    """One thread's appends, each made once: what was acknowledged, and what ended in an error."""

    def __init__(self, memory: ChatMemory, session_id: str, name: str) -> None:
        self._session = memory.tenant(TENANT).sessions.get(session_id)
        self._name = name
        self.acknowledged: list[tuple[int, str]] = []
        self.failed: list[tuple[str, ChatMemoryError]] = []

    def append(self) -> None:
        """Append the next message."""
        turn = len(self.acknowledged) + len(self.failed)
        id = f"{self._name}-{turn}"
        try:
            message = self._session.append("user", f"secret content {turn}", message_id=id)
        except ChatMemoryError as error:
            self.failed.append((id, error))
        else:
            self.acknowledged.append((message.seq, message.id))


if __name__ == "__main__":
    write_until_killed(*sys.argv[1:])
