"""Postgres that is wrong, closed to us, too new, or not there."""

from pathlib import Path

import psycopg
import pytest
from psycopg import AsyncConnection

from chatmemory import (
    AsyncChatMemory,
    ChatMemoryError,
    ConfigurationError,
    SchemaPermissionError,
    SchemaVersionError,
    Settings,
    StorageUnavailableError,
)
from chatmemory.embedded.server import EmbeddedPostgres
from chatmemory.storage.ownership import TABLES
from chatmemory.storage.schema import bootstrap_sql, latest_version, script
from chatmemory.storage.schema.files import release_number
from tests.fixtures.postgres import on_login


async def execute(url: str, sql: str) -> None:
    """Run SQL as the server's administrator."""
    async with await AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(sql.encode())


async def use(url: str, **settings: object) -> None:
    """Open a memory, store something, close it."""
    async with AsyncChatMemory.open(url, settings=Settings.model_validate(settings)) as memory:
        session = await memory.tenant("acme").sessions.create(user_id="ann")
        await session.append("user", "Hello")


def test_open_does_no_io() -> None:
    """Opening works without a server; nothing is tried before the first use."""
    AsyncChatMemory.open("postgresql://nobody@127.0.0.1:1/nowhere").tenant("acme")


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:s3cr3t@127.0.0.1:1/db",
        "postgresql://ann:s3cr3t@/db?host=/nonexistent",
        "postgresql://ann:s3cr3t%ZZ@127.0.0.1/db",
        "mysql://ann:s3cr3t@127.0.0.1/db",
        "host=127.0.0.1 port=1 password=s3cr3t user=ann",
        "postgresql://ann:s3cr3t@127.0.0.1:1/db?nonsense=1",
        "postgresql://ann:s3cr3t/x@127.0.0.1:1/db",
        "postgresql://ann:1/s3cr3t@127.0.0.1:1/db",
        "postgresql://ann:x@s3cr3t@127.0.0.1:1/db",
        "postgresql://ann:x@s3cr3t:1@127.0.0.1:1/db",
        "postgresql://ann:x?s3cr3t@127.0.0.1:1/db",
        "postgresql://ann:x#s3cr3t@127.0.0.1:1/db",
    ],
)
async def test_an_address_that_cannot_work_is_told_without_its_password(url: str) -> None:
    """Unreachable or unreadable: a typed error, and the password in no part of it."""
    with pytest.raises((StorageUnavailableError, ConfigurationError)) as raised:
        await use(url, postgres_timeout_seconds=2)
    error: BaseException | None = raised.value
    while error is not None:
        assert "s3cr3t" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


async def test_a_short_password_is_not_betrayed_by_what_is_blacked_out() -> None:
    """A password that also occurs in the driver's text changes nothing there."""
    with pytest.raises(StorageUnavailableError, match="connection") as raised:
        await use("postgresql://ann:n@127.0.0.1:1/db", postgres_timeout_seconds=2)
    assert "*" not in str(raised.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("session_timeout_hours", "inf"),
        ("cleanup_interval_hours", "1e300"),
        ("postgres_timeout_seconds", "inf"),
        ("max_sessions_per_user", "9" * 5000),
    ],
)
async def test_a_setting_beyond_its_range_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that Postgres or the clock cannot hold are refused when opening."""
    monkeypatch.setenv(f"CHATMEMORY_{name.upper()}", value)
    with pytest.raises(ConfigurationError, match=name.upper()):
        AsyncChatMemory.open()


async def test_an_env_file_that_is_not_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .env in another encoding is a typed error."""
    (tmp_path / ".env").write_bytes(b"CHATMEMORY_POSTGRES_URL=caf\xe9")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"\.env"):
        AsyncChatMemory.open()


async def test_a_pooler_that_loses_statements_is_told_by_the_setting(
    async_memory: AsyncChatMemory, postgres_url: str
) -> None:
    """If the pooler loses prepared statements (PgBouncer before 1.21), the error names the setting that helps."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann")
    for n in range(3):
        await session.append("user", str(n))
    pool = async_memory._database._pool
    assert pool is not None
    async with pool.connection() as connection:
        connection.pgconn.exec_(b"deallocate all")  # behind psycopg's back
    with pytest.raises(ConfigurationError, match="PREPARED_STATEMENTS"):
        await session.append("user", "lost")


async def test_settings_errors_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad variable is named, its value is not shown."""
    monkeypatch.setenv("CHATMEMORY_MAX_SESSIONS_PER_USER", "s3cr3t")
    with pytest.raises(ConfigurationError, match="CHATMEMORY_MAX_SESSIONS_PER_USER") as raised:
        AsyncChatMemory.open()
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize("name", ["CHATMEMORY_POSTGRES_URL", "CHATMEMORY_REDIS_URL", "CHATMEMORY_MODEL"])
async def test_an_empty_variable_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a compose file leaves it where nothing is filled in."""
    monkeypatch.setenv(name, "")
    assert AsyncChatMemory.open("", redis="").settings == Settings()
    assert getattr(Settings(), name.removeprefix("CHATMEMORY_").lower()) is None


async def test_an_unknown_setting_is_named() -> None:
    """A misspelt one is an error that names the right one, and what is no Settings is one too."""
    with pytest.raises(ValueError, match="did you mean 'redis_url'"):
        Settings(redis_ulr="redis://ann:s3cr3t@x")
    with pytest.raises(ConfigurationError, match="not a dict"):
        AsyncChatMemory.open(settings={"model": "x"})  # type: ignore[arg-type]


async def test_a_schema_that_is_too_new_is_left_alone(postgres_url: str) -> None:
    """A library works with a schema of the next release, and refuses one that says it is too old for it."""
    newer = latest_version() + 1
    await execute(postgres_url, f"insert into chatmemory.schema_migrations values ({newer}, 'from the future', '')")
    await use(postgres_url)
    await execute(
        postgres_url,
        f"update chatmemory.schema_parts set revision = {release_number() + 1} where name = 'oldest release'",
    )
    with pytest.raises(SchemaVersionError, match=r"more than one release newer.*Upgrade chatmemory"):
        await use(postgres_url)


async def test_a_schema_of_other_files_is_told(postgres_url: str) -> None:
    """A database whose tables are not those of this library's files is refused, and the error says what to do."""
    await execute(postgres_url, "alter table chatmemory.schema_migrations drop column checksum")
    with pytest.raises(SchemaVersionError, match=r"another, unreleased.*0001_sessions\.sql.*Export") as raised:
        await use(postgres_url)
    assert "drop schema" not in str(raised.value)


async def test_a_function_is_replaced_by_a_newer_one_only(postgres_url: str) -> None:
    """Missing and older functions are installed, also with other arguments; newer ones stay."""
    await execute(
        postgres_url,
        """
        drop function chatmemory.lock_user;
        create function chatmemory.lock_user(a text, b text, c integer) returns integer language sql as 'select 1';
        update chatmemory.schema_parts set revision = 0 where name = 'lock_user';
        drop function chatmemory.refuse_append;
        drop function chatmemory.messages_after;
        create function chatmemory.messages_after(a text, b text, c bigint, d bigint) returns integer
            language sql as 'select 1';
        update chatmemory.schema_parts set revision = 9 where name = 'messages_after';
        create function chatmemory.append_v2() returns integer language sql as 'select 1';
        """,
    )
    with pytest.raises(SchemaVersionError, match=r"anybody may call .*and \d+ more.*chatmemory migrate"):
        await use(postgres_url, auto_migrate=False)
    await use(postgres_url)
    async with await AsyncConnection.connect(postgres_url) as connection:
        found = await connection.execute(
            "select p.proname, pg_get_function_result(p.oid), p.prosecdef from pg_proc p "
            "where p.pronamespace = 'chatmemory'::regnamespace "
            "and p.proname in ('lock_user', 'refuse_append', 'messages_after', 'append_v2') order by 1"
        )
        assert await found.fetchall() == [
            ("append_v2", "integer", True),  # of a newer release: left, but nobody else's
            ("lock_user", "void", True),
            ("messages_after", "integer", True),
            ("refuse_append", "void", True),
        ]


async def test_without_auto_migrate_an_empty_database_stays_empty(empty_postgres_url: str) -> None:
    """The error names the command that creates the schema."""
    with pytest.raises(SchemaVersionError, match="chatmemory migrate"):
        await use(empty_postgres_url, auto_migrate=False)


async def test_the_printed_script_creates_all_that_is_needed(empty_postgres_url: str, plain_login: str) -> None:
    """An administrator runs the script; an ordinary user, who owns nothing, works with it."""
    await execute(empty_postgres_url, script(plain_login))
    await use(on_login(empty_postgres_url, plain_login), auto_migrate=False)


async def test_a_user_who_may_not_create_is_told_the_sql(empty_postgres_url: str, plain_login: str) -> None:
    """The error holds SQL that an administrator can run as it stands, and then the user can go on alone."""
    url = on_login(empty_postgres_url, plain_login)
    with pytest.raises(SchemaPermissionError, match="migrate --print") as raised:
        await use(url)
    sql = bootstrap_sql(plain_login)
    assert sql in str(raised.value)
    await execute(empty_postgres_url, sql)
    await use(url)


async def test_a_user_who_may_create_roles_needs_no_administrator(data_dir: Path) -> None:
    """A database user with CREATEROLE sets everything up, though a role's creator is no member of it by itself."""
    server = EmbeddedPostgres(data_dir)  # without our roles
    try:
        url = server.start()
        await execute(url, "create role creator login createrole; grant create on database chatmemory to creator")
        await use(on_login(url, "creator"))
    finally:
        server.stop()


async def test_the_owner_of_the_tables_is_bound_too(empty_postgres_url: str, plain_login: str) -> None:
    """The user who created the tables, not a superuser, sees no row without a tenant."""
    await execute(empty_postgres_url, bootstrap_sql(plain_login))
    url = on_login(empty_postgres_url, plain_login)
    await use(url)
    async with await AsyncConnection.connect(url) as connection:
        for table in TABLES:
            if not table.optional:
                cursor = await connection.execute(f"select * from chatmemory.{table.name}".encode())
                assert await cursor.fetchall() == []


async def test_a_lost_connection_heals(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """All connections are cut; the next append is retried on a new one and stored once."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann")
    kill = (
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    for n in range(1, 4):
        await execute(postgres_url, kill)
        assert (await session.append("user", str(n))).seq == n
    await execute(postgres_url, kill)
    assert [message.seq for message in await session.history()] == [1, 2, 3]
    await execute(postgres_url, kill)
    assert (await async_memory.tenant("acme").sessions.list(with_total=True)).total == 1


async def test_an_append_that_was_tried_twice_is_not_taken_for_a_repeat(
    async_memory: AsyncChatMemory, postgres_url: str
) -> None:
    """Where Postgres went away in between, the stored message may be the call's own: a backend answers it."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann")
    await session.append("user", "Hello", message_id="m-1")
    assert (await session.append("user", "Hello", message_id="m-1")).was_stored
    await execute(
        postgres_url,
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()",
    )
    assert not (await session.append("user", "Hello", message_id="m-1")).was_stored


async def test_a_closed_memory_says_so(async_memory: AsyncChatMemory) -> None:
    """Using a handle after close is a typed error, and closing twice is none."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann")
    await async_memory.close()
    await async_memory.close()
    with pytest.raises(ConfigurationError, match="closed"):
        await session.append("user", "late")


async def test_an_unexpected_refusal_shows_no_content(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """For any error of Postgres, ours has the SQLSTATE and no row data."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann")
    await execute(postgres_url, "alter table chatmemory.messages add check (content <> 'secret')")
    with pytest.raises(ChatMemoryError, match="CheckViolation") as raised:
        await session.append("user", "secret")
    assert "secret" not in str(raised.value)
    assert not isinstance(raised.value.__cause__, psycopg.Error)
    assert await session.history() == []
