"""The floor: the same work as chatmemory's, written by hand for psycopg and redis-py, with nothing around it.

Plain tables in the same database, with the same keys and foreign key but no row-level security; one connection
in autocommit without a pool; one prepared statement for each piece of work; the window as a Redis list, written and
read in one pipeline. Tokens are not counted.
"""

import json
from collections.abc import Sequence
from typing import Any

import psycopg
import redis
import redis.asyncio
import uuid_utils
from psycopg import AsyncConnection, Connection

Row = tuple[Any, ...]

TENANT = "bench"

TABLES = """
drop schema if exists bench_floor cascade;
create schema bench_floor;
create table bench_floor.sessions (
    tenant_id text not null, id text not null, title text,
    message_count bigint not null, token_count bigint not null, last_seq bigint not null,
    updated_at timestamptz not null, last_active_at timestamptz not null, last_message_at timestamptz,
    primary key (tenant_id, id)
) with (fillfactor = 70);
create table bench_floor.messages (
    tenant_id text not null, session_id text not null, seq bigint not null, id text not null, role text not null,
    content text not null, content_json json, metadata json, tokens integer, created_at timestamptz not null,
    primary key (tenant_id, session_id, seq), unique (tenant_id, session_id, id),
    foreign key (tenant_id, session_id) references bench_floor.sessions on delete cascade
);
"""
FILL_MESSAGES = "copy bench_floor.messages (tenant_id, session_id, seq, id, role, content, created_at) from stdin"
FILL_SESSION = "insert into bench_floor.sessions values (%s, %s, 'bench', %s, 0, %s, now(), now(), now())"

_COUNT = (
    "with s as (update bench_floor.sessions set last_seq = last_seq + {0}, message_count = message_count + {0}, "
    "updated_at = now(), last_active_at = now(), last_message_at = now() "
    "where tenant_id = %s and id = %s returning tenant_id, id, last_seq) "
    "insert into bench_floor.messages (tenant_id, session_id, seq, id, role, content, metadata, created_at) "
)
APPEND = _COUNT.format(1) + (
    "select s.tenant_id, s.id, s.last_seq, %s, %s, %s, %s, now() from s returning seq, created_at"
)
APPEND_TWO = _COUNT.format(2) + (
    "select s.tenant_id, s.id, s.last_seq - v.back, v.id, v.role, v.content, v.metadata::json, now() from s, "
    "(values (1, %s, %s, %s, %s), (0, %s, %s, %s, %s)) as v (back, id, role, content, metadata) "
    "returning seq, created_at"
)
# Both rows, and the newest 20 with them; what a statement inserts it does not see as rows of the table.
APPEND_AND_READ = (
    _COUNT.format(2).replace(") insert", "), i as (insert")
    + "select s.tenant_id, s.id, s.last_seq - v.back, v.id, v.role, v.content, v.metadata::json, now() from s, "
    "(values (1, %s, %s, %s, %s), (0, %s, %s, %s, %s)) as v (back, id, role, content, metadata) returning *) "
    "select seq, id, role, content, content_json, metadata, tokens, created_at from ("
    "select * from i union all (select * from bench_floor.messages where tenant_id = %s and session_id = %s "
    "order by seq desc limit 18)) w order by seq"
)
HISTORY = (
    "select seq, id, role, content, content_json, metadata, tokens, created_at from bench_floor.messages "
    "where tenant_id = %s and session_id = %s order by seq desc limit 20"
)


def cached(id: str, role: str, content: str) -> str:
    """A message as it stands in Redis."""
    return json.dumps({"id": id, "role": role, "content": content})


def create_tables(url: str) -> None:
    """Make the floor's tables, empty."""
    with psycopg.connect(url) as connection:
        connection.execute(TABLES.encode())


def fill(url: str, session_id: str, texts: Sequence[tuple[str, str]]) -> None:
    """Make a session that holds these (role, content)."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(FILL_SESSION, (TENANT, session_id, len(texts), len(texts)))
        with cursor.copy(FILL_MESSAGES) as copy:
            for seq, (role, content) in enumerate(texts, 1):
                copy.write_row((TENANT, session_id, seq, _new_id(), role, content, "now"))


def _new_id() -> str:
    return str(uuid_utils.uuid7())


def _message(role: str, content: str) -> tuple[str, str, str, None]:
    return (_new_id(), role, content, None)


def _window(pipeline: Any, session_id: str, *messages: tuple[str, str, str, None]) -> None:
    key = f"bench:{session_id}"
    pipeline.rpush(key, *(cached(*message[:3]) for message in messages))
    pipeline.ltrim(key, -20, -1)
    pipeline.lrange(key, -20, -1)
    pipeline.expire(key, 3600)


class Floor:
    """Hand-written, sync."""

    def __init__(self, connection: Connection[Row], cache: redis.Redis) -> None:
        self._connection = connection
        self._cache = cache

    def append(self, session_id: str, content: str) -> list[Row]:
        """One message."""
        params = (TENANT, session_id, *_message("user", content))
        return self._connection.execute(APPEND, params, prepare=True).fetchall()

    def append_two(self, session_id: str, content: str) -> list[Row]:
        """A turn."""
        params = (TENANT, session_id, *_message("user", content), *_message("assistant", content))
        return self._connection.execute(APPEND_TWO, params, prepare=True).fetchall()

    def turn(self, session_id: str, content: str) -> list[Any]:
        """A turn in Postgres, then one Redis pipeline that writes and reads the window."""
        first, second = _message("user", content), _message("assistant", content)
        self._connection.execute(APPEND_TWO, (TENANT, session_id, *first, *second), prepare=True).fetchall()
        pipeline = self._cache.pipeline(transaction=False)
        _window(pipeline, session_id, first, second)
        return [json.loads(item) for item in pipeline.execute()[2]]

    def append_and_read(self, session_id: str, content: str) -> list[Row]:
        """A turn, and the newest 20, in one statement."""
        params = (TENANT, session_id, *_message("user", content), *_message("assistant", content), TENANT, session_id)
        return self._connection.execute(APPEND_AND_READ, params, prepare=True).fetchall()

    def history(self, session_id: str) -> list[Row]:
        """The newest 20."""
        return self._connection.execute(HISTORY, (TENANT, session_id), prepare=True).fetchall()[::-1]


class AsyncFloor:
    """Hand-written, async."""

    def __init__(self, connection: AsyncConnection[Row], cache: redis.asyncio.Redis) -> None:
        self._connection = connection
        self._cache = cache

    async def append(self, session_id: str, content: str) -> list[Row]:
        """One message."""
        params = (TENANT, session_id, *_message("user", content))
        return await (await self._connection.execute(APPEND, params, prepare=True)).fetchall()

    async def append_two(self, session_id: str, content: str) -> list[Row]:
        """A turn."""
        params = (TENANT, session_id, *_message("user", content), *_message("assistant", content))
        return await (await self._connection.execute(APPEND_TWO, params, prepare=True)).fetchall()

    async def turn(self, session_id: str, content: str) -> list[Any]:
        """A turn in Postgres, then one Redis pipeline that writes and reads the window."""
        first, second = _message("user", content), _message("assistant", content)
        cursor = await self._connection.execute(APPEND_TWO, (TENANT, session_id, *first, *second), prepare=True)
        await cursor.fetchall()
        pipeline = self._cache.pipeline(transaction=False)
        _window(pipeline, session_id, first, second)
        return [json.loads(item) for item in (await pipeline.execute())[2]]

    async def append_and_read(self, session_id: str, content: str) -> list[Row]:
        """A turn, and the newest 20, in one statement."""
        params = (TENANT, session_id, *_message("user", content), *_message("assistant", content), TENANT, session_id)
        return await (await self._connection.execute(APPEND_AND_READ, params, prepare=True)).fetchall()

    async def history(self, session_id: str) -> list[Row]:
        """The newest 20."""
        cursor = await self._connection.execute(HISTORY, (TENANT, session_id), prepare=True)
        return (await cursor.fetchall())[::-1]
