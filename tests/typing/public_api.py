"""Uses of the public face that mypy checks; never run."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from chatmemory import (
    AsyncChatMemory,
    ChatMemory,
    ChatMemoryError,
    CleanUp,
    Comparison,
    Consolidation,
    Context,
    Erasure,
    Event,
    Examination,
    Health,
    ImportedConversation,
    Item,
    Kind,
    Memory,
    MemoryStats,
    Message,
    MetricCurve,
    MetricPoint,
    MetricSeries,
    MetricSummary,
    Migrated,
    NewMessage,
    Omitted,
    Page,
    Profile,
    Recalled,
    Reembedded,
    Report,
    Session,
    SessionInfo,
    Settings,
    Spend,
    StatusChange,
    register_kind,
)


def sync_half() -> None:
    """Every public method, sync."""
    with ChatMemory.open("postgresql://localhost/x", redis=None, settings=Settings()) as memory:
        cleaned: CleanUp = memory.clean_up()
        sessions = memory.tenant(7).sessions
        session: Session = sessions.create(
            user_id="u", session_id="s", kind="chat", title="t", metadata={"a": 1}, details={}
        )
        session = sessions.resume_or_create("s", user_id="u", kind="chat", on_missing="adopt", metadata=None)
        session = sessions.resume_or_create("s", user_id="u", on_expired="reopen")
        print(session.reopen().is_active)
        session = sessions.restore(sessions.get("s", user_id="u").id)
        page: Page[SessionInfo] = sessions.list(
            user_id="u",
            kind="chat",
            status="active",
            active_only=True,
            created_after=datetime.now(UTC),
            created_before=None,
            limit=1,
            offset=0,
            cursor=None,
            with_total=True,
        )
        ended: dict[str, SessionInfo | ChatMemoryError] = sessions.end_many([page[0].id])
        infos: list[SessionInfo] = sessions.end_inactive(timedelta(hours=1))
        message: Message = session.append("user", "x", message_id="m", metadata={}, created_at=datetime.now(UTC))
        messages: list[Message] = session.append_many([NewMessage("user", "x"), {"role": "user", "content": []}])
        messages = session.history(limit=20, before_seq=message.seq)
        for message in session.messages(batch_size=500):
            print(message.seq, message.id, message.role, message.content, message.metadata, message.text)
        info: SessionInfo = session.update(title="t", metadata={}, details={})
        info = session.end(success=True, results={"a": [1]})
        info = session.end(details={"a": 1}, error="e")
        info = session.end(metadata={"a": 1}, share_result=True)
        info = session.cancel(reason="r", share_result=True)
        info = session.expire(reason="idle")
        info = session.update(results=[1], progress=1, stage="s", error="e", run_status="running", reason="r", by=7)
        info = session.move("running", reason="r", by="ann")
        info = session.pause(reason="r")
        info = session.unpause(reason="r")
        info = session.cancel(reason="r", by="ann")
        history: list[StatusChange] = session.status_history()
        session.log_metrics({"loss": 0.5, "accuracy": 1}, step=None)
        session.flush()
        memory.flush()
        series: MetricSeries = session.metrics(["loss"], max_points=100)
        curve: MetricCurve = series["loss"]
        point: MetricPoint = curve[0]
        some: tuple[MetricPoint, ...] = curve[1:]
        compared: Comparison = sessions.compare([session.id])
        summary: MetricSummary = compared[0].metrics["loss"]
        kind: Kind = register_kind(Kind(name="import", learns="nothing"))
        print(history, point.value, some, summary.best, compared[0].best, kind, series.to_pandas(), series.plot())
        fork: Session = session.fork(at_seq=1, user_id="v")
        session.delete()
        info = session.restore()
        receipt: Erasure = fork.erase()
        events: list[Event] = session.events(limit=10)
        text: str = session.export(format="markdown")
        new = NewMessage.from_openai({"role": "tool", "tool_call_id": "c", "content": "42"})
        context: Context = session.context(
            4000, max_messages=9, system="s", fresh=True, reserve_tokens=500, trim_step=0.5, on_oversize="refuse"
        )
        context = session.append_and_context(
            [new, {"role": "user", "content": "x"}],
            max_tokens=4000,
            max_messages=9,
            system="s",
            reserve_tokens=500,
            trim_step=0,
            on_oversize="omit",
        )
        attributes(context)
        health: Health = memory.health()
        postgres: Literal["ok", "read-only", "unreachable"] = health.postgres
        redis: Literal["ok", "unreachable", "off"] = health.redis
        counted: tuple[str, bool] = (health.tokens, health.ok)
        print(postgres, redis, counted)
        print(cleaned, ended, infos, messages, info, receipt, events, text, session.info, session.refresh())


def attributes(context: Context) -> None:
    """Use every attribute of a context."""
    messages: tuple[Message, ...] = context.messages
    texts: tuple[str | None, str | None, tuple[Recalled, ...], str] = (
        context.system,
        context.summary,
        context.memories,
        context.prefix_id,
    )
    tokens: tuple[int, dict[str, int], int | None] = (context.tokens, context.tokens_by_part, context.max_tokens)
    omitted: Omitted | None = context.omitted
    if omitted is not None:
        print(omitted.count + omitted.from_seq + omitted.to_seq)
    unpaired: tuple[int, ...] = context.unpaired
    source: Literal["process", "redis", "postgres"] = context.source
    exact: bool = context.exact_tokens
    sent: list[dict[str, Any]] = context.as_openai()
    seqs: list[int] = [message.seq for message in context]
    print(messages, texts, tokens, unpaired, source, exact, sent, seqs, len(context))


def long_term(memory: ChatMemory, session: Session) -> None:
    """Use memories and items."""
    tenant = memory.tenant("t")
    memories = tenant.memories
    found: list[Recalled] = memories.recall(
        "q", user_id="u", k=5, kinds=["fact"], session_id="s", as_of=datetime.now(UTC), min_score=0.1, min_trust="user"
    )
    kept: Memory = memories.remember(
        "x", user_id=None, kind="preference", importance=0.9, metadata={}, sources=[("s", 1, 2)], trust="user"
    )
    kept = memories.correct(kept.id, "y")
    kept = memories.get(kept.id)
    chain: list[Memory] = memories.history(kept.id)
    page: Page[Memory] = memories.list(
        user_id="u", kinds=["fact"], valid_at=None, include_closed=True, limit=9, offset=1, with_total=True
    )
    stats: MemoryStats = memories.stats("u")
    pruned: Sequence[Memory] = memories.prune(older_than=timedelta(days=90), max_importance=0.2, dry_run=True)
    memories.forget(kept.id)
    reembedded: Reembedded = memories.reembed(limit=10, drop_old=False)
    print(
        found[0].memory.sources,
        found[0].score,
        found[0].ranks,
        chain,
        page.total,
        page.next,
        stats.by_kind,
        pruned,
        reembedded,
    )
    learnt: Consolidation = session.consolidate()
    report: Report = memory.run_due(limit=3)
    profile: Profile = tenant.users.profile("u")
    recent: list[Message] = tenant.users.recent("u", limit=3)
    lines: list[str] = [*tenant.users.export("u"), *tenant.export(), *session.export_lines()]
    gone: Erasure = tenant.users.erase("u")
    gone = tenant.erase()
    spent: Spend = tenant.spend(since=datetime.now(UTC))
    print(learnt.status, report.processed, profile.facts, recent, lines, gone.memories, spent, session.summary)
    examined: Examination = memory.examine(tenant_id="t")
    migrated: Migrated = memory.migrate()
    imported: list[ImportedConversation] = list(tenant.import_conversations("f", user_id="u", default_user_id=None))
    rendered: dict[str, Any] = kept.to_dict()
    kept = Memory.from_dict(rendered)
    page = Page.from_dict(page.to_dict(), Memory)
    print(examined.ok, examined.checks[0].unchecked, migrated.applied, imported[0].outcome)
    print(memory.migration_script("u"))
    tenant.items.put(("a", "b"), "k", {"v": 1}, user_id="u", text="words")
    tenant.items.put(("a", "b"), "k", {"v": 1}, ttl=timedelta(hours=1), vectors=[[0.5, 1]], model="m")
    item: Item | None = tenant.items.get(("a", "b"), "k", refresh=True)
    items: Page[Item] = tenant.items.search(("a",), query="words", filter={"v": 1}, limit=1, cursor=page.next)
    items = tenant.items.search(vector=[0.5, 1], model="m", distance="l2", refresh=True)
    swept: int = tenant.items.sweep()
    places: list[tuple[str, ...]] = tenant.items.namespaces(user_id="u")
    tenant.items.delete(("a", "b"), "k")
    print(item, items, places, swept, memory.retry_parked() + memories.unprune())


async def async_half() -> None:
    """The same names, async."""
    async with AsyncChatMemory.open() as memory:
        sessions = memory.tenant("t").sessions
        session = await sessions.resume_or_create(user_id="u")
        message: Message = await session.append("user", "x")
        async for message in session.messages():
            print(message.seq)
        page: Page[SessionInfo] = await sessions.list()
        fork = await session.fork()
        receipt: Erasure = await fork.erase()
        text: str = await session.export()
        session.log_metrics({"loss": 0.5})
        await session.flush()
        await memory.flush()
        series: MetricSeries = await session.metrics()
        compared: Comparison = await sessions.compare([(await session.move("running")).id])
        print(series, compared, await session.status_history(), await session.cancel())
        new = NewMessage.from_openai({"role": "user", "content": "x"})
        context: Context = await session.context(
            4000, max_messages=9, system=None, fresh=False, reserve_tokens=0, trim_step=None, on_oversize="truncate"
        )
        context = await session.append_and_context(
            [new],
            max_tokens=None,
            max_messages=None,
            system=None,
            reserve_tokens=0,
            trim_step=0.9,
            on_oversize="truncate",
        )
        attributes(context)
        examined: Examination = await memory.examine()
        migrated: Migrated = await memory.migrate()
        async for imported in memory.tenant("t").import_conversations("f.json", default_user_id="u"):
            print(imported.outcome, imported.reason, imported.messages, imported.new_messages)
        print(examined.to_dict(), migrated)
        health: Health = await memory.health()
        print(health.ok)
        print(page.total, receipt.messages, text, await session.history(), await session.end())
