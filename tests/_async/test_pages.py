"""Lists by page: every item once, at the same cost on every page, and cursors that fit their list only."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from operator import attrgetter
from typing import Any

import pytest
from psycopg import AsyncConnection

from chatmemory import AsyncChatMemory, InvalidInputError, Page
from chatmemory.paging import CHECKSUM_BYTES

FILL = """
insert into chatmemory.sessions (tenant_id, id, user_id, kind, created_at, updated_at, last_active_at)
    select 'acme', 's' || n, case when n % 2 = 0 then 'ann' else 'bob' end, 'chat',
           now() - n % 7919 * interval '1 minute', now(), now() - n % 7907 * interval '10 minutes'
    from generate_series(1, 20000) n;
insert into chatmemory.memories (tenant_id, id, user_id, kind, text, place, trust, importance, valid_from, lexemes)
    select 'acme', 'm' || n, case when n % 2 = 0 then 'ann' else 'bob' end,
           case when n % 3 = 0 then 'fact' else 'episode' end, 'x', n, 2, 0.5,
           now() - n % 7919 * interval '1 minute', ''
    from generate_series(1, 20000) n;
insert into chatmemory.store_items (tenant_id, path, key, user_id, namespace, value)
    select 'acme', '["a"]', n::text, 'ann', '{a}', '{}' from generate_series(1, 20000) n;
"""


async def fill(url: str, statement: str = FILL) -> None:
    """Write as the server's administrator."""
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement.encode())


async def walk(call: Any, **filter: Any) -> list[Any]:
    """Everything in a list, page by page."""
    page: Page[Any] = await call(**filter)
    found = list(page)
    while page.next is not None:
        page = await call(**filter, cursor=page.next)
        assert page.items
        assert page.offset is None
        found += page
    return found


@pytest.mark.parametrize("order", ["last_active", "created"])
@pytest.mark.parametrize("filter", [{}, {"user_id": "ann"}, {"user_id": "bob", "kind": "chat", "status": "active"}])
async def test_sessions_by_cursor_are_all_and_in_order(
    async_memory: AsyncChatMemory, postgres_url: str, order: Any, filter: dict[str, Any]
) -> None:
    """Pages of 97 hold each session once, sorted as one list, also where many are as old as each other."""
    await async_memory.tenant("acme").sessions.list()
    await fill(postgres_url, FILL.replace("20000", "1000").replace("10 minutes", "10 seconds").replace("% 79", "% 7"))
    sessions = async_memory.tenant("acme").sessions
    found = await walk(sessions.list, order=order, limit=97, **filter)
    whole = await sessions.list(order=order, limit=2000, with_total=True, **filter)
    assert [info.id for info in found] == [info.id for info in whole]
    assert len({info.id for info in found}) == whole.total == (500 if filter else 1000)
    keys = [(info.created_at if order == "created" else info.last_active_at, info.id) for info in found]
    assert keys == sorted(keys, reverse=True)


async def test_a_session_that_does_not_move_is_never_missed(async_memory: AsyncChatMemory) -> None:
    """Between two pages one session becomes active: the others all follow, each once."""
    sessions = async_memory.tenant("acme").sessions
    made = [await sessions.create(user_id="ann") for _ in range(6)]
    first = await sessions.list(limit=2)
    await made[0].append("user", "I come to the front")
    second = await sessions.list(limit=10, cursor=first.next)
    assert [info.id for info in (*first, *second)] == [made[n].id for n in (5, 4, 3, 2, 1)]
    assert second.next is None
    assert (await sessions.list(limit=1))[0].id == made[0].id


async def test_memories_and_items_by_cursor(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """Pages hold each memory and each item once, sorted as one list, also with a filter that is checked here."""
    acme = async_memory.tenant("acme")
    await acme.sessions.list()
    await fill(postgres_url, FILL.replace("20000", "600").replace("% 79", "% 7"))
    for filter in ({}, {"user_id": "ann"}, {"user_id": "bob", "kinds": ["fact"]}, {"include_closed": True}):
        found = await walk(acme.memories.list, limit=41, **filter)
        whole = await acme.memories.list(limit=1000, with_total=True, **filter)
        assert [each.id for each in found] == [each.id for each in whole]
        assert len({each.id for each in found}) == whole.total
        keys = [(each.valid_from, each.id) for each in found]
        assert keys == sorted(keys, reverse=True)
    items = await walk(acme.items.search, limit=41)
    assert [item.key for item in items] == [str(number) for number in range(600, 0, -1)]
    assert len(await walk(acme.items.search, prefix=("a",), filter={"b": {"$ne": 1}}, limit=41)) == 600


async def test_a_cursor_fits_its_list_only(async_memory: AsyncChatMemory) -> None:
    """Another tenant, user, filter, order or list, and anything that was altered, is refused; so are large offsets."""
    acme, rival = async_memory.tenant("acme"), async_memory.tenant("rival")
    for _ in range(3):
        await acme.sessions.create(user_id="ann")
        await rival.sessions.create(user_id="ann")
        await acme.memories.remember(f"number {_}", user_id="ann")
    cursor = (await acme.sessions.list(user_id="ann", limit=1)).next
    assert cursor is not None
    raw = urlsafe_b64decode(cursor + "===")
    altered = urlsafe_b64encode(raw.replace(b"T", b" ", 1)).decode()
    calls: list[tuple[Any, dict[str, Any]]] = [
        (rival.sessions.list, {"user_id": "ann"}),
        (acme.sessions.list, {"user_id": "bob"}),
        (acme.sessions.list, {}),
        (acme.sessions.list, {"user_id": "ann", "order": "created"}),
        (acme.sessions.list, {"user_id": "ann", "kind": "chat"}),
        (acme.memories.list, {"user_id": "ann"}),
        (acme.items.search, {"user_id": "ann"}),
        *((acme.sessions.list, {"user_id": "ann", "cursor": each}) for each in (altered, "", "x", "é", 7, cursor[:-4])),
    ]
    for call, arguments in calls:
        with pytest.raises(InvalidInputError, match="cursor"):
            await call(limit=1, **{"cursor": cursor, **arguments})
    for arguments in ({"offset": 10_001}, {"offset": 1, "cursor": cursor}):
        with pytest.raises(InvalidInputError, match="cursor"):
            await acme.sessions.list(user_id="ann", **arguments)
    with pytest.raises(InvalidInputError, match="query"):
        await acme.items.search(query="words", cursor=cursor)
    assert (await acme.sessions.list(limit=0)).next is None


async def test_a_forged_cursor_is_refused(async_memory: AsyncChatMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cursor with a valid checksum and a sort key of another sort, or of none, is an error of the caller."""
    for session_id in ("a", "b"):
        await async_memory.tenant("acme").sessions.create(user_id="ann", session_id=session_id)
    lists: list[Any] = [async_memory.tenant("acme").sessions.list, async_memory.tenant("acme").items.search]
    monkeypatch.setattr("chatmemory.paging._checksum", lambda *_: b"x" * CHECKSUM_BYTES)
    for key in (b"7", b'["2026-11-28T00:00:00+00:00", "a"]', b"null", b"true", b"1e9", b"[]", b'[7, "a"]', b"-1"):
        refused = 0
        for call in lists:
            try:
                await call(limit=1, cursor=urlsafe_b64encode(b"x" * CHECKSUM_BYTES + key).decode().rstrip("="))
            except InvalidInputError:
                refused += 1
        assert refused >= 1, key


@pytest.mark.parametrize("list", ["sessions.list", "memories.list", "items.search"])
async def test_a_page_may_hold_everything(async_memory: AsyncChatMemory, list: str) -> None:
    """The largest limit there is returns the whole list."""
    acme = async_memory.tenant("acme")
    await acme.sessions.create(user_id="ann")
    await acme.memories.remember("number 1", user_id="ann")
    await acme.items.put(("a",), "key", {})
    page = await attrgetter(list)(acme)(limit=2**63 - 1)
    assert (len(page), page.next) == (1, None)


async def pages_read(memory: AsyncChatMemory, monkeypatch: pytest.MonkeyPatch, call: Any, **arguments: Any) -> int:
    """Return the number of the database's pages that a list reads, under the role that sees one tenant's rows."""
    database = memory._database
    run, plans = type(database).run, list[Any]()

    async def explained(_: Any, tenant: str, *statements: Any, subject: str = "") -> Any:
        [(query, params)] = statements
        explain = "explain (analyze, buffers, format json) " + query
        for _ in range(2):
            plans[:] = await run(database, tenant, (explain, params))
        return await run(database, tenant, *statements, subject=subject)

    with monkeypatch.context() as patched:
        patched.setattr(type(database), "run", explained)
        assert len(await call(**arguments)) == 50
    [[[(plan,)]]] = [plans]
    return int(plan[0]["Plan"]["Shared Hit Blocks"] + plan[0]["Plan"]["Shared Read Blocks"])


@pytest.mark.parametrize("analyzed", [False, True])
async def test_a_late_page_costs_as_much_as_the_first(
    async_memory: AsyncChatMemory, postgres_url: str, monkeypatch: pytest.MonkeyPatch, analyzed: bool
) -> None:
    """The 190th page of 20,000 sessions, memories and items reads as many pages of the database as the first."""
    acme = async_memory.tenant("acme")
    await acme.sessions.list()
    await fill(postgres_url)
    if analyzed:
        await fill(postgres_url, "analyze")
    lists: list[tuple[Any, dict[str, Any]]] = [
        (acme.sessions.list, {}),
        (acme.sessions.list, {"user_id": "ann"}),
        (acme.sessions.list, {"order": "created"}),
        (acme.sessions.list, {"order": "created", "user_id": "ann"}),
        (acme.memories.list, {}),
        (acme.memories.list, {"user_id": "ann"}),
        (acme.items.search, {}),
        (acme.items.search, {"user_id": "ann"}),
    ]
    for call, filter in lists:
        late = (await call(limit=1, offset=9500, **filter)).next
        first = await pages_read(async_memory, monkeypatch, call, limit=50, **filter)
        last = await pages_read(async_memory, monkeypatch, call, limit=50, cursor=late, **filter)
        assert last <= 1.5 * first + 30, (call, filter, first, last)
        assert not analyzed or first < (400 if call == acme.sessions.list else 1500), (call, filter, first)
