"""A process whose calls are interrupted at any moment, as Jupyter interrupts a cell; it says what is left then.

python -m tests.processes.interrupted URL REDIS_URL TIMES
"""

import json
import random
import signal
import sys
import threading
import time

from chatmemory import ChatMemory, Session, Settings

SETTINGS = Settings(cleanup_inactive_sessions=False)
PATIENCE = 60.0
LONGEST = 0.003  # seconds until an interrupt, a few calls


class Interrupts:
    """Each `with` block is interrupted after a moment, and not once it is over."""

    def __init__(self) -> None:
        self._armed = False
        self._random = random.Random(1)
        signal.signal(signal.SIGINT, self._interrupt)

    def _interrupt(self, *_: object) -> None:
        if self._armed:
            raise KeyboardInterrupt

    def during(self, session: Session, name: str) -> bool:
        """Work in a session until an interrupt comes; whether it was heard."""
        main = threading.main_thread().ident
        assert main is not None
        delay = self._random.random() * LONGEST
        timer = threading.Timer(delay, signal.pthread_kill, (main, signal.SIGINT))
        heard = False
        try:
            self._armed = True
            timer.start()
            while timer.is_alive():
                work(session, name, self._random)
        except KeyboardInterrupt:
            heard = True
        finally:
            self._armed = False
        timer.join()
        return heard


def work(session: Session, name: str, chance: random.Random) -> None:
    """One call of a cell, which sees nothing but its own session."""
    call = chance.choice(("append", "context", "recall", "both"))
    if call == "append":
        session.append("user", name)
    elif call == "recall":
        session.context(500, query="cat")
    else:
        appended = call == "both" and session.append("user", name)
        context = session.context(500)
        assert {message.text for message in context} == {name}
        if appended:  # an append that was interrupted may still arrive behind it
            assert context.messages[-1].seq >= appended.seq


def main(url: str, redis_url: str, times: str) -> None:
    """Interrupt two sessions by turns, and count."""
    interrupts = Interrupts()
    with ChatMemory.open(url, redis=redis_url, settings=SETTINGS) as memory:
        acme = memory.tenant("acme")
        sessions = {name: acme.sessions.create(user_id=name) for name in ("ann", "bob")}
        for name, session in sessions.items():
            session.append("user", name)
        heard = 0
        for _ in range(int(times)):
            for name, session in sessions.items():
                heard += interrupts.during(session, name)
                work(session, name, random.Random(0))
        whole = all(
            [message.seq for message in session.messages()] == list(range(1, session.refresh().last_seq + 1))
            for session in sessions.values()
        )
        pool = memory._database._pool
        assert pool is not None
        until, lost = time.monotonic() + PATIENCE, 1
        while lost and time.monotonic() < until:  # one that was given up is being replaced
            stats = pool.get_stats()
            lost = stats["pool_size"] - stats["pool_available"]
    print(json.dumps({"heard": heard, "whole": whole, "lost": lost}))


if __name__ == "__main__":
    main(*sys.argv[1:])
