"""Erasure of a session, of users, or of a tenant: one mechanism over the tables in the registry."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

from chatmemory._async.shared import AsyncShared
from chatmemory._async.storage.transaction import AsyncTransaction, Row
from chatmemory.sessions.records import Erasure, SessionInfo
from chatmemory.storage import queries
from chatmemory.storage.ownership import BY_NAME
from chatmemory.storage.postgres_errors import not_found
from chatmemory.storage.queries.ownership import MAX_SESSIONS, MAX_USERS, Scope

ATTEMPTS = 5  # to lock all users whose memories cite a session before the session itself

Params = dict[str, Any]
Ids = list[str]


class AsyncEraser:
    """Removes rows for good in one transaction, and their copies in Redis and this process before and after it."""

    def __init__(self, tenant_id: str, parts: AsyncShared) -> None:
        self._tenant_id = tenant_id
        self._database, self._windows, self._metrics = parts.database, parts.windows, parts.metrics

    async def session(self, info: SessionInfo) -> Erasure:
        """Erase one session, deleted or not.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        params = {"session": info.id, "of": info.born_at, "users": [], "owners": [info.user_id]}
        return await self._erase("session", params)

    async def users(self, users: Sequence[str]) -> Erasure:
        """Erase users and everything that belongs to them; the empty name stands for data of no single user."""
        sorted_users = sorted(users)
        return await self._erase("users", {"users": sorted_users, "owners": sorted_users})

    async def tenant(self) -> Erasure:
        """Erase all users of the tenant and the data of no single user, in batches of users."""
        erased: Counter[str] = Counter()
        after = None
        while True:
            params = {"after": after}
            rows = await self._database.fetch(self._tenant_id, queries.ownership.USERS_OF_TENANT, params)
            users = [user for (user,) in rows]
            if users:
                erased.update(asdict(await self.users(users)))
            if len(users) < MAX_USERS:
                return Erasure(**erased)
            after = users[-1]

    async def _erase(self, scope: Scope, params: Params) -> Erasure:
        await self._metrics.flush()
        sessions: list[Ids] = []
        await self._forget(sessions, params["owners"])
        try:
            counts = await self._erased(scope, {"tenant": self._tenant_id, **params}, sessions)
        finally:
            await self._forget(sessions, params["owners"])
        for ids in sessions:
            await self._metrics.forget(self._tenant_id, *ids)
        return Erasure(**counts)

    async def _erased(self, scope: Scope, params: Params, sessions: list[Ids]) -> dict[str, int]:
        """Erase in one transaction, and count; `sessions` gets the ids that Redis and this process must forget."""
        erase, attempts = queries.ownership.ERASE[scope], 0
        while True:
            attempts += 1
            sessions.clear()
            async with self._database.transaction(
                self._tenant_id, params.get("session", ""), patient=True
            ) as transaction:
                if await self._lock(transaction, scope, params, sessions) or attempts == ATTEMPTS:
                    withdraw = queries.ownership.WITHDRAW[scope], params
                    _, *results = await transaction.finish(withdraw, *((query, params) for query in erase.values()))
                    return _receipt(erase, results)
                await transaction.roll_back()

    async def _lock(self, transaction: AsyncTransaction, scope: Scope, params: Params, sessions: list[Ids]) -> bool:
        """Lock users, then sessions; return False if memories of users who are not locked cite the sessions.

        Raises:
            SessionNotFoundError: There is no such session.
        """
        statements = queries.ownership
        owners, newcomers = (statements.LOCK_OWNERS, params), (statements.LOCK_NEW_OWNERS, params)
        memory_users, citing = (statements.LOCK_MEMORY_USERS[scope], params), (statements.CITING_USERS[scope], params)
        first = (statements.LOCK_SESSIONS[scope], {**params, "after_time": "-infinity", "after": ""})
        _, locked, _, found, cite = await transaction.run(owners, memory_users, newcomers, first, citing)
        if scope == "session" and not found:
            raise not_found(params["session"])
        await self._take(found, sessions)
        while len(found) == MAX_SESSIONS:
            after_time, after = found[-1]
            following = {**params, "after_time": after_time, "after": after}
            found, cite = await transaction.run((statements.LOCK_SESSIONS[scope], following), citing)
            await self._take(found, sessions)
        return set(chain(params["owners"], _users(locked))) >= _users(cite)

    async def _take(self, found: list[Row], sessions: list[Ids]) -> None:
        """Note locked sessions, and drop their windows, so that nothing of them is read from Redis any more."""
        sessions.append([id for _, id in found])
        await self._windows.forget_sessions(self._tenant_id, sessions[-1])

    async def _forget(self, sessions: list[Ids], users: Sequence[str]) -> None:
        """Forget the windows of these sessions and the resumable sessions of these users."""
        for ids in sessions:
            await self._windows.forget_sessions(self._tenant_id, ids)
        await self._windows.forget_user(self._tenant_id, *users)


def _users(rows: list[Row]) -> set[str]:
    return {user for (user,) in rows}


def _receipt(erase: dict[str, Any], results: list[list[Row]]) -> dict[str, int]:
    """Return the counts of a receipt, by its fields."""
    counted = zip(erase, results, strict=True)
    return {receipt: rows[0][0] for table, rows in counted if (receipt := BY_NAME[table].receipt)}
