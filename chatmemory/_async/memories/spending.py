"""The tokens that models were paid for, and their caps."""

import logging
from datetime import UTC, datetime, timedelta

from chatmemory._async.storage.database import AsyncDatabase
from chatmemory._async.storage.transaction import Statement
from chatmemory.memories.records import Spend
from chatmemory.settings import Settings
from chatmemory.storage import queries

LOG = logging.getLogger("chatmemory")
DAY = timedelta(days=1)


class AsyncSpending:
    """The ledger of all tenants of one memory."""

    def __init__(self, database: AsyncDatabase, settings: Settings) -> None:
        self._database, self._settings = database, settings

    async def add(
        self, tenant_id: str, user_id: str, session_id: str | None, purpose: str, model: str, spent: tuple[int, int]
    ) -> None:
        """Note what one call cost; what was spent on a session that is gone by now is nobody's but the tenant's."""
        await self._database.run_once(tenant_id, self.noting(tenant_id, user_id, session_id, purpose, model, spent))

    def noting(
        self, tenant_id: str, user_id: str, session_id: str | None, purpose: str, model: str, spent: tuple[int, int]
    ) -> Statement:
        """Return the statement that does the same."""
        params = {
            "tenant": tenant_id, "user": user_id, "session": session_id, "purpose": purpose, "model": model,
            "sent": spent[0], "answered": spent[1],
        }  # fmt: skip
        return queries.learning.ADD_SPEND, params

    async def since(self, tenant_id: str, since: datetime) -> Spend:
        """Return the cost of one tenant's calls since then."""
        rows = await self._database.fetch(tenant_id, queries.learning.SPENT_SINCE, (since,))
        by_model: dict[str, int] = {}
        by_user: dict[str, int] = {}
        for model, user, sent, answered in rows:
            by_model[model] = by_model.get(model, 0) + sent + answered
            by_user[user] = by_user.get(user, 0) + sent + answered
        sent, answered = (sum(row[column] for row in rows) for column in (2, 3))
        return Spend(input_tokens=sent, output_tokens=answered, by_model=by_model, by_user=by_user)

    async def today(self, tenant_id: str) -> Spend:
        """Return the cost of one tenant's calls since midnight in UTC."""
        return await self.since(tenant_id, datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0))

    async def may_spend(self, tenant_id: str) -> bool:
        """Return whether a tenant is below its hard cap of today (UTC); above the soft cap a warning is logged."""
        soft, hard = self._settings.llm_soft_cap_tokens, self._settings.llm_hard_cap_tokens
        if soft is None and hard is None:
            return True
        total = (await self.today(tenant_id)).total
        if hard is not None and total >= hard:
            LOG.warning("tenant %r spent %s tokens today, its hard cap: it learns without a model", tenant_id, total)
            return False
        if soft is not None and total >= soft:
            LOG.warning("tenant %r spent %s tokens today, above its soft cap of %s", tenant_id, total, soft)
        return True
