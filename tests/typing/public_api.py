"""Uses of the public face that mypy checks; never run."""

from datetime import UTC, datetime, timedelta

from chatmemory import (
    AsyncChatMemory,
    ChatMemory,
    ChatMemoryError,
    CleanUp,
    Comparison,
    Erasure,
    Event,
    Kind,
    Message,
    MetricCurve,
    MetricPoint,
    MetricSeries,
    MetricSummary,
    NewMessage,
    Page,
    Session,
    SessionInfo,
    Settings,
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
        print(cleaned, ended, infos, messages, info, receipt, events, text, session.info, session.refresh())


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
        series: MetricSeries = await session.metrics()
        compared: Comparison = await sessions.compare([(await session.move("running")).id])
        print(series, compared, await session.status_history(), await session.cancel())
        print(page.total, receipt.messages, text, await session.history(), await session.end())
