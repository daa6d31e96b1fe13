"""The floor: chatmemory's work written by hand for psycopg and redis-py, as a lower bound.

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
    status text not null default 'active', ended_at timestamptz,
    primary key (tenant_id, id)
) with (fillfactor = 70);
create table bench_floor.messages (
    tenant_id text not null, session_id text not null, seq bigint not null, id text not null, role text not null,
    content text not null, content_json json, metadata json, tokens integer, created_at timestamptz not null,
    primary key (tenant_id, session_id, seq), unique (tenant_id, session_id, id),
    foreign key (tenant_id, session_id) references bench_floor.sessions on delete cascade
);
create table bench_floor.events (
    tenant_id text not null, session_id text not null, number bigint generated always as identity,
    at timestamptz not null default now(), type text not null, primary key (tenant_id, session_id, number),
    foreign key (tenant_id, session_id) references bench_floor.sessions on delete cascade
);
create table bench_floor.memories (
    tenant_id text not null, id text not null, user_id text not null, text text not null, lexemes tsvector not null,
    recalled_at timestamptz, primary key (tenant_id, id)
);
create index on bench_floor.memories (user_id, tenant_id);
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
# Insert both rows and return the newest 20 with them. A statement does not see its own inserts in the table.
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

RESUME = (
    "update bench_floor.sessions set last_active_at = now() where tenant_id = %s and id = %s and status = 'active' "
    "returning id, title, message_count, token_count, last_seq, updated_at, last_active_at, last_message_at"
)
END = (
    "with s as (update bench_floor.sessions set status = 'completed', ended_at = now(), updated_at = now() "
    "where tenant_id = %s and id = %s and status = 'active' returning *), "
    "e as (insert into bench_floor.events (tenant_id, session_id, type) select tenant_id, id, 'ended' from s) "
    "select * from s"
)
FILL_MEMORY = (
    "insert into bench_floor.memories (tenant_id, id, user_id, text, lexemes) "
    "values (%(tenant)s, %(id)s, %(user)s, %(text)s, to_tsvector('english', %(text)s))"
)
# Find the best memories by words, and count the recall without waiting for the disk.
RECALL = (
    "with q as materialized (select websearch_to_tsquery('english', %(query)s) as words, "
    "set_config('synchronous_commit', 'off', true)), "
    "f as (select m.id, m.text, ts_rank(m.lexemes, q.words) as rank from bench_floor.memories m, q "
    "where m.tenant_id = %(tenant)s and m.user_id = %(user)s and m.lexemes @@ q.words order by rank desc limit 10), "
    "n as (update bench_floor.memories m set recalled_at = now() from f "
    "where m.tenant_id = %(tenant)s and m.id = f.id) "
    "select * from f order by rank desc"
)


def cached(id: str, role: str, content: str) -> str:
    """Return a message in the form stored in Redis."""
    return json.dumps({"id": id, "role": role, "content": content})


def create_tables(url: str) -> None:
    """Create the floor's tables, empty."""
    with psycopg.connect(url) as connection:
        connection.execute(TABLES.encode())


def fill(url: str, session_id: str, texts: Sequence[tuple[str, str]]) -> None:
    """Create a session with these (role, content)."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(FILL_SESSION, (TENANT, session_id, len(texts), len(texts)))
        with cursor.copy(FILL_MESSAGES) as copy:
            for seq, (role, content) in enumerate(texts, 1):
                copy.write_row((TENANT, session_id, seq, _new_id(), role, content, "now"))


def fill_memories(url: str, user_id: str, texts: Sequence[str]) -> None:
    """Give a user these memories."""
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        rows = [{"tenant": TENANT, "id": _new_id(), "user": user_id, "text": text} for text in texts]
        cursor.executemany(FILL_MEMORY, rows)


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

    def begin(self, session_id: str) -> None:
        """An empty session."""
        self._connection.execute(FILL_SESSION, (TENANT, session_id, 0, 0), prepare=True)

    def resume(self, session_id: str) -> list[Row]:
        """An active session, and that it is in use."""
        return self._connection.execute(RESUME, (TENANT, session_id), prepare=True).fetchall()

    def end(self, session_id: str) -> list[Row]:
        """The end of a session, and an entry in its timeline."""
        return self._connection.execute(END, (TENANT, session_id), prepare=True).fetchall()

    def recall(self, user_id: str, query: str) -> list[Row]:
        """The ten memories that answer best, by words."""
        params = {"tenant": TENANT, "user": user_id, "query": query}
        return self._connection.execute(RECALL, params, prepare=True).fetchall()


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

    async def begin(self, session_id: str) -> None:
        """An empty session."""
        await self._connection.execute(FILL_SESSION, (TENANT, session_id, 0, 0), prepare=True)

    async def resume(self, session_id: str) -> list[Row]:
        """An active session, and that it is in use."""
        return await (await self._connection.execute(RESUME, (TENANT, session_id), prepare=True)).fetchall()

    async def end(self, session_id: str) -> list[Row]:
        """The end of a session, and an entry in its timeline."""
        return await (await self._connection.execute(END, (TENANT, session_id), prepare=True)).fetchall()

    async def recall(self, user_id: str, query: str) -> list[Row]:
        """The ten memories that answer best, by words."""
        params = {"tenant": TENANT, "user": user_id, "query": query}
        return await (await self._connection.execute(RECALL, params, prepare=True)).fetchall()
