"""Examining a memory: whether its parts work, and whether tenants are kept apart. Nothing is changed."""

import warnings
from typing import Any
from uuid import uuid4

from psycopg import AsyncConnection

from chatmemory._async.memories.openai_client import AsyncServerEmbedder, AsyncServerLlm
from chatmemory._async.memories.spending import AsyncSpending
from chatmemory._async.storage.database import AsyncDatabase
from chatmemory._async.storage.migrations import Deviation, differences, summary
from chatmemory._async.storage.transaction import Row, pinned
from chatmemory._concurrency import async_in_thread
from chatmemory.admin import checks
from chatmemory.admin.installation import (
    fallbacks,
    installed_versions,
    misspelt,
    postgres_address,
    redis_address,
    settings_in_force,
)
from chatmemory.admin.records import Check, Examination
from chatmemory.errors import ChatMemoryError, SchemaPermissionError, SchemaVersionError
from chatmemory.kinds import declared
from chatmemory.messages.token_counts import ESTIMATE
from chatmemory.messages.tokenizer import Tokenizer
from chatmemory.settings import Settings
from chatmemory.storage import queries
from chatmemory.storage.schema import latest_version
from chatmemory.storage.schema.pins import NEEDED, USUAL

NO_PGVECTOR = "not there"
MODEL_SECONDS = 10.0  # the longest wait for a model's answer


class AsyncExaminer:
    """Examines what the settings lead to, on connections of its own that repair nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._database = AsyncDatabase(settings.model_copy(update={"auto_migrate": False}))
        self._checks: list[Check] = []
        self._server: dict[str, str] = {}
        self._learning: dict[str, Any] = {}
        self._versions = installed_versions()
        self._fallbacks = fallbacks(settings)

    async def examine(self, tenant_id: str | None) -> Examination:
        """Make all checks; one that fails leaves out those that depend on it.

        Args:
            tenant_id: The tenant whose spend of today is reported; None: nobody's.
        """
        await self._tokens()
        unknown = list(misspelt())
        if unknown:
            self._checks.append(checks.variables_check(unknown))
        try:
            if await self._schema():
                await self._models()
                await self._long_term_memory()
                if tenant_id is not None:
                    spent = await AsyncSpending(self._database, self._settings).today(tenant_id)
                    self._learning |= checks.spent_today(spent.total, tenant_id, self._settings)
                    self._learning |= await self._without_vectors(tenant_id)
        except ChatMemoryError as error:
            self._failed("database", error)
        finally:
            await self._database.close()
        await self._redis()
        return Examination(
            checks=checks.with_unchecked(self._checks),
            server=self._server,
            learning=self._learning,
            versions=self._versions,
            settings=settings_in_force(self._settings),
            fallbacks=tuple(self._fallbacks),
        )

    def _failed(self, name: str, error: ChatMemoryError) -> None:
        self._checks.append(Check(name=name, ok=False, detail=str(error)))

    async def _tokens(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the examination reports it
            counter = await async_in_thread(Tokenizer(self._settings.model).best)
        self._versions["tokens"] = "estimated" if counter is ESTIMATE else f"counted with {counter.name}"
        self._fallbacks += checks.token_fallbacks(counter, self._settings)

    async def _schema(self) -> bool:
        """Ask the server who it is, and whether its schema is as this library needs it and keeps tenants apart."""
        async with self._database.own_connection(
            "the examination"
        ) as connection:  # outside the pool, which would repair
            server, login, name = await _row(connection, queries.admin.SERVER_VERSION)
            where = postgres_address(self._settings) or f"embedded, in {self._database.data_dir or '?'}"
            self._server |= {"version": server, "database": name, "user": login, "where": where}
            found = f"Postgres {server}, database {name}, user {login}"
            self._checks.append(Check(name="database", ok=True, detail=found))
            await self._defaults(connection)
            try:
                differing = await differences(connection)
            except (SchemaVersionError, SchemaPermissionError) as error:
                self._failed("schema", error)
                return False
            missing = [migration.name for migration in differing.missing]
            self._checks.append(checks.schema_check(missing, latest_version()))
            return not missing and await self._access(connection, differing.deviations)

    async def _defaults(self, connection: AsyncConnection[Row]) -> None:
        """See which settings a session has by default: those of the server, the database, the user and the URL."""
        found = await connection.execute(queries.admin.SETTINGS, ([*NEEDED, *USUAL],))
        self._checks.append(checks.settings_check(dict(await found.fetchall())))

    async def _access(self, connection: AsyncConnection[Row], deviations: list[Deviation]) -> bool:
        for part in checks.SOUND:
            problems = summary([deviation.problem for deviation in deviations if deviation.part == part])
            self._checks.append(checks.access_check(part, problems))
        wrong = {deviation.part for deviation in deviations} - {"vectors"}  # which have a check of their own
        if wrong <= {"row-level security"}:
            self._checks.append(checks.isolation_check(*await _rows_seen(connection)))
        return not wrong

    async def _models(self) -> None:
        """Ask each configured model once for something short."""
        settings = self._settings.model_copy(update={"llm_timeout_seconds": MODEL_SECONDS})
        for name, model, asked in (
            ("language model", settings.llm_model, _asked_llm),
            ("embedding model", settings.embedding_model, _asked_embedder),
        ):
            if model is None:
                continue
            try:
                self._checks.append(Check(name=name, ok=True, detail=f"{model!r} {await asked(settings)}"))
            except ChatMemoryError as error:
                self._failed(name, error)

    async def _long_term_memory(self) -> None:
        """Ask what learns and embeds, whether vectors can be kept, and what waits."""
        settings = self._settings
        async with self._database.own_connection("the examination") as connection:
            version = await (await connection.execute(queries.admin.VECTOR_VERSION)).fetchone()
        [(has_vectors,)] = await self._database.call(queries.admin.HAS_VECTORS, ())
        self._server["pgvector"] = version[0] if version else NO_PGVECTOR
        if settings.embedding_model:
            self._checks.append(checks.vectors_check(has_vectors))
        elif not has_vectors:
            self._fallbacks.append("Postgres has no pgvector of 0.7 or newer: recall can only go by words.")
        [(due, parked)] = await self._database.call(queries.learning.LEARNING_STATE, (False,))
        self._learning |= {"model": settings.llm_model, "embedder": settings.embedding_model}
        self._learning |= {"sessions due": due, "sessions parked": parked}
        self._fallbacks += checks.parked_fallbacks(parked)

    async def _without_vectors(self, tenant_id: str) -> dict[str, Any]:
        """Count a tenant's memories that recall by meaning does not find yet."""
        model, has_vectors = self._settings.embedding_model, self._server["pgvector"] != NO_PGVECTOR
        if model is None or not has_vectors:
            return {}
        [(count,)] = await self._database.fetch(tenant_id, queries.memories.COUNT_UNEMBEDDED, {"model": model})
        return checks.without_vectors(count, tenant_id)

    async def _redis(self) -> None:
        if self._settings.redis_url is None:
            return
        from chatmemory._async.storage.redis import AsyncCache

        url = self._settings.redis_url.get_secret_value()
        cache = AsyncCache(url, self._settings)
        try:
            works = await cache.ping()
            failure, missing = cache.last_error, await cache.missing_rights()
        except ChatMemoryError as error:
            self._failed("redis", error)
            return
        finally:
            await cache.close()
        self._checks.append(checks.redis_check(redis_address(url), works, failure, missing))


async def _asked_llm(settings: Settings) -> str:
    server = AsyncServerLlm(settings, retries=0)
    try:
        await server.complete([{"role": "user", "content": "Are you there? Answer yes."}], checks.Yes)
        return "answers in the requested form"
    finally:
        await server.close()


async def _asked_embedder(settings: Settings) -> str:
    server = AsyncServerEmbedder(settings, retries=0)
    try:
        [vector] = await server.embed(["Are you there?"])
        return f"answers with vectors of {len(vector)} dimensions"
    finally:
        await server.close()


async def _row(connection: AsyncConnection[Row], query: str) -> Row:
    row = await (await connection.execute(query.encode())).fetchone()
    assert row is not None
    return row


async def _rows_seen(connection: AsyncConnection[Row]) -> list[int]:
    """Count the rows of a session that is then rolled back, as its tenant, as another tenant, and as nobody."""
    probe = f"doctor-{uuid4()}"
    seen: list[int] = []
    async with pinned(connection, force_rollback=True):
        await connection.execute(queries.admin.ENTER_TENANT, (probe,))
        written = (probe, probe, "doctor", "doctor", *[None] * 4, 1, True, declared("chat", {}, (1, 1)))
        await connection.execute(queries.sessions.CREATE_SESSION, written)
        for tenant_id in (probe, f"another-{probe}", None):
            await connection.execute(queries.admin.ENTER_TENANT, (tenant_id,))
            seen += await _row(connection, queries.admin.ROWS_WITHOUT_TENANT)
    return seen
