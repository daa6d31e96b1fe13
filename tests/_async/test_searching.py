"""Searching sessions by words, and listing users and tenants."""

from typing import Any

import pytest

from chatmemory import AsyncChatMemory, AsyncTenant, InvalidInputError, Page, SessionInfo
from chatmemory.storage.queries import sessions as statements


async def talk(tenant: AsyncTenant, id: str, *texts: Any, user_id: str = "ann", **how: Any) -> None:
    """A session with these messages."""
    session = await tenant.sessions.create(user_id=user_id, session_id=id, **how)
    await session.append_many([{"role": "user", "content": text} for text in texts])


async def found(tenant: AsyncTenant, text: str, **how: Any) -> list[str]:
    """The ids of all pages."""
    ids: list[str] = []
    cursor = None
    while True:
        page: Page[SessionInfo] = await tenant.sessions.search(text, cursor=cursor, **how)
        ids += [info.id for info in page]
        cursor = page.next
        if cursor is None:
            return ids


WORDS = {
    "lisbon": "Can I work from LISBON in July?",
    "里斯本": "我住在里斯本。",
    "リスボン": "来月リスボンへ行きます",
    "리스본": "저는 리스본에 살아요",
    "ลิสบอน": "ฉันอาศัยอยู่ที่ลิสบอน",
    "лиссабон": "Я живу в городе ЛИССАБОН",
    "straße": "Die Straße in Lissabon",
    "MÜNCHEN": "Ich wohne in münchen",
    "άγιος": "ΆΓΙΟΣ Νικόλαος",
    "لشبونة": "أعيش في لشبونة منذ عام",
    "ליסבון": "אני גר בליסבון",
    "100%": "It is 100% sure",
    "a_b": "The name is a_b here",
    "c:\\d": "It is in c:\\d today",
    "cafe\u0301": "Meet me at the café",
}


@pytest.mark.parametrize("word", WORDS)
async def test_words_of_every_script_are_found(async_memory: AsyncChatMemory, word: str) -> None:
    """In messages, in blocks and in titles, whatever their case; a pattern's own characters mean themselves."""
    acme = async_memory.tenant("acme")
    await talk(acme, "nothing", "100 words, aXb, c:d and the rest")
    await talk(acme, "said", "Hello", WORDS[word], "Bye")
    await talk(acme, "blocks", [{"type": "text", "text": WORDS[word]}])
    await talk(acme, "title", title=WORDS[word])
    assert await found(acme, word) == ["title", "blocks", "said"]


async def test_all_words_stand_in_one_message(async_memory: AsyncChatMemory) -> None:
    """In any order; of one user, of one kind, of one tenant, and not of a deleted session."""
    acme, other = async_memory.tenant("acme"), async_memory.tenant("other")
    await talk(acme, "both", "soup and a salad")
    await talk(acme, "apart", "soup", "salad")
    await talk(acme, "bob", "Salad, soup", user_id="bob")
    await talk(acme, "general", "salad soup", kind="general")
    await talk(other, "theirs", "salad soup")
    assert await found(acme, "salad soup") == ["general", "bob", "both"]
    assert await found(acme, "soup", user_id="bob") == ["bob"]
    assert await found(acme, "salad soup", user_id="ann", kind="chat") == ["both"]
    assert await found(other, "soup") == ["theirs"]
    ended = await acme.sessions.get("both")
    await ended.end()
    assert await found(acme, "salad soup", user_id="ann", kind="chat") == ["both"]
    await ended.delete()
    assert await found(acme, "salad soup", user_id="ann", kind="chat") == []


async def test_a_page_reads_a_bounded_number_of_messages(
    async_memory: AsyncChatMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However rare the word, each call ends soon; the pages together have everything once."""
    acme = async_memory.tenant("acme")
    for number in range(12):
        await talk(acme, f"s-{number}", *["soup"] * 3, "rare" if number in (1, 5) else "salad")
    every = [f"s-{number}" for number in reversed(range(12))]
    assert await found(acme, "soup", limit=5) == every
    monkeypatch.setattr(statements, "MAX_SEARCHED_MESSAGES", 8)
    first = await acme.sessions.search("rare")
    assert (len(first), first.next is None) == (0, False)
    assert await found(acme, "rare") == ["s-5", "s-1"]
    assert await found(acme, "soup", limit=1) == every
    monkeypatch.setattr(statements, "MAX_SEARCHED_SESSIONS", 3)
    assert await found(acme, "rare") == ["s-5", "s-1"]
    assert await found(acme, "soup") == every


@pytest.mark.parametrize("text", ["", "  ", "a\0b", "\ud800", "1 2 3 4 5 6 7 8 9", "x" * 501, None, 5, b"soup"])
async def test_what_cannot_be_searched_is_refused(async_memory: AsyncChatMemory, text: Any) -> None:
    """Before Postgres is asked."""
    with pytest.raises(InvalidInputError, match="text"):
        await async_memory.tenant("acme").sessions.search(text)


async def forget_all(tenant: AsyncTenant, user: str) -> None:
    """Store a session, a memory and an item of a user, and remove each by itself."""
    session = await tenant.sessions.create(user_id=user)
    fact = await tenant.memories.remember("Likes tea.", user_id=user)
    await tenant.items.put(("a",), "k", {}, user_id=user)
    assert user in [each.id for each in await tenant.users.list()]
    await session.erase()
    await tenant.memories.forget(fact.id)
    await tenant.items.delete(("a",), "k")


async def test_users_and_tenants_are_listed(async_memory: AsyncChatMemory) -> None:
    """By page, in order; users of every kind of data, and nobody of another tenant."""
    acme = async_memory.tenant("acme")
    page = await acme.sessions.search("soup")
    assert (len(page), page.next) == (0, None)
    for number in range(5):
        await talk(acme, f"s-{number}", "Hi", user_id=f"user-{number}")
        await talk(async_memory.tenant(f"tenant-{number}"), "s", "Hi", user_id="stranger")
    await talk(acme, "s-9", "Hi", user_id="user-1")
    await (await acme.sessions.get("s-2")).delete()
    await acme.memories.remember("The office is closed.")
    await acme.memories.remember("Likes soup.", user_id="only-memories")
    await forget_all(acme, "gone")
    users = acme.users
    everybody = [(user.id, user.sessions) for user in await users.list()]
    expected = [("only-memories", 0), ("user-0", 1), ("user-1", 2), ("user-2", 0), ("user-3", 1), ("user-4", 1)]
    assert everybody == expected
    first = await users.list(limit=4)
    rest = await users.list(limit=4, cursor=first.next)
    assert [(user.id, user.sessions) for user in (*first, *rest)] == expected
    assert [user.id for user in await users.list(offset=5)] == ["user-4"]
    assert rest.next is None
    assert [user.last_active_at is None for user in first] == [True, False, False, True]
    tenants = await async_memory.tenants(limit=4)
    more = await async_memory.tenants(limit=4, cursor=tenants.next)
    assert [each.id for each in (*tenants, *more)] == ["acme", *(f"tenant-{number}" for number in range(5))]
    assert more.next is None
    with pytest.raises(InvalidInputError, match="cursor"):
        await async_memory.tenant("other").users.list(cursor=first.next)
    assert "user-0" in first._repr_html_()
    assert first.to_dict()["items"][0]["id"] == "only-memories"
