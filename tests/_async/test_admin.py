"""Examining and migrating a memory by public calls."""

import json

import psycopg
import pytest

from chatmemory import AsyncChatMemory, Examination, InvalidInputError, Settings


async def test_a_sound_database_passes_every_check(async_memory: AsyncChatMemory) -> None:
    """The examination says so, is JSON-ready, and leaves nothing behind."""
    found = await async_memory.examine(tenant_id="acme")
    assert found.ok
    assert [check.name for check in found.checks][:3] == ["database", "settings", "schema"]
    assert "tenant isolation" in {check.name for check in found.checks}
    assert found.learning["spent today"] == "0 tokens by tenant 'acme'"
    assert Examination.from_dict(json.loads(json.dumps(found.to_dict()))) == found
    assert (await async_memory.tenant("doctor").sessions.list(with_total=True)).total == 0


async def test_what_depends_on_a_failed_check_is_named(empty_postgres_url: str) -> None:
    """Without the schema nothing that needs it is checked; migrate() brings it, and then all is well."""
    async with AsyncChatMemory.open(empty_postgres_url) as memory:
        found = await memory.examine()
        assert [(check.name, check.ok) for check in found.checks] == [
            ("database", True),
            ("settings", True),
            ("schema", False),
        ]
        assert {"roles", "row-level security", "tenant isolation"} <= set(found.checks[2].unchecked)
        assert "0001_sessions.sql" in (await memory.migrate()).applied
        assert (await memory.migrate()).applied == ()
        assert (await memory.examine()).ok


async def test_an_unreachable_database_is_reported() -> None:
    """No error is raised, no password is shown, and Redis is examined all the same."""
    settings = Settings(redis_url="redis://:hunter2@127.0.0.1:1/0")
    async with AsyncChatMemory.open("postgresql://u:hunter2@127.0.0.1:1/db", settings=settings) as memory:
        found = await memory.examine()
    assert [(check.name, check.ok) for check in found.checks] == [("database", False), ("redis", False)]
    assert "schema" in found.checks[0].unchecked
    assert "hunter2" not in json.dumps(found.to_dict())


async def test_an_open_table_is_found(async_memory: AsyncChatMemory, postgres_url: str) -> None:
    """Row-level security that is off is found by its setting, and by what another tenant can read."""
    await async_memory.tenant("acme").sessions.create(user_id="ann")
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("alter table chatmemory.sessions disable row level security")
    found = await async_memory.examine()
    assert {check.name for check in found.checks if not check.ok} == {"row-level security", "tenant isolation"}


async def test_the_script_for_an_administrator_needs_no_database() -> None:
    """It is for the user that is named, or the one in the address."""
    async with AsyncChatMemory.open("postgresql://ann@127.0.0.1:1/db") as memory:
        assert memory.migration_script() == memory.migration_script("ann")
        assert memory.migration_script("ben") != memory.migration_script("ann")
        with pytest.raises(InvalidInputError):
            await memory.examine(tenant_id="")
