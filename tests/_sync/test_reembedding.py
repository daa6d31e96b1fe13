# Generated from tests/_async/test_reembedding.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
from collections.abc import Sequence

import pytest

from chatmemory import (
    ChatMemory,
    ConfigurationError,
    Embedder,
    InvalidInputError,
    LlmError,
    Reembedded,
    Settings,
    Tenant,
)

SAID = ("I moved to Lisbon.", "Lovely. Do you like it?", "The river above all.", "And the office?", "It is noisy.")


class Letters:
    """Means by the letters of a text; may be told to fail after so many texts."""

    def __init__(self, name: str, letters: str, *, most: int = 10_000) -> None:
        self.name, self._letters, self.left = name, letters, most
        self.dimensions = len(letters)

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return the frequency of each letter in each text."""
        self.left -= len(texts)
        if self.left < 0:
            raise RuntimeError
        return [[text.lower().count(letter) + 0.1 for letter in self._letters] for text in texts]


def old() -> Letters:
    """The model that memories were learnt with."""
    return Letters("old", "abcdefghi")


def new(most: int = 10_000) -> Letters:
    """The model that takes its place, with vectors of another length."""
    return Letters("new", "abcdefghijklmnopqrstuvwxyz", most=most)


def opened(settings: Settings, url: str, embedder: Embedder | None) -> ChatMemory:
    """A memory with an embedder."""
    return ChatMemory.open(url, settings=settings, embedder=embedder)


def learn(memory: ChatMemory, tenant_id: str) -> None:
    """Learn a short talk, and keep a fact."""
    tenant = memory.tenant(tenant_id)
    session = tenant.sessions.create(user_id="ann")
    for text in SAID:
        session.append("user", text)
    session.end()
    memory.run_due()
    tenant.memories.remember("Ann rows.", user_id="ann")


def by_meaning(tenant: Tenant) -> list[tuple[str, float]]:
    """Return the texts and scores found by meaning only, except the farthest, whose score is 0.

    The question shares no word with anything.
    """
    found = tenant.memories.recall("zzz", user_id="ann")
    assert all(set(each.ranks) == {"vector"} for each in found)
    return [(each.memory.text, round(each.score, 5)) for each in found]


def test_vectors_of_a_new_model(postgres_url: str, settings: Settings) -> None:
    """Re-embedding may stop half-way; either model recalls meanwhile, and the old one until its vectors go."""
    with (
        opened(settings, postgres_url, old()) as before,
        opened(settings, postgres_url, new()) as after,
    ):
        learn(before, "acme")
        was, becomes = before.tenant("acme"), after.tenant("acme")
        known = by_meaning(was)
        assert len(known) == 5
        assert by_meaning(becomes) == []
        assert [each.memory.text for each in becomes.memories.recall("Who rows?", user_id="ann", k=1)]
        assert becomes.memories.reembed(limit=2) == Reembedded(embedded=2, left=4, dropped=0)
        assert (len(by_meaning(becomes)), by_meaning(was)) == (1, known)
        assert becomes.memories.reembed() == Reembedded(embedded=4, left=0, dropped=0)
        assert (len(by_meaning(becomes)), by_meaning(was)) == (5, known)
        assert becomes.memories.reembed(drop_old=True) == Reembedded(embedded=0, left=0, dropped=6)
        assert (len(by_meaning(becomes)), by_meaning(was)) == (5, [])


def test_vectors_are_those_of_learning(postgres_url: str, settings: Settings) -> None:
    """Episodes are embedded with the turns around them, as when they were learnt."""
    with opened(settings, postgres_url, old()) as before:
        learn(before, "acme")
    with opened(settings, postgres_url, new()) as after:
        learn(after, "fresh")
        after.tenant("acme").memories.reembed()
        assert by_meaning(after.tenant("acme")) == by_meaning(after.tenant("fresh"))


def test_dropping_spares_what_has_no_other_vector(postgres_url: str, settings: Settings) -> None:
    """Memories without a vector of the new model keep the old one; so do other tenants."""
    with (
        opened(settings, postgres_url, old()) as before,
        opened(settings, postgres_url, new()) as after,
    ):
        learn(before, "acme")
        learn(before, "other")
        done = after.tenant("acme").memories.reembed(limit=1, drop_old=True)
        assert done == Reembedded(embedded=1, left=5, dropped=1)
        assert len(by_meaning(before.tenant("acme"))) == 4
        assert len(by_meaning(before.tenant("other"))) == 5
        assert by_meaning(after.tenant("other")) == []


def test_a_failure_keeps_what_was_done(postgres_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """An embedder that fails half-way is an error; the next call goes on behind what was stored."""
    for half in ("_sync", "_sync"):
        monkeypatch.setattr(f"chatmemory.{half}.memories.reembedding.BATCH", 2)
    with opened(settings, postgres_url, old()) as before:
        learn(before, "acme")
    with opened(settings, postgres_url, new(most=8)) as broken:
        with pytest.raises(LlmError):
            broken.tenant("acme").memories.reembed()
    with opened(settings, postgres_url, new()) as after:
        done = after.tenant("acme").memories.reembed()
        assert done == Reembedded(embedded=4, left=0, dropped=0)


def test_what_cannot_be_done(memory: ChatMemory, postgres_url: str, settings: Settings) -> None:
    """Without an embedder there is nothing to embed with; a limit is 1 or more."""
    with pytest.raises(ConfigurationError, match="no embedder"):
        memory.tenant("acme").memories.reembed()
    with opened(settings, postgres_url, new()) as memory:
        with pytest.raises(InvalidInputError, match="limit"):
            memory.tenant("acme").memories.reembed(limit=0)
