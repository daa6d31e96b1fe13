"""Texts with more words than Postgres can index: they are stored and learnt from, and found by their first words."""

import random
from collections.abc import Callable

import pytest

from chatmemory import AsyncChatMemory, NewItem, Settings


def hangul(count: int) -> str:
    """Words of two syllables, nearly all different."""
    rng = random.Random(1)
    return " ".join(chr(rng.randrange(0xAC00, 0xD7A3)) + chr(rng.randrange(0xAC00, 0xD7A3)) for _ in range(count))


def greek(count: int) -> str:
    """Short words in another script."""
    rng = random.Random(2)
    return " ".join("".join(rng.choices("αβγδεζηθικλμνξοπρστυφχψω", k=4)) for _ in range(count))


def addresses(count: int) -> str:
    """Addresses, of which Postgres indexes the parts too."""
    return " ".join(f"h{n}.example.com/p{n}" for n in range(count))


def hyphened(count: int) -> str:
    """Compounds, of which Postgres indexes the parts too."""
    return " ".join(f"ab{n}-cd{n}-ef{n}" for n in range(count))


LARGE: list[tuple[Callable[[int], str], int]] = [
    (hangul, 67_000),
    (greek, 40_000),
    (addresses, 8_000),
    (hyphened, 9_000),
    (lambda count: "\\' " * count, 60_000),
    (lambda count: "가" * count, 200_000),
    (lambda count: " ".join(map(str, range(count))), 140_000),
]


@pytest.mark.parametrize(("make", "count"), LARGE)
async def test_a_large_message_is_learnt(postgres_url: str, make: Callable[[int], str], count: int) -> None:
    """A session with such a message is learnt from, and both it and its neighbour are found."""
    settings = Settings(max_message_bytes=4_000_000, cleanup_inactive_sessions=False)
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        acme = memory.tenant("acme")
        session = await acme.sessions.create(user_id="ann")
        await session.append("user", f"Lisbon {make(count)}")
        await session.append("user", "I like Oslo.")
        await session.end()
        assert (await memory.run_due()).failed == 0
        assert (await memory.run_due()).processed == 0
        for word in ("Lisbon", "Oslo"):
            found = await acme.memories.recall(word, user_id="ann", k=5)
            assert any(word in recalled.memory.text for recalled in found)
        assert (await session.erase()).memories == 2


@pytest.mark.parametrize(("make", "count"), LARGE)
async def test_a_large_query_finds_what_its_first_words_name(
    async_memory: AsyncChatMemory, make: Callable[[int], str], count: int
) -> None:
    """Searching items and recalling with it work, and so does storing an item and a memory with it."""
    acme = async_memory.tenant("acme")
    large = f"Lisbon {make(count)}"
    await acme.items.put_many(
        [NewItem(("a",), "plain", {"text": "Lisbon"}), NewItem(("a",), "large", {"n": 1}, text=large)]
    )
    found = await acme.items.search(query=large)
    assert {item.key for item in found if item.score} == {"plain", "large"}
    assert {item.key for item in await acme.items.search(query="Lisbon") if item.score} == {"plain", "large"}
    await acme.memories.remember("Ann lives in Lisbon.", user_id="ann")
    [recalled] = await acme.memories.recall(large, user_id="ann")
    assert "Lisbon" in recalled.memory.text
