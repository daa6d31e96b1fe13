"""Uses of the public face that mypy checks; never run."""

from datetime import UTC, datetime, timedelta

from chatmemory import (
    AsyncChatMemory,
    ChatMemory,
    ChatMemoryError,
    CleanUp,
    Erasure,
    Event,
    Message,
    NewMessage,
    Page,
    Session,
    SessionInfo,
    Settings,
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
        print(page.total, receipt.messages, text, await session.history(), await session.end())
