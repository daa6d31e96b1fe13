# Generated from tests/_async/test_many_memories.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
from collections.abc import Sequence

import psycopg
import pytest

from chatmemory import ChatMemory, Recalled, Settings

PLACES = "update chatmemory.memory_users set places = %s"
WORDS = ("boat", "river", "office", "tea", "garden", "violin", "train", "lamp")


class Letters:
    """Means by the letters of a text, more or fewer of each than usual."""

    name, dimensions = "letters", 26

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the frequency of each letter in each text."""
        return [[text.lower().count(letter) - 0.7 for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]


def found(recalled: list[Recalled]) -> list[tuple[str, float]]:
    """Texts and scores."""
    return [(each.memory.text, round(each.score, 6)) for each in recalled]


def keep(memory: ChatMemory, tenant_id: str = "acme") -> None:
    """Keep a fact of every pair of words."""
    memories = memory.tenant(tenant_id).memories
    for first in WORDS:
        for second in WORDS:
            memories.remember(f"{first} and {second}", user_id="ann", kind="summary")


def test_nearest_by_signs(postgres_url: str, settings: Settings) -> None:
    """For a user with many memories, vectors are compared by their signs first, with the same results."""
    with ChatMemory.open(postgres_url, settings=settings, embedder=Letters()) as memory:
        keep(memory)
        keep(memory, "other")
        memories = memory.tenant("acme").memories
        exact = found(memories.recall("zgzardenz", user_id="ann", k=20))
        with psycopg.connect(postgres_url) as connection:
            connection.execute(PLACES, (1_000_000,))
        assert found(memories.recall("zgzardenz", user_id="ann", k=20)) == exact
        assert len(exact) == 20


def test_places_are_ranked_before_memories_are_read(memory: ChatMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the words have many places, only the best are read, and the first results are the same."""
    keep(memory)
    memories = memory.tenant("acme").memories
    all_of_them = found(memories.recall("boat, river or violin", user_id="ann", k=5))
    for most, seen in (((200, 6),), 6), (((200, 6), (200, 400)), 39):
        for half in ("_sync", "_sync"):
            monkeypatch.setattr(f"chatmemory.{half}.memories.recall.CANDIDATES", most)
        assert found(memories.recall("boat, river or violin", user_id="ann", k=5)) == all_of_them
        assert len(memories.recall("boat, river or violin", user_id="ann", k=50)) == seen
