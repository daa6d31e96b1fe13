"""Two hostile tenants on one database."""

from datetime import timedelta

import psycopg
import pytest
from psycopg import AsyncConnection

from chatmemory import AsyncChatMemory, SessionNotFoundError
from chatmemory.storage.ownership import TABLES
from chatmemory.storage.schema.roles import APP
from tests._async.filling import amounts, fill
from tests.fixtures.openai_server import OpenAIServer
from tests.helpers import calls


async def raw(memory: AsyncChatMemory, tenant: str | None, query: str) -> list[tuple[object, ...]]:
    """Run SQL as the app's role does, with the WHERE clause forgotten."""
    assert memory.settings.postgres_url is not None
    url = memory.settings.postgres_url.get_secret_value()
    async with await AsyncConnection.connect(url) as connection, connection.transaction():
        await connection.execute(f"select set_config('role', {APP}, true)".encode())
        if tenant is not None:
            await connection.execute("select set_config('chatmemory.tenant_id', %s, true)", (tenant,))
        cursor = await connection.execute(query.encode())
        return await cursor.fetchall() if cursor.description else []


async def test_no_public_call_reaches_the_other_tenant(async_memory: AsyncChatMemory) -> None:
    """The same ids and the same user name, and still nothing is seen, counted, resumed, forked, ended or erased."""
    mine = async_memory.tenant("acme").sessions
    session = await mine.create(user_id="ann", session_id="s-1", title="Confidential")
    await session.append("user", "Confidential", message_id="m-1")
    theirs = async_memory.tenant("umbrella").sessions
    assert (await theirs.list(with_total=True)).total == 0
    for call in calls(
        lambda: theirs.get("s-1"),
        lambda: theirs.get("s-1", user_id="ann"),
        lambda: theirs.restore("s-1"),
    ):
        with pytest.raises(SessionNotFoundError):
            await call()
    assert isinstance((await theirs.end_many(["s-1"]))["s-1"], SessionNotFoundError)
    assert await theirs.end_inactive(timedelta(0)) == []
    assert (await theirs.resume_or_create("s-1", user_id="ann")).id != "s-1"
    adopted = await theirs.resume_or_create("s-1", user_id="ann", on_missing="adopt")
    assert adopted.info.message_count == 0
    await adopted.append("user", "Mine now?", message_id="m-1")
    assert (await adopted.erase()).messages == 1
    for call in calls(
        lambda: adopted.history(),
        lambda: adopted.fork(),
        lambda: adopted.end(),
        lambda: adopted.erase(),
        lambda: adopted.delete(),
    ):
        with pytest.raises(SessionNotFoundError):
            await call()
    assert (await session.refresh()).is_active
    assert [message.text for message in await session.history()] == ["Confidential"]


async def test_foreign_and_missing_look_the_same(async_memory: AsyncChatMemory) -> None:
    """The error of a foreign id is, to the letter, the error of one that never was."""
    await async_memory.tenant("acme").sessions.create(user_id="ann", session_id="s-1")
    theirs = async_memory.tenant("umbrella").sessions
    texts = []
    for id in ("s-1", "s-2"):
        with pytest.raises(SessionNotFoundError) as raised:
            await theirs.get(id)
        texts.append(str(raised.value).replace(id, "…"))
    assert texts[0] == texts[1]


@pytest.mark.vectors
async def test_a_forgotten_where_clause_leaks_nothing(postgres_url: str, openai_server: OpenAIServer) -> None:
    """Under chatmemory_app, SQL without a WHERE clause sees one tenant's rows, and none without a tenant."""
    settings = openai_server.settings(embedding_model="compass", cleanup_inactive_sessions=False)
    async with AsyncChatMemory.open(postgres_url, settings=settings) as memory:
        for tenant in ("acme", "umbrella"):
            await fill(memory, openai_server, tenant, "ann")
        theirs = amounts(postgres_url, "tenant_id = 'umbrella'")
        for table in (table.name for table in TABLES):
            assert await raw(memory, "acme", f"select distinct tenant_id from chatmemory.{table}") == [("acme",)], table
            for nobody in (None, ""):
                assert await raw(memory, nobody, f"select tenant_id from chatmemory.{table}") == [], table
            delete = f"with gone as (delete from chatmemory.{table} returning tenant_id) select * from gone"
            assert {row[0] for row in await raw(memory, "acme", delete)} <= {"acme"}, table
        assert not any(amounts(postgres_url, "tenant_id = 'acme'").values())
        assert amounts(postgres_url, "tenant_id = 'umbrella'") == theirs


@pytest.mark.parametrize(
    "query",
    [
        "insert into chatmemory.events (tenant_id, session_id, type) values ('umbrella', 's', 'x')",
        "update chatmemory.sessions set tenant_id = 'umbrella'",
    ],
)
async def test_no_row_can_be_written_for_another_tenant(async_memory: AsyncChatMemory, query: str) -> None:
    """The policy refuses rows that would belong to someone else."""
    await async_memory.tenant("acme").sessions.create(user_id="ann")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await raw(async_memory, "acme", query)


async def test_the_tenant_does_not_outlive_its_transaction(async_memory: AsyncChatMemory) -> None:
    """After a call the connection has neither tenant nor role left, so a transaction pooler may hand it on."""
    await async_memory.tenant("acme").sessions.create(user_id="ann")
    await async_memory.tenant("acme").sessions.list()
    pool = await async_memory._database.connect()
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select coalesce(current_setting('chatmemory.tenant_id', true), ''), current_user = session_user"
        )
        assert await cursor.fetchall() == [("", True)]


async def test_every_table_is_protected_from_its_owner_too(async_memory: AsyncChatMemory) -> None:
    """Row-level security is on and forced on every table of the schema, and the roles cannot bypass it."""
    await async_memory.tenant("acme").sessions.list()
    pool = await async_memory._database.connect()
    async with pool.connection() as connection:
        cursor = await connection.execute(
            "select relname from pg_class where relnamespace = 'chatmemory'::regnamespace and relkind = 'r' "
            "and not (relrowsecurity and relforcerowsecurity)"
        )
        assert await cursor.fetchall() == []
        cursor = await connection.execute(
            "select rolname from pg_roles where rolname like 'chatmemory%' and (rolsuper or rolbypassrls)"
        )
        assert await cursor.fetchall() == []
