"""A process of one release that serves conversations until it is told to stop.

    python release_work.py URL NAME STOP

It uses only what every release has, and imports nothing of the tests. It prints a line for each turn, and at the end
the ids of all messages that were acknowledged, as JSON. STOP is a file: when it is there, the process ends.
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from chatmemory import ChatMemory, Settings

TURNS = 3  # of one conversation
CITIES = ("Lisbon", "Oslo", "Quito", "Hanoi", "Perth")


class Compass:
    """An embedder that needs no model."""

    name = "compass"
    dimensions = 8

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """The letters of each text, counted by their number modulo 8."""
        return [[1.0 + sum(ord(letter) % 8 == n for letter in text) for n in range(8)] for text in texts]


def main(url: str, name: str, stop: str) -> None:
    """Hold one conversation after the other, each with the next user."""
    acknowledged: list[tuple[str, str]] = []
    with ChatMemory.open(url, settings=Settings(cleanup_inactive_sessions=False), embedder=Compass()) as memory:
        number = 0
        while not Path(stop).exists():
            acknowledged += converse(memory, name, number)
            number += 1
    print(json.dumps(acknowledged), flush=True)


def converse(memory: ChatMemory, name: str, number: int) -> list[tuple[str, str]]:
    """Resume at each turn, append, read, end, learn, recall; return what was acknowledged."""
    tenant, user, city = memory.tenant("acme"), f"{name}-{number}", CITIES[number % len(CITIES)]
    session_id, acknowledged = None, []
    for turn in range(TURNS):
        session = tenant.sessions.resume_or_create(session_id, user_id=user)
        assert session_id in (None, session.id), "it was not resumed"
        session_id = session.id
        for role, text in (("user", f"Turn {turn}: I want to work from {city}."), ("assistant", f"{city}: noted.")):
            message_id = f"{user}-{turn}-{role}"
            session.append(role, text, message_id=message_id)
            acknowledged.append((session.id, message_id))
        assert session.context(max_tokens=1000).messages[-1].id == acknowledged[-1][1]
        print(name, number, turn, flush=True)
    assert [message.id for message in session.history(limit=2 * TURNS)] == [id for _, id in acknowledged]
    session.end()
    while not (found := tenant.memories.recall(f"work from {city}", user_id=user, k=3)):
        report = memory.run_due(limit=3)  # another process may have claimed it
        assert not report.failed, report
    assert city in found[0].memory.text
    return acknowledged


if __name__ == "__main__":
    main(*sys.argv[1:])
