"""A migration that adds a column, while calls are under way whose plans were made before it."""

import threading
from collections import Counter

import psycopg

from chatmemory import ChatMemory, ChatMemoryError, Sessions

COLUMNS = 25


class Calls:
    """A thread that makes every kind of call that reads or returns a session's row."""

    def __init__(self, sessions: Sessions, user: str, stop: threading.Event, made: threading.Semaphore) -> None:
        self._sessions, self._user, self._stop, self._made = sessions, user, stop, made
        self.errors: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._round()
            except ChatMemoryError as error:
                self.errors[repr(error)] += 1
            self._made.release()

    def _round(self) -> None:
        session = self._sessions.create(user_id=self._user)
        session.append("user", "Hello")
        self._sessions.resume_or_create(session.id, user_id=self._user)
        session.update(title="Greetings")
        session.fork().delete()
        session.end()
        assert self._sessions.get(session.id).info.title == "Greetings"
        assert self._sessions.list(user_id=self._user, limit=5)

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()


def test_calls_go_on_while_a_migration_adds_columns(memory: ChatMemory, postgres_url: str) -> None:
    """No call fails on a plan from before the migration: nothing of it was done, so it is repeated."""
    stop, made = threading.Event(), threading.Semaphore(0)
    sessions = memory.tenant("acme").sessions
    calls = [Calls(sessions, f"user-{number}", stop, made) for number in range(4)]
    try:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            for number in range(COLUMNS):
                for _ in calls:
                    made.acquire()
                connection.execute(f"alter table chatmemory.sessions add column later_{number} text".encode())
    finally:
        stop.set()
        for each in calls:
            each.join()
    assert sum((each.errors for each in calls), Counter()) == Counter()
