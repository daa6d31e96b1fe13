from collections.abc import Sequence

import pytest

from chatmemory import (
    AsyncChatMemory,
    AsyncTenant,
    ConfigurationError,
    Embedder,
    InvalidInputError,
    LlmError,
    Reembedded,
    Settings,
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


def opened(settings: Settings, url: str, embedder: Embedder | None) -> AsyncChatMemory:
    """A memory with an embedder."""
    return AsyncChatMemory.open(url, settings=settings, embedder=embedder)


async def learn(memory: AsyncChatMemory, tenant_id: str) -> None:
    """Learn a short talk, and keep a fact."""
    tenant = memory.tenant(tenant_id)
    session = await tenant.sessions.create(user_id="ann")
    for text in SAID:
        await session.append("user", text)
    await session.end()
    await memory.run_due()
    await tenant.memories.remember("Ann rows.", user_id="ann")


async def by_meaning(tenant: AsyncTenant) -> list[tuple[str, float]]:
    """Return the texts and scores found by meaning only, except the farthest, whose score is 0.

    The question shares no word with anything.
    """
    found = await tenant.memories.recall("zzz", user_id="ann")
    assert all(set(each.ranks) == {"vector"} for each in found)
    return [(each.memory.text, round(each.score, 5)) for each in found]


async def test_vectors_of_a_new_model(postgres_url: str, settings: Settings) -> None:
    """Re-embedding may stop half-way; either model recalls meanwhile, and the old one until its vectors go."""
    async with (
        opened(settings, postgres_url, old()) as before,
        opened(settings, postgres_url, new()) as after,
    ):
        await learn(before, "acme")
        was, becomes = before.tenant("acme"), after.tenant("acme")
        known = await by_meaning(was)
        assert len(known) == 5
        assert await by_meaning(becomes) == []
        assert [each.memory.text for each in await becomes.memories.recall("Who rows?", user_id="ann", k=1)]
        assert await becomes.memories.reembed(limit=2) == Reembedded(embedded=2, left=4, dropped=0)
        assert (len(await by_meaning(becomes)), await by_meaning(was)) == (1, known)
        assert await becomes.memories.reembed() == Reembedded(embedded=4, left=0, dropped=0)
        assert (len(await by_meaning(becomes)), await by_meaning(was)) == (5, known)
        assert await becomes.memories.reembed(drop_old=True) == Reembedded(embedded=0, left=0, dropped=6)
        assert (len(await by_meaning(becomes)), await by_meaning(was)) == (5, [])


async def test_vectors_are_those_of_learning(postgres_url: str, settings: Settings) -> None:
    """Episodes are embedded with the turns around them, as when they were learnt."""
    async with opened(settings, postgres_url, old()) as before:
        await learn(before, "acme")
    async with opened(settings, postgres_url, new()) as after:
        await learn(after, "fresh")
        await after.tenant("acme").memories.reembed()
        assert await by_meaning(after.tenant("acme")) == await by_meaning(after.tenant("fresh"))


async def test_dropping_spares_what_has_no_other_vector(postgres_url: str, settings: Settings) -> None:
    """Memories without a vector of the new model keep the old one; so do other tenants."""
    async with (
        opened(settings, postgres_url, old()) as before,
        opened(settings, postgres_url, new()) as after,
    ):
        await learn(before, "acme")
        await learn(before, "other")
        done = await after.tenant("acme").memories.reembed(limit=1, drop_old=True)
        assert done == Reembedded(embedded=1, left=5, dropped=1)
        assert len(await by_meaning(before.tenant("acme"))) == 4
        assert len(await by_meaning(before.tenant("other"))) == 5
        assert await by_meaning(after.tenant("other")) == []


async def test_a_failure_keeps_what_was_done(
    postgres_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An embedder that fails half-way is an error; the next call goes on behind what was stored."""
    for half in ("_async", "_sync"):
        monkeypatch.setattr(f"chatmemory.{half}.memories.reembedding.BATCH", 2)
    async with opened(settings, postgres_url, old()) as before:
        await learn(before, "acme")
    async with opened(settings, postgres_url, new(most=8)) as broken:
        with pytest.raises(LlmError):
            await broken.tenant("acme").memories.reembed()
    async with opened(settings, postgres_url, new()) as after:
        done = await after.tenant("acme").memories.reembed()
        assert done == Reembedded(embedded=4, left=0, dropped=0)


async def test_what_cannot_be_done(async_memory: AsyncChatMemory, postgres_url: str, settings: Settings) -> None:
    """Without an embedder there is nothing to embed with; a limit is 1 or more."""
    with pytest.raises(ConfigurationError, match="no embedder"):
        await async_memory.tenant("acme").memories.reembed()
    async with opened(settings, postgres_url, new()) as memory:
        with pytest.raises(InvalidInputError, match="limit"):
            await memory.tenant("acme").memories.reembed(limit=0)
