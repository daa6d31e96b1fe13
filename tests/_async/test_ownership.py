"""The registry of what belongs to a session, a user and a tenant, and what is made from it: erasure, export, fork."""

import json
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, fields
from typing import Any

import psycopg
import pytest
from redis import Redis

from chatmemory import AsyncChatMemory, AsyncSession, Erasure, MemoryNotFoundError, SessionNotFoundError, Settings
from chatmemory._async.storage.transaction import AsyncTransaction
from chatmemory._concurrency import async_side_by_side
from chatmemory.storage.ownership import BY_NAME, EXPORTS, NOT_OWNED, TABLES
from chatmemory.storage.queries import ownership as statements
from tests._async.filling import amounts, fill
from tests.fixtures.openai_server import OpenAIServer

SCOPES = ("session", "user", "tenant")
COLUMNS = "select table_name, column_name from information_schema.columns where table_schema = 'chatmemory'"
REFERRING = (
    "select conrelid::regclass::text, confrelid::regclass::text, confdeltype::text from pg_constraint "
    "where contype = 'f' and connamespace = 'chatmemory'::regnamespace"
)


@pytest.fixture
async def async_full(postgres_url: str, redis_url: str, openai_server: OpenAIServer) -> AsyncIterator[AsyncChatMemory]:
    """A memory with everything there is: Redis, a language model, an embedder."""
    settings = openai_server.settings(embedding_model="compass", cleanup_inactive_sessions=False)
    async with AsyncChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        yield memory


@pytest.fixture
def round_trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of statements in each round trip of a transaction."""
    sent: list[int] = []
    send = AsyncTransaction._send

    async def count(self: AsyncTransaction, queries: Any, *, commit: bool) -> Any:
        sent.append(len(queries))
        return await send(self, queries, commit=commit)

    monkeypatch.setattr(AsyncTransaction, "_send", count)
    return sent


def asked(url: str, query: str) -> list[tuple[Any, ...]]:
    """The answers of Postgres across tenants."""
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(query.encode())
        return cursor.fetchall() if cursor.description else []


def columns_of(url: str) -> dict[str, set[str]]:
    """The columns of each table of the schema."""
    found: dict[str, set[str]] = {}
    for table, column in asked(url, COLUMNS):
        found.setdefault(table, set()).add(column)
    return found


def test_every_table_has_an_entry(postgres_url: str) -> None:
    """A table of a migrated database stands in the registry, or is known to hold no tenant's rows."""
    found = asked(
        postgres_url,
        "select relname from pg_class where relnamespace = 'chatmemory'::regnamespace and relkind in ('r', 'p')",
    )
    assert {name for (name,) in found} - NOT_OWNED.keys() == BY_NAME.keys()


def test_entries_tell_the_truth(postgres_url: str) -> None:
    """Ties to users and sessions are columns, foreign keys cascade as entries say, and a copy leaves no column out."""
    columns = columns_of(postgres_url)
    cascading = {of for of, to, action in asked(postgres_url, REFERRING) if action == "c"}
    for table in TABLES:
        there = columns[table.name]
        assert "tenant_id" in there, table.name
        assert table.user == ("user_id" if "user_id" in there else None), table.name
        assert table.session == ("session_id" if "session_id" in there else "id" if table.name == "sessions" else None)
        assert not table.cascades or f"chatmemory.{table.name}" in cascading, table.name
        assert table.part_of is None or table.receipt is None, "it is counted with what it is a part of"
        if table.copy is not None:
            assert set(table.copy.columns) == there - {"tenant_id", table.session}, table.name
        if table.export is not None:
            assert {*table.export.named, *table.export.columns} - there <= {"sources"}, table.name
            assert set(table.export.order) <= there, table.name


def test_a_receipt_has_a_field_for_each_table_that_counts() -> None:
    """Whatever holds something of a user's is counted, under one name each, and can be exported."""
    counted = [table for table in TABLES if table.receipt]
    assert sorted(field.name for field in fields(Erasure)) == sorted(str(table.receipt) for table in counted)
    assert {table.name for table in counted} == EXPORTS.keys()


async def lines_of(memory: AsyncChatMemory, session: AsyncSession, scope: str) -> list[dict[str, Any]]:
    """The records of an export of tenant acme, its user Ann or a session of hers."""
    acme = memory.tenant("acme")
    if scope == "session":
        return [json.loads(line) async for line in session.export_lines()]
    whole = acme.users.export("ann") if scope == "user" else acme.export()
    return [json.loads(line) async for line in whole]


async def erased(memory: AsyncChatMemory, session: AsyncSession, scope: str) -> Erasure:
    """The receipt of the same."""
    acme = memory.tenant("acme")
    if scope == "session":
        return await session.erase()
    return await (acme.users.erase("ann") if scope == "user" else acme.erase())


@pytest.mark.parametrize("scope", SCOPES)
async def test_an_export_names_what_an_erasure_counts(
    async_full: AsyncChatMemory, openai_server: OpenAIServer, postgres_url: str, scope: str
) -> None:
    """Table by table: as many rows are exported as erased, and as many are gone; nobody else's are."""
    session = await fill(async_full, openai_server, "acme", "ann")
    second = await fill(async_full, openai_server, "acme", "ann")
    await second.delete()
    for tenant, user in (("acme", "bob"), ("umbrella", "ann")):
        await fill(async_full, openai_server, tenant, user)
    others = "tenant_id = 'umbrella'"
    before, theirs = amounts(postgres_url), amounts(postgres_url, others)
    assert min(before.values()) > 0, before
    lines = await lines_of(async_full, session, scope)
    receipt = asdict(await erased(async_full, session, scope))
    after = amounts(postgres_url)
    assert amounts(postgres_url, others) == theirs
    exported = Counter(line["record"] for line in lines)
    exported["metrics"] = sum(len(line["steps"]) for line in lines if line["record"] == "metrics")
    for table, export in EXPORTS.items():
        gone = before[table] - after[table]
        assert (exported[export.record], receipt[str(BY_NAME[table].receipt)]) == (gone, gone), table
        assert gone or table == "store_items", table
    assert [line["user_id"] for line in lines if line["record"] == "session"].count("ann") == (
        1 if scope == "session" else 2
    )
    if scope == "tenant":
        assert not any(amounts(postgres_url, "tenant_id = 'acme'").values())
    if scope == "user":
        of_her = "select 1 from chatmemory.{} where tenant_id = 'acme' and user_id = 'ann'"
        assert not any(asked(postgres_url, of_her.format(table.name)) for table in TABLES if table.user)


async def test_memories_of_others_are_theirs(async_full: AsyncChatMemory, openai_server: OpenAIServer) -> None:
    """A memory of Bob's that cites Ann's session is not exported to her, and is erased with her."""
    session = await fill(async_full, openai_server, "acme", "ann")
    memories = async_full.tenant("acme").memories
    his = await memories.remember("Bob met Ann.", user_id="bob", sources=[(session.id, 1, 1)])
    other = await memories.remember("Bob knows the zoo.", user_id="bob")
    closing = await memories.correct(other.id, "Bob knows the lions.")
    for scope in ("session", "user"):
        assert his.id not in [line.get("id") for line in await lines_of(async_full, session, scope)]
    assert his.id in [line.get("id") for line in await lines_of(async_full, session, "tenant")]
    await async_full.tenant("acme").users.erase("ann")
    with pytest.raises(MemoryNotFoundError):
        await memories.get(his.id)
    assert "Bob met Ann." not in [each.memory.text for each in await memories.recall("met", user_id="bob")]
    assert [each.id for each in await memories.history(closing.id)] == [other.id, closing.id]


async def test_what_pointed_at_an_erased_memory_points_nowhere(
    async_memory: AsyncChatMemory, postgres_url: str
) -> None:
    """A memory of another user that was superseded by one that is erased is superseded by none; places are counted."""
    acme = async_memory.tenant("acme")
    session = await acme.sessions.create(user_id="ann")
    await session.append("user", "The zoo has lions.")
    old = await acme.memories.remember("Bob knows the zoo.", user_id="bob")
    new = await acme.memories.correct(old.id, "Bob knows the lions.")
    asked(
        postgres_url,
        "insert into chatmemory.memory_sources (tenant_id, memory_id, session_id, from_seq, to_seq) "
        f"values ('acme', '{new.id}', '{session.id}', 1, 1)",
    )
    assert (await session.erase()).memories == 1
    assert (await acme.memories.get(old.id)).superseded_by is None
    assert asked(postgres_url, "select places from chatmemory.memory_users where user_id = 'bob'") == [(1,)]
    assert asked(postgres_url, "select distinct term from chatmemory.memory_terms where term like 'lion%'") == []


async def test_erasing_takes_few_round_trips(async_memory: AsyncChatMemory, round_trips: list[int]) -> None:
    """Two for a session, and two for a user however many sessions there are; two to fork, one to hide or export."""
    acme = async_memory.tenant("acme")
    made = [await acme.sessions.create(user_id="ann") for _ in range(5)]
    for session in made:
        await session.append("user", "Hello")
    for act, most in (
        (made[0].erase, 2), (lambda: acme.users.erase("ann"), 2), (acme.erase, 4),
    ):  # fmt: skip
        round_trips.clear()
        assert (await act()).sessions in (1, 4, 0)
        assert len(round_trips) <= most, act
    session = await acme.sessions.create(user_id="ann")
    for other, most in ((session.fork, 2), (session.delete, 1)):
        round_trips.clear()
        await other()
        assert len(round_trips) <= most, other


async def test_a_user_with_many_sessions(
    postgres_url: str, redis_url: str, settings: Settings, monkeypatch: pytest.MonkeyPatch, round_trips: list[int]
) -> None:
    """Their ids are read some at a time, Redis forgets each of them, and what is held does not grow with messages."""
    monkeypatch.setattr("chatmemory._async.ownership.erasure.MAX_SESSIONS", 500)
    monkeypatch.setattr(
        statements, "LOCK_SESSIONS",
        {scope: query.replace(" limit 10000 ", " limit 500 ") for scope, query in statements.LOCK_SESSIONS.items()},
    )  # fmt: skip
    async with AsyncChatMemory.open(postgres_url, redis=redis_url, settings=settings) as memory:
        acme = memory.tenant("acme")
        for _ in range(2):
            session = await acme.sessions.create(user_id="ann")
            await session.append("user", "Hello")
        asked(
            postgres_url,
            "insert into chatmemory.sessions (tenant_id, id, user_id, kind, created_at, updated_at, last_active_at) "
            "select 'acme', 's-' || n, 'ann', 'chat', now(), now(), now() from generate_series(1, 1600) n; "
            "insert into chatmemory.messages (tenant_id, session_id, seq, id, role, content, created_at) "
            "select 'acme', 's-' || n % 1600 + 1, n / 1600 + 1, n, 'user', repeat('x', 2000), now() "
            "from generate_series(0, 15999) n",
        )
        await (await acme.sessions.get("s-1599")).context(500)
        with Redis.from_url(redis_url) as client:
            assert len(list(client.scan_iter("*window*"))) > 0
            round_trips.clear()
            tracemalloc.start()
            receipt = await acme.users.erase("ann")
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert (receipt.sessions, receipt.messages) == (1602, 16002)
            assert list(client.scan_iter("*window*")) == []
        assert len(round_trips) == 5
        assert peak < 3_000_000, peak


async def test_redis_forgets_before_and_after(async_full: AsyncChatMemory, redis_url: str) -> None:
    """Windows and resumable sessions are gone as soon as the erasure has begun, and when it is done."""
    acme = async_full.tenant("acme")
    session = await acme.sessions.resume_or_create(None, user_id="ann")
    for erase in (session.erase, lambda: acme.users.erase("ann"), acme.erase):
        session = await acme.sessions.resume_or_create(session.id, user_id="ann", on_missing="adopt")
        await session.append("user", "Hello")
        await acme.sessions.resume_or_create(session.id, user_id="ann", on_missing="adopt")
        await session.context(500)
        with Redis.from_url(redis_url) as client:
            assert len(list(client.scan_iter("cm:{acme*"))) > 0
            await erase()
            assert list(client.scan_iter("cm:{acme*")) == []
        with pytest.raises(SessionNotFoundError):
            await session.append("user", "Still there?")


async def test_a_handle_erases_its_own_session_only(async_memory: AsyncChatMemory) -> None:
    """One that was erased, and whose id is another user's now, cannot be erased, deleted, forked or exported again."""
    acme = async_memory.tenant("acme")
    hers = await acme.sessions.create(user_id="ann", session_id="s-1")
    stale = await acme.sessions.get("s-1")
    await hers.erase()
    his = await acme.sessions.create(user_id="bob", session_id="s-1")
    await his.append("user", "I am Bob.")
    for act in (stale.erase, stale.delete, stale.fork):
        with pytest.raises(SessionNotFoundError):
            await act()
    assert [message.text for message in await his.history()] == ["I am Bob."]
    assert len([line async for line in acme.users.export("ann")]) == 1, "the line that names the format"


async def test_a_session_is_exported_as_it_stood(async_memory: AsyncChatMemory) -> None:
    """However many messages it has and whoever appends meanwhile: as many messages as its own count says, in order."""
    acme = async_memory.tenant("acme")
    session = await acme.sessions.create(user_id="ann")
    done: list[bool] = []

    async def append() -> None:
        while not done:
            await session.append_many([{"role": "user", "content": "line\n\x85\u2028end"}] * 20)

    async def export() -> None:
        try:
            messages: list[int] = []
            while len(messages) <= 2 * statements.FEW:  # from less than a page to more than one
                lines = [json.loads(line) async for line in acme.export()]
                messages = [line["seq"] for line in lines if line["record"] == "message"]
                [info] = [line for line in lines if line["record"] == "session"]
                assert messages == list(range(1, info["message_count"] + 1))
        finally:
            done.append(True)

    await async_side_by_side([append, export])


async def test_an_export_holds_no_connection(postgres_url: str, settings: Settings) -> None:
    """With one connection in the pool, calls between two lines do not wait for the export."""
    one = settings.model_copy(update={"postgres_pool_max_size": 1})
    async with AsyncChatMemory.open(postgres_url, settings=one) as memory:
        acme = memory.tenant("acme")
        for _ in range(2):
            session = await acme.sessions.create(user_id="ann")
            await session.append_many([{"role": "user", "content": str(n)} for n in range(300)])
        async for line in acme.users.export("ann"):
            if json.loads(line)["record"] == "session":
                await session.append("user", "meanwhile")


async def test_a_fork_copies_what_the_registry_says(
    async_full: AsyncChatMemory, openai_server: OpenAIServer, postgres_url: str
) -> None:
    """Messages to the letter; of all else that a session has, nothing but its own beginning."""
    session = await fill(async_full, openai_server, "acme", "ann")
    fork = await session.fork(at_seq=2)
    for table in TABLES:
        if table.session is None or table.name == "sessions":
            continue
        columns = ", ".join(table.copy.columns) if table.copy else "1"
        query = f"select {columns} from chatmemory.{table.name} t where session_id = '{{}}'"
        copied, there = (asked(postgres_url, query.format(id)) for id in (fork.id, session.id))
        if table.copy is not None:
            assert copied == there[:2], table.name
        else:
            assert len(copied) == (1 if table.name == "events" else 0), table.name


READERS: dict[str, Any] = {
    "sessions": lambda session, _: session.refresh(),
    "messages": lambda session, _: session.history(),
    "events": lambda session, _: session.events(),
    "metrics": lambda session, _: session.metrics(),
}


async def test_deleting_hides_what_the_registry_says(async_full: AsyncChatMemory, openai_server: OpenAIServer) -> None:
    """Each table that is said to be hidden has a call that shows its rows, and shows none of them until restore()."""
    session = await fill(async_full, openai_server, "acme", "ann")
    memories = async_full.tenant("acme").memories
    hidden = {table.name for table in TABLES if table.hidden and table.part_of is None}
    assert hidden == READERS.keys() | {"memories"}
    learnt = {each.id for each in await memories.list()}
    await session.delete()
    for name, read in READERS.items():
        with pytest.raises(SessionNotFoundError):
            await read(session, name)
    assert {each.id for each in await memories.list()} == set()
    assert await memories.recall("ann", user_id="ann") == []
    await session.restore()
    for name, read in READERS.items():
        await read(session, name)
    assert {each.id for each in await memories.list()} == learnt
