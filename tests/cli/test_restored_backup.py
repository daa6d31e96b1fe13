"""A dump of one database, restored elsewhere: `migrate` makes it work again."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from chatmemory import ChatMemory, SchemaPermissionError, Settings
from chatmemory.embedded.server import EmbeddedPostgres, binaries
from chatmemory.storage.schema import script
from tests.cli.conftest import Cli
from tests.fixtures.postgres import create_database, on_login, own_roles
from tests.processes.release_work import Compass

Restore = Callable[[str], None]


@pytest.fixture
def backup(server_url: str, postgres_url: str, tmp_path: Path) -> Restore:
    """Fill a database and dump it; return what restores the dump into another."""
    with open_memory(postgres_url) as memory:
        session = memory.tenant("acme").sessions.create(user_id="ann", session_id="s-1")
        for n in range(4):
            session.append("user", f"Turn {n}: I work from Lisbon.")
        session.end()
        memory.run_due()
        memory.tenant("acme").sessions.create(user_id="ann", session_id="s-2").append("user", "Confidential")
    dump = tmp_path / "dump.sql"
    run("pg_dump", "-d", postgres_url, "-f", str(dump))

    def restore(url: str) -> None:
        run("psql", "-q", "-d", url, "-f", str(dump))  # roles that are not there are errors, and it goes on

    return restore


def run(program: str, *arguments: str) -> None:
    """Run one of Postgres' own programs."""
    done = subprocess.run(
        [str(binaries() / program), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "LC_ALL": "C"},
    )
    assert done.returncode == 0, done.stderr


def open_memory(url: str, **settings: Any) -> ChatMemory:
    """A memory with an embedder."""
    given = Settings(cleanup_inactive_sessions=False, **settings)
    return ChatMemory.open(url, settings=given, embedder=Compass())


def check_whole(url: str) -> None:
    """Append, resume, learn, recall, and see that another tenant sees nothing."""
    with open_memory(url, auto_migrate=False) as memory:
        acme = memory.tenant("acme")
        session = acme.sessions.resume_or_create("s-2", user_id="ann")
        assert session.id == "s-2"
        assert [message.text for message in session.context(max_tokens=1000).messages] == ["Confidential"]
        for n in range(3):
            session.append("user", f"Turn {n}: I like Oslo.")
        session.end()
        assert memory.run_due().processed == 1
        for city in ("Lisbon", "Oslo"):
            found = acme.memories.recall(f"work {city}", user_id="ann", k=1)
            assert city in found[0].memory.text
            assert set(found[0].ranks) == {"lexical", "vector"}
        other = memory.tenant("umbrella")
        assert other.sessions.list(with_total=True).total == 0
        assert other.memories.recall("Lisbon", user_id="ann") == []
    app, _ = own_roles(url)
    with psycopg.connect(url) as connection:
        for tenant, count in (("umbrella", 0), ("acme", 8)):
            connection.execute("select set_config('role', %s, true)", (app,))
            connection.execute("select set_config('chatmemory.tenant_id', %s, true)", (tenant,))
            assert connection.execute("select count(*) from chatmemory.messages").fetchone() == (count,)


@pytest.fixture
def fresh_server(data_dir: Path) -> Iterator[str]:
    """A cluster in which no role of ours exists."""
    server = EmbeddedPostgres(data_dir)
    yield server.start()
    server.stop()


def test_into_a_fresh_cluster(backup: Restore, fresh_server: str, cli: Cli) -> None:
    """Doctor finds what is missing, and changes nothing; migrate repairs it; then all is well."""
    url = create_database(fresh_server, "elsewhere")
    backup(url)
    for _ in range(2):
        report = cli.json("doctor", "--postgres", url, code=1)
        wrong = {check["name"]: check["detail"] for check in report["checks"] if not check["ok"]}
        assert set(wrong) == {"roles", "row-level security", "grants", "functions"}
        assert "chatmemory_app_elsewhere does not exist" in wrong["roles"]
    with pytest.raises(Exception, match="not as this library needs it"):
        check_whole(url)
    assert "roles (repaired)" in cli("migrate", "--postgres", url).stdout
    check_whole(url)
    assert cli.json("doctor", "--postgres", url)["ok"]


def test_into_another_database_of_the_same_server(backup: Restore, empty_postgres_url: str, postgres_url: str) -> None:
    """The roles of the first have no rights in the second, which gets its own; the first works on."""
    backup(empty_postgres_url)
    with open_memory(empty_postgres_url) as memory:  # auto_migrate
        assert memory.tenant("acme").sessions.list(user_id="ann", with_total=True).total == 2
    check_whole(empty_postgres_url)
    with psycopg.connect(empty_postgres_url) as connection:
        for role in own_roles(postgres_url):
            found = connection.execute("select has_schema_privilege(%s, 'chatmemory', 'usage')", (role,)).fetchone()
            assert found == (False,)
    with open_memory(postgres_url, auto_migrate=False) as memory:
        assert memory.tenant("acme").sessions.list(user_id="ann", with_total=True).total == 2


def test_as_a_login_that_is_no_administrator(backup: Restore, fresh_server: str, cli: Cli) -> None:
    """It is told one command for an administrator; after that it works, and needs no more rights."""
    url = create_database(fresh_server, "elsewhere")
    backup(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("create role plain login")
    plain = on_login(url, "plain")
    command = "chatmemory migrate --print --login plain | psql elsewhere"
    with open_memory(plain) as memory, pytest.raises(SchemaPermissionError, match="belongs to postgres") as raised:
        memory.tenant("acme").sessions.list()
    assert command in str(raised.value)
    assert command in cli("migrate", "--postgres", plain, code=1).stderr.replace("\n", " ")
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(script("plain").encode())
    check_whole(plain)
    assert cli("migrate", "--postgres", plain).stdout == "up to date\n"
