"""Two databases of one server: who is let into one is nobody in the other."""

from collections.abc import Iterator
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from chatmemory import ChatMemory, SchemaPermissionError
from chatmemory.storage.schema import bootstrap_sql
from chatmemory.storage.schema.roles import APP, WORKER
from tests.cli.conftest import Cli
from tests.fixtures.postgres import create_database, drop_database, on_login, own_roles


@pytest.fixture
def neighbour_url(server_url: str, template: str) -> Iterator[str]:
    """Another database of the same server, with a session of tenant acme, made by the administrator."""
    name = f"test_{uuid4().hex}"
    url = create_database(server_url, name, template)
    with ChatMemory.open(url) as memory:
        memory.tenant("acme").sessions.create(user_id="ann", title="Confidential").append("user", "Confidential")
    yield url
    drop_database(server_url, name)


@pytest.fixture
def own_url(empty_postgres_url: str, plain_login: str) -> str:
    """A database whose schema belongs to an ordinary login."""
    with psycopg.connect(empty_postgres_url, autocommit=True) as connection:
        connection.execute(bootstrap_sql(plain_login).encode())
    url = on_login(empty_postgres_url, plain_login)
    with ChatMemory.open(url) as memory:
        memory.tenant("acme").sessions.create(user_id="ann", title="Own")
    return url


def test_a_login_of_one_database_reads_nothing_in_another(own_url: str, neighbour_url: str, plain_login: str) -> None:
    """The library, and raw SQL that becomes any role it can, are refused in the other database."""
    foreign = on_login(neighbour_url, plain_login)
    with ChatMemory.open(foreign) as memory, pytest.raises(SchemaPermissionError):
        memory.tenant("acme").sessions.list()
    with psycopg.connect(foreign, autocommit=True) as connection:
        for role in (*own_roles(own_url), None):
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)) if role else "reset role")
            connection.execute("select set_config('chatmemory.tenant_id', 'acme', false)")
            for statement in (
                "select * from chatmemory.sessions",
                "select * from chatmemory.messages",
                "select * from chatmemory.learning_state(1, 1, false)",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())
    for role in own_roles(neighbour_url):
        with psycopg.connect(foreign) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(sql.SQL("set role {}").format(sql.Identifier(role)))


def test_the_command_line_reads_nothing_in_another(
    cli: Cli, own_url: str, neighbour_url: str, plain_login: str
) -> None:
    """`chatmemory sessions` lists in the login's own database, and fails without a word of the other's rows."""
    assert "Own" in cli("sessions", "--tenant", "acme", "--postgres", own_url).stdout
    done = cli("sessions", "--tenant", "acme", "--postgres", on_login(neighbour_url, plain_login), code=1)
    assert "Confidential" not in done.stdout + done.stderr
    assert "Ask an administrator" in done.stderr


@pytest.mark.parametrize("length", [41, 42, 63])
@pytest.mark.parametrize("letter", ["d", "é"])
def test_long_and_odd_database_names(server_url: str, letter: str, length: int) -> None:
    """Names of roles are derived from any name of a database, are short enough, and are the database's alone."""
    start = f"%s{{app}}\"' {uuid4().hex[:6]}"
    name = start + letter * ((length - len(start)) // len(letter.encode()))
    create_database(server_url, name)
    try:
        with psycopg.connect(server_url, dbname=name) as connection:
            row = connection.execute(f"select {APP}, {WORKER}".encode()).fetchone()
        assert row is not None
        assert all(len(role.encode()) <= 63 for role in row)
        assert (name in row[0]) == (len(name.encode()) <= 41)
        info = psycopg.conninfo.make_conninfo(server_url, dbname=name)
        with ChatMemory.open(info) as memory:
            session = memory.tenant("acme").sessions.create(user_id="ann")
            session.append("user", "Hello")
            memory.run_due()
            assert memory.tenant("umbrella").sessions.list(with_total=True).total == 0
    finally:
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
