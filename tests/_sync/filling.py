# Generated from tests/_async/filling.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Something of everything: rows in each table of the schema, for tests that look at all of them."""

from typing import Any

import psycopg

from chatmemory import ChatMemory, Session
from chatmemory.storage.ownership import TABLES, Table
from tests.fixtures.openai_server import OpenAIServer, fact, learnt, teaching


def fill(memory: ChatMemory, server: OpenAIServer, tenant_id: str, user_id: str) -> Session:
    """A session of the user's that was talked in, measured and learnt from, beside memories and items."""
    tenant = memory.tenant(tenant_id)
    server.chat = teaching(learnt(f"{user_id} spoke.", fact(f"{user_id} lives in {tenant_id}.", 1)))
    session = tenant.sessions.create(user_id=user_id)
    session.append_many([{"role": "user", "content": f"I am {user_id}."}] * 3)
    session.log_metrics({"loss": 0.5, "rate": 0.1}, step=1)
    session.log_metrics({"loss": 0.4}, step=2)
    session.consolidate()
    tenant.memories.remember(f"{user_id} comes from {session.id}.", sources=[(session.id, 1, 1)])
    tenant.items.put(("notes",), session.id, {"text": user_id}, user_id=user_id, vectors=[[1, 0]], model="compass")
    session.metrics()
    return session


def amounts(url: str, condition: str = "true") -> dict[str, int]:
    """The number of rows of each table, as a receipt counts it."""
    with psycopg.connect(url) as connection:
        return {table.name: _amount(connection, table, condition) for table in TABLES}


def _amount(connection: psycopg.Connection[Any], table: Table, condition: str) -> int:
    counted = f"coalesce(sum({table.counted}), 0)::bigint" if table.counted else "count(*)"
    query = f"select {counted} from chatmemory.{table.name} where {condition}"
    [(amount,)] = connection.execute(query.encode()).fetchall()
    return int(amount)
