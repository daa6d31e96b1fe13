"""Facts that an embedder takes for the same: only their words decide whether they are."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from zlib import crc32

import pytest

from chatmemory import AsyncChatMemory, AsyncTenant, Settings
from tests.fixtures.openai_server import OpenAIServer, fact, learnt

DATA = Path(__file__).resolve().parents[1] / "data"
CONTRADICTIONS, PARAPHRASES = (
    [tuple(line.split("\t")) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]
    for name in ("contradictions.tsv", "paraphrases.tsv")
)


class Alike:
    """An embedder for which everything is nearly the same: the similarity of two texts is 0.95."""

    name, dimensions = "alike", 512

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Return one direction with a little of another for each text."""
        vectors = []
        for text in texts:
            vector = [1.0] + [0.0] * (self.dimensions - 1)
            vector[1 + crc32(text.encode()) % (self.dimensions - 1)] = 0.2294
            vectors.append(vector)
        return vectors


@pytest.fixture
async def async_alike(postgres_url: str, settings: Settings) -> AsyncIterator[AsyncTenant]:
    """A tenant of a memory with that embedder."""
    async with AsyncChatMemory.open(postgres_url, settings=settings, embedder=Alike()) as memory:
        yield memory.tenant("acme")


async def test_contradictions_are_kept_and_linked(async_alike: AsyncTenant) -> None:
    """Negations, numbers, units, dates, names, or who does what to whom, in many languages, and in either order."""
    for number, (one, other) in enumerate([*CONTRADICTIONS, *((other, one) for one, other in CONTRADICTIONS)]):
        user = f"user-{number}"
        first = await async_alike.memories.remember(one, user_id=user)
        second = await async_alike.memories.remember(other, user_id=user)
        assert (second.text, second.confirmations, second.similar_to) == (other, 0, (first.id,)), one
        assert (await async_alike.memories.stats(user)).by_kind == {"fact": 2}


async def test_the_same_words_confirm_and_other_words_are_linked(async_alike: AsyncTenant) -> None:
    """Capitals, punctuation, articles, contractions, and where a sentence begins do not matter; all else may."""
    for number, (how, one, other) in enumerate(PARAPHRASES):
        user = f"user-{number}"
        first = await async_alike.memories.remember(one, user_id=user)
        second = await async_alike.memories.remember(other, user_id=user)
        if how == "same":
            assert (second.id, second.confirmations) == (first.id, 1), one
        else:
            assert (second.text, second.similar_to) == (other, (first.id,)), one


async def test_a_link_ends_with_what_it_points_to(async_alike: AsyncTenant) -> None:
    """A closed or forgotten memory is no candidate; at most five are linked."""
    memories = async_alike.memories
    kept = [await memories.remember(f"Ann has {number} cats.", user_id="ann") for number in range(8)]
    last = kept[-1]
    assert len(last.similar_to) == 5
    assert set(last.similar_to) <= {each.id for each in kept[:-1]}
    gone, closed, *others = last.similar_to
    await memories.forget(gone)
    await memories.correct(closed, "Ann has a dog.")
    assert set((await memories.get(last.id)).similar_to) == set(others)


async def test_one_answer_with_contradictions(postgres_url: str, openai_server: OpenAIServer) -> None:
    """Two facts of one answer are compared like a new one with a stored one."""
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings(), embedder=Alike()) as memory:
        for number, (known, said) in enumerate(CONTRADICTIONS):
            session = await memory.tenant("acme").sessions.create(user_id=f"user-{number}")
            await session.append("user", f"{known} {said}")
            openai_server.next_chats.append(learnt("x", fact(known, 1), fact(said, 1)))
            assert (await session.consolidate()).memories["fact"] == 2, known


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ("Ann is allergic to peanuts.", "Ann is not allergic to peanuts."),
        ("Ann has 2 cats.", "Ann has 3 cats."),
        ("Ann lives in Lisbon.", "The home of Ann is in Porto."),
        ("Ann isst Fleisch.", "Ann isst kein Fleisch."),
        ("安吃肉。", "安不吃肉。"),
    ],
)
async def test_a_model_that_takes_a_contradiction_for_the_same(
    postgres_url: str, openai_server: OpenAIServer, known: str, said: str
) -> None:
    """same_as is not believed against the words: the new fact is kept, and linked."""
    async with AsyncChatMemory.open(postgres_url, settings=openai_server.settings()) as memory:
        acme = memory.tenant("acme")
        old = await acme.memories.remember(known, user_id="ann")
        session = await acme.sessions.create(user_id="ann")
        await session.append("user", f"{known} {said}")
        openai_server.next_chats.append(learnt("x", fact(said, 1, same_as=1)))
        assert (await session.consolidate()).memories["fact"] == 1
        facts = {each.text: each for each in await acme.memories.list(kinds=["fact"])}
        assert facts[said].similar_to == (old.id,)
