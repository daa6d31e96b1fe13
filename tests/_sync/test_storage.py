# Generated from tests/_async/test_storage.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Postgres that is wrong, closed to us, too new, or not there."""

from pathlib import Path

import psycopg
import pytest
from psycopg import Connection

from chatmemory import (
    ChatMemory,
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


def execute(url: str, sql: str) -> None:
    """Run SQL as the server's administrator."""
    with Connection.connect(url, autocommit=True) as connection:
        connection.execute(sql.encode())


def use(url: str, **settings: object) -> None:
    """Open a memory, store something, close it."""
    with ChatMemory.open(url, settings=Settings.model_validate(settings)) as memory:
        session = memory.tenant("acme").sessions.create(user_id="ann")
        session.append("user", "Hello")


def test_open_does_no_io() -> None:
    """Opening works without a server; nothing is tried before the first use."""
    ChatMemory.open("postgresql://nobody@127.0.0.1:1/nowhere").tenant("acme")


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
def test_an_address_that_cannot_work_is_told_without_its_password(url: str) -> None:
    """Unreachable or unreadable: a typed error, and the password in no part of it."""
    with pytest.raises((StorageUnavailableError, ConfigurationError)) as raised:
        use(url, postgres_timeout_seconds=2)
    error: BaseException | None = raised.value
    while error is not None:
        assert "s3cr3t" not in str(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def test_a_short_password_is_not_betrayed_by_what_is_blacked_out() -> None:
    """A password that also occurs in the driver's text changes nothing there."""
    with pytest.raises(StorageUnavailableError, match="connection") as raised:
        use("postgresql://ann:n@127.0.0.1:1/db", postgres_timeout_seconds=2)
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
def test_a_setting_beyond_its_range_is_named(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that Postgres or the clock cannot hold are refused when opening."""
    monkeypatch.setenv(f"CHATMEMORY_{name.upper()}", value)
    with pytest.raises(ConfigurationError, match=name.upper()):
        ChatMemory.open()


def test_an_env_file_that_is_not_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A .env in another encoding is a typed error."""
    (tmp_path / ".env").write_bytes(b"CHATMEMORY_POSTGRES_URL=caf\xe9")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"\.env"):
        ChatMemory.open()


def test_a_pooler_that_loses_statements_is_told_by_the_setting(memory: ChatMemory, postgres_url: str) -> None:
    """If the pooler loses prepared statements (PgBouncer before 1.21), the error names the setting that helps."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    for n in range(3):
        session.append("user", str(n))
    pool = memory._database._pool
    assert pool is not None
    with pool.connection() as connection:
        connection.pgconn.exec_(b"deallocate all")  # behind psycopg's back
    with pytest.raises(ConfigurationError, match="PREPARED_STATEMENTS"):
        session.append("user", "lost")


def test_settings_errors_name_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bad variable is named, its value is not shown."""
    monkeypatch.setenv("CHATMEMORY_MAX_SESSIONS_PER_USER", "s3cr3t")
    with pytest.raises(ConfigurationError, match="CHATMEMORY_MAX_SESSIONS_PER_USER") as raised:
        ChatMemory.open()
    assert "s3cr3t" not in str(raised.value)


@pytest.mark.parametrize("name", ["CHATMEMORY_POSTGRES_URL", "CHATMEMORY_REDIS_URL", "CHATMEMORY_MODEL"])
def test_an_empty_variable_is_not_set(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a compose file leaves it where nothing is filled in."""
    monkeypatch.setenv(name, "")
    assert ChatMemory.open("", redis="").settings == Settings()
    assert getattr(Settings(), name.removeprefix("CHATMEMORY_").lower()) is None


def test_an_unknown_setting_is_named() -> None:
    """A misspelt one is an error that names the right one, and what is no Settings is one too."""
    with pytest.raises(ValueError, match="did you mean 'redis_url'"):
        Settings(redis_ulr="redis://ann:s3cr3t@x")
    with pytest.raises(ConfigurationError, match="not a dict"):
        ChatMemory.open(settings={"model": "x"})  # type: ignore[arg-type]


def test_a_schema_that_is_too_new_is_left_alone(postgres_url: str) -> None:
    """A library works with a schema of the next release, and refuses one that says it is too old for it."""
    newer = latest_version() + 1
    execute(postgres_url, f"insert into chatmemory.schema_migrations values ({newer}, 'from the future', '')")
    use(postgres_url)
    execute(
        postgres_url,
        f"update chatmemory.schema_parts set revision = {release_number() + 1} where name = 'oldest release'",
    )
    with pytest.raises(SchemaVersionError, match=r"more than one release newer.*Upgrade chatmemory"):
        use(postgres_url)


def test_a_schema_of_other_files_is_told(postgres_url: str) -> None:
    """A database whose tables are not those of this library's files is refused, and the error says what to do."""
    execute(postgres_url, "alter table chatmemory.schema_migrations drop column checksum")
    with pytest.raises(SchemaVersionError, match=r"another, unreleased.*0001_sessions\.sql.*Export") as raised:
        use(postgres_url)
    assert "drop schema" not in str(raised.value)


def test_a_function_is_replaced_by_a_newer_one_only(postgres_url: str) -> None:
    """Missing and older functions are installed, also with other arguments; newer ones stay."""
    execute(
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
        use(postgres_url, auto_migrate=False)
    use(postgres_url)
    with Connection.connect(postgres_url) as connection:
        found = connection.execute(
            "select p.proname, pg_get_function_result(p.oid), p.prosecdef from pg_proc p "
            "where p.pronamespace = 'chatmemory'::regnamespace "
            "and p.proname in ('lock_user', 'refuse_append', 'messages_after', 'append_v2') order by 1"
        )
        assert found.fetchall() == [
            ("append_v2", "integer", True),  # of a newer release: left, but nobody else's
            ("lock_user", "void", True),
            ("messages_after", "integer", True),
            ("refuse_append", "void", True),
        ]


def test_without_auto_migrate_an_empty_database_stays_empty(empty_postgres_url: str) -> None:
    """The error names the command that creates the schema."""
    with pytest.raises(SchemaVersionError, match="chatmemory migrate"):
        use(empty_postgres_url, auto_migrate=False)


def test_the_printed_script_creates_all_that_is_needed(empty_postgres_url: str, plain_login: str) -> None:
    """An administrator runs the script; an ordinary user, who owns nothing, works with it."""
    execute(empty_postgres_url, script(plain_login))
    use(on_login(empty_postgres_url, plain_login), auto_migrate=False)


def test_a_user_who_may_not_create_is_told_the_sql(empty_postgres_url: str, plain_login: str) -> None:
    """The error holds SQL that an administrator can run as it stands, and then the user can go on alone."""
    url = on_login(empty_postgres_url, plain_login)
    with pytest.raises(SchemaPermissionError, match="migrate --print") as raised:
        use(url)
    sql = bootstrap_sql(plain_login)
    assert sql in str(raised.value)
    execute(empty_postgres_url, sql)
    use(url)


def test_a_user_who_may_create_roles_needs_no_administrator(data_dir: Path) -> None:
    """A database user with CREATEROLE sets everything up, though a role's creator is no member of it by itself."""
    server = EmbeddedPostgres(data_dir)  # without our roles
    try:
        url = server.start()
        execute(url, "create role creator login createrole; grant create on database chatmemory to creator")
        use(on_login(url, "creator"))
    finally:
        server.stop()


def test_the_owner_of_the_tables_is_bound_too(empty_postgres_url: str, plain_login: str) -> None:
    """The user who created the tables, not a superuser, sees no row without a tenant."""
    execute(empty_postgres_url, bootstrap_sql(plain_login))
    url = on_login(empty_postgres_url, plain_login)
    use(url)
    with Connection.connect(url) as connection:
        for table in TABLES:
            if not table.optional:
                cursor = connection.execute(f"select * from chatmemory.{table.name}".encode())
                assert cursor.fetchall() == []


def test_a_lost_connection_heals(memory: ChatMemory, postgres_url: str) -> None:
    """All connections are cut; the next append is retried on a new one and stored once."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    kill = (
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()"
    )
    for n in range(1, 4):
        execute(postgres_url, kill)
        assert session.append("user", str(n)).seq == n
    execute(postgres_url, kill)
    assert [message.seq for message in session.history()] == [1, 2, 3]
    execute(postgres_url, kill)
    assert (memory.tenant("acme").sessions.list(with_total=True)).total == 1


def test_an_append_that_was_tried_twice_is_not_taken_for_a_repeat(memory: ChatMemory, postgres_url: str) -> None:
    """Where Postgres went away in between, the stored message may be the call's own: a backend answers it."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    session.append("user", "Hello", message_id="m-1")
    assert session.append("user", "Hello", message_id="m-1").was_stored
    execute(
        postgres_url,
        "select pg_terminate_backend(pid) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()",
    )
    assert not session.append("user", "Hello", message_id="m-1").was_stored


def test_a_closed_memory_says_so(memory: ChatMemory) -> None:
    """Using a handle after close is a typed error, and closing twice is none."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    memory.close()
    memory.close()
    with pytest.raises(ConfigurationError, match="closed"):
        session.append("user", "late")


def test_an_unexpected_refusal_shows_no_content(memory: ChatMemory, postgres_url: str) -> None:
    """For any error of Postgres, ours has the SQLSTATE and no row data."""
    session = memory.tenant("acme").sessions.create(user_id="ann")
    execute(postgres_url, "alter table chatmemory.messages add check (content <> 'secret')")
    with pytest.raises(ChatMemoryError, match="CheckViolation") as raised:
        session.append("user", "secret")
    assert "secret" not in str(raised.value)
    assert not isinstance(raised.value.__cause__, psycopg.Error)
    assert session.history() == []
