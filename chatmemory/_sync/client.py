# Generated from chatmemory/_async/client.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""The entry point: opening and closing a memory, its tenants, and work over all tenants."""

import logging
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self

from pydantic import ValidationError

from chatmemory._concurrency import Background, Flag, in_thread
from chatmemory._public import public
from chatmemory._sync.memories.providers import Providers
from chatmemory._sync.memories.recall_counts import RecallCounts
from chatmemory._sync.memories.spending import Spending
from chatmemory._sync.memories.storing import MemoryStore
from chatmemory._sync.memories.worker import Worker
from chatmemory._sync.runs.metrics import Metrics
from chatmemory._sync.shared import Shared
from chatmemory._sync.storage.database import Database
from chatmemory._sync.storage.pgvector import Pgvector
from chatmemory._sync.storage.redis_windows import Windows
from chatmemory._sync.tenant import Tenant
from chatmemory.admin.records import Examination, Health, Migrated
from chatmemory.errors import ConfigurationError, StorageError
from chatmemory.memories.records import Report
from chatmemory.messages.tokenizer import Tokenizer
from chatmemory.paging import check_page
from chatmemory.protocols import Embedder, Llm
from chatmemory.records import Page, TenantInfo, name_key
from chatmemory.sessions.records import CleanUp
from chatmemory.settings import Settings
from chatmemory.storage import queries
from chatmemory.storage.postgres_address import address_of
from chatmemory.storage.postgres_errors import is_read_only
from chatmemory.storage.recent_cache import RecentMessagesCache
from chatmemory.validation import check_count, check_id

if TYPE_CHECKING:
    from chatmemory._sync.storage.redis import Cache

CLEAN_UP_BATCH = 1000
DEFAULT_LOGIN = "postgres"

LOG = logging.getLogger("chatmemory")


@public
class ChatMemory:
    """Conversational memory on one Postgres.

    Use it as a context manager, or close it yourself. Nothing is connected before the first use.
    """

    def __init__(self, settings: Settings, llm: Llm | None = None, embedder: Embedder | None = None) -> None:
        self.settings = settings
        self._database = Database(settings)
        self._cache = _cache(settings)
        recent = RecentMessagesCache(settings, lambda: self._database.healed)
        self._windows = Windows(self._cache, settings, recent)
        tokenizer = Tokenizer(settings.model)
        self._providers = Providers(settings, llm, embedder)
        self._metrics = Metrics(self._database)
        pgvector = Pgvector(self._database)
        self._parts = Shared(
            settings=settings,
            database=self._database,
            pgvector=pgvector,
            windows=self._windows,
            recent=recent,
            tokenizer=tokenizer,
            providers=self._providers,
            store=MemoryStore(pgvector, self._providers, settings),
            spending=Spending(self._database, settings),
            metrics=self._metrics,
            recall_counts=RecallCounts(self._database),
            on_use=self._maybe_clean_up,
        )
        self._background = Background()
        self._clean_up_due = datetime.now(UTC)

    @classmethod
    def open(
        cls,
        postgres: str | None = None,
        *,
        redis: str | None = None,
        settings: Settings | None = None,
        llm: Llm | None = None,
        embedder: Embedder | None = None,
    ) -> Self:
        """Open a memory; no I/O happens before the first use.

        Args:
            postgres: postgresql://user:password@host/database. None: CHATMEMORY_POSTGRES_URL, and without
                that an embedded server in the user's data directory.
            redis: redis://host:6379/0, rediss://… or unix:///path, the cache for contexts and resuming.
                None: CHATMEMORY_REDIS_URL, and without that no Redis is used.
            settings: All settings; None: from CHATMEMORY_ variables and .env.
            llm: The language model that learns from conversations. None: CHATMEMORY_LLM_MODEL on an
                OpenAI-compatible server; without that, sessions become episodes and an extractive summary.
            embedder: The model that embeds memories and queries. None: CHATMEMORY_EMBEDDING_MODEL; without that,
                recall is lexical.

        Raises:
            ConfigurationError: A setting cannot be used.
        """
        for name, given, form in (("llm", llm, Llm), ("embedder", embedder, Embedder)):
            if given is not None and not isinstance(given, form):
                raise ConfigurationError(f"{name} must implement the protocol chatmemory.{form.__name__}.")
        return cls(_settings(postgres, redis, settings), llm, embedder)

    def tenant(self, tenant_id: object) -> Tenant:
        """Return the handle of one tenant; no I/O.

        Raises:
            InvalidInputError: The id is empty, too long, or not a string, int or UUID.
        """
        return Tenant(check_id(tenant_id, "tenant_id"), self._parts)

    def tenants(self, *, limit: int = 100, offset: int = 0, cursor: str | None = None) -> Page[TenantInfo]:
        """List the tenants that have sessions, by their ids: for whoever holds the database login.

        Args:
            limit: How many tenants a page holds at most, 0 or more.
            offset: How many tenants to skip, at most 10,000.
            cursor: `next` of the page before; None: the first page.

        Raises:
            InvalidInputError: A value cannot be used, or the cursor belongs to another list.
            StorageUnavailableError: Postgres cannot be reached.
        """
        request = check_page("tenants", {}, limit, offset, cursor)
        rows = self._database.call(queries.ownership.LIST_TENANTS, request.params)
        return request.page(rows, lambda row: TenantInfo(*row), name_key)

    def health(self) -> Health:
        """Check now whether Postgres and Redis work and take writes; failures are reported, not raised."""
        try:
            self._database.ping()
            postgres: Literal["ok", "read-only", "unreachable"] = "ok"
        except (StorageError, ConfigurationError) as error:
            postgres = "read-only" if is_read_only(error.__cause__) else "unreachable"
        redis: Literal["ok", "unreachable", "off"] = "off"
        if self._cache is not None:
            redis = "ok" if self._cache.ping() else "unreachable"
        return Health(postgres=postgres, redis=redis, tokens=in_thread(self._parts.tokenizer.best).name)

    def examine(self, *, tenant_id: object = None) -> Examination:
        """Examine the schema, the isolation of tenants, Redis, the models and the due work; nothing is changed.

        Failures are reported, not raised. A session is written to check that no other tenant can read it, and rolled
        back. The schema is not migrated.

        Args:
            tenant_id: The tenant whose spend of today is reported; None: no tenant's.

        Raises:
            InvalidInputError: The id is empty, too long, or not a string, int or UUID.
        """
        from chatmemory._sync.admin.examination import Examiner

        tenant = None if tenant_id is None else check_id(tenant_id, "tenant_id")
        return Examiner(self.settings).examine(tenant)

    def migrate(self) -> Migrated:
        """Bring the database's schema up to date, whatever auto_migrate is; any number of processes may do so at once.

        Raises:
            SchemaPermissionError: The database user lacks a right; the message has the SQL for an administrator.
            SchemaVersionError: The database needs a newer release, or was made by an unreleased one.
            StorageUnavailableError: Postgres cannot be reached.
        """
        return Migrated(applied=tuple(self._database.migrate()))

    def migration_script(self, login: str | None = None) -> str:
        """Return the SQL that creates the schema and its roles, for an administrator to run; no I/O.

        Args:
            login: The database user that the application connects as; None: the user in the URL, else postgres.

        Raises:
            InvalidInputError: The login is not a string that can be a user's name.
        """
        from chatmemory.storage.schema import script

        url = self.settings.postgres_url
        user = None if url is None else address_of(url.get_secret_value()).user
        return script((user or DEFAULT_LOGIN) if login is None else check_id(login, "login"))

    def clean_up(self) -> CleanUp:
        """Expire idle sessions, archive finished ones and remove expired items now, in all tenants.

        A session is idle after session_timeout_hours without activity. If enable_session_archiving is set, sessions
        that ended as long ago and have nothing left to learn are archived. Any number of processes may do so at once.
        """
        settings = self.settings
        params = {
            "timeout": settings.session_timeout, "archive": settings.enable_session_archiving, "limit": CLEAN_UP_BATCH
        }  # fmt: skip
        done = CleanUp(expired=0, archived=0)
        more = (CLEAN_UP_BATCH, 0)
        while max(more) >= CLEAN_UP_BATCH:
            [more] = self._database.call(queries.sessions.CLEAN_UP, params, patient=True)
            done = replace(done, expired=done.expired + more[0], archived=done.archived + more[1])
        items = CLEAN_UP_BATCH
        while items >= CLEAN_UP_BATCH:
            [(items,)] = self._database.call(queries.sessions.SWEEP_ITEMS, params, patient=True)
            done = replace(done, items=done.items + items)
        return done

    def run_due(self, limit: int = 100) -> Report:
        """Learn from the due sessions of all tenants, one after the other: for cron, and for tests.

        Idle sessions expire first, if cleanup_inactive_sessions is set.

        Args:
            limit: The number of sessions at most, 1 or more.

        Returns:
            The work done; failures of models are counted, not raised.

        Raises:
            StorageUnavailableError: Postgres cannot be reached.
        """
        check_count(limit, "limit", least=1)
        if self.settings.cleanup_inactive_sessions:
            self.clean_up()
        return Worker(self._parts).run_due(limit)

    def run_worker(self, *, concurrency: int = 1, stop: Flag | None = None, until_idle: bool = False) -> Report:
        """Learn from sessions as they become due, in all tenants, until `stop` is set.

        Idle sessions expire meanwhile, every cleanup_interval_hours.

        Args:
            concurrency: The number of sessions processed in parallel, 1 or more.
            stop: Stops the worker after the sessions in progress. None: it runs until it is cancelled.
            until_idle: Whether to expire idle sessions first, and stop when none is due any more.

        Returns:
            The work done in all.
        """
        check_count(concurrency, "concurrency", least=1)
        if until_idle and self.settings.cleanup_inactive_sessions:
            self.clean_up()
        return Worker(self._parts).run(concurrency, stop or Flag(), until_idle=until_idle)

    def retry_parked(self) -> int:
        """Make parked sessions due again; return the number of sessions that are still parked."""
        return Worker(self._parts).parked(retry=True)

    def _maybe_clean_up(self) -> None:
        """Clean up in the background, at most once every cleanup_interval_hours."""
        now = datetime.now(UTC)
        if self.settings.cleanup_inactive_sessions and now >= self._clean_up_due:
            self._clean_up_due = now + timedelta(hours=self.settings.cleanup_interval_hours)
            self._background.start(self._clean_up_quietly)

    def _clean_up_quietly(self) -> None:
        try:
            self.clean_up()
        except (StorageError, ConfigurationError):
            self._clean_up_due = datetime.now(UTC) + timedelta(minutes=1)

    def flush(self) -> None:
        """Write logged metrics to Postgres, and send appended messages to the windows in Redis, now.

        Raises:
            StorageUnavailableError: Postgres cannot be reached; the metrics are written later.
        """
        self._metrics.flush()
        self._windows.flush()

    def close(self) -> None:
        """Flush, and close all connections; the embedded server stops with its last user.

        A memory belongs to one event loop. If it was used in others too, what belongs to those is abandoned, and a
        warning is logged: open a memory in each loop.

        Raises:
            StorageUnavailableError: Logged metrics could not be written; everything is closed nevertheless.
        """
        self._database.hurry()
        try:
            self._metrics.close()
        finally:
            parts = (self._parts.recall_counts, self._background, self._windows, self._providers, self._cache)
            foreign = False
            for part in (*parts, self._database):
                try:
                    if part is not None:
                        part.close()
                except RuntimeError:  # it belongs to another event loop
                    foreign = True
            if foreign:
                LOG.warning(
                    "this memory was used in several event loops; connections of the others were abandoned. "
                    "Open one in each loop, and close it there."
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        where = "the configured Postgres" if self.settings.postgres_url else "the embedded Postgres"
        return f"<{type(self).__name__} on {where}>"


def _cache(settings: Settings) -> "Cache | None":
    """Return the cache, None if no Redis is configured; only with one its driver is loaded."""
    if settings.redis_url is None:
        return None
    from chatmemory._sync.storage.redis import Cache

    return Cache(settings.redis_url.get_secret_value(), settings)


def _settings(postgres: str | None, redis: str | None, settings: Settings | None) -> Settings:
    if settings is not None and not isinstance(settings, Settings):
        raise ConfigurationError(f"settings must be a Settings, not a {type(settings).__name__}.")
    try:
        settings = settings or Settings()
        given = {"postgres_url": postgres, "redis_url": redis}
        given = {name: url for name, url in given.items() if url}
        return Settings.model_validate({**settings.model_dump(), **given}) if given else settings
    except UnicodeDecodeError:
        raise ConfigurationError("The file .env is not UTF-8; save it as UTF-8.") from None
    except ValidationError as error:
        problems = "; ".join(
            f"CHATMEMORY_{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        )
        raise ConfigurationError(f"The settings cannot be used: {problems}.") from None
