"""A handle whose session was erased, and whose id is another user's session now: no call reads or changes that."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from chatmemory import AsyncChatMemory, AsyncSession, MoveError, SessionNotFoundError


async def collected(items: AsyncIterator[Any]) -> list[Any]:
    """Return all items."""
    return [item async for item in items]


CALLS: dict[str, Callable[[AsyncSession], Any]] = {
    "refresh": lambda session: session.refresh(),
    "append": lambda session: session.append("user", "text"),
    "append_many": lambda session: session.append_many([{"role": "user", "content": "text"}] * 2),
    "context": lambda session: session.context(),
    "append_and_context": lambda session: session.append_and_context([{"role": "user", "content": "text"}]),
    "history": lambda session: session.history(),
    "messages": lambda session: collected(session.messages()),
    "fork": lambda session: session.fork(),
    "export": lambda session: session.export(),
    "export_lines": lambda session: collected(session.export_lines()),
    "consolidate": lambda session: session.consolidate(),
    "end": lambda session: session.end(metrics={"loss": 2.0}),
    "expire": lambda session: session.expire(),
    "cancel": lambda session: session.cancel(),
    "reopen": lambda session: session.reopen(),
    "delete": lambda session: session.delete(),
    "restore": lambda session: session.restore(),
    "erase": lambda session: session.erase(),
    "events": lambda session: session.events(),
    "update": lambda session: session.update(title="Mine"),
    "move": lambda session: session.move("running"),
    "pause": lambda session: session.pause(),
    "unpause": lambda session: session.unpause(),
    "beat": lambda session: session.beat(),
    "reopen_run": lambda session: session.reopen_run(),
    "drop_metrics": lambda session: session.drop_metrics(0),
    "status_history": lambda session: session.status_history(),
    "metrics": lambda session: session.metrics(),
}
WITHOUT_A_SESSION = {"log_metrics", "flush", "with_own_buffer"}  # they only note, and write what was noted


def test_every_call_is_tried() -> None:
    """A new call of the handle needs an entry here."""
    public = {name for name in dir(AsyncSession) if not name.startswith("_") and callable(getattr(AsyncSession, name))}
    assert public == CALLS.keys() | WITHOUT_A_SESSION


@pytest.mark.parametrize("kind", ["chat", "training"])
@pytest.mark.parametrize("hidden", [False, True])
async def test_a_later_session_is_another_one(async_memory: AsyncChatMemory, kind: str, *, hidden: bool) -> None:
    """Active or deleted, it stays as it was, and nothing of it is seen."""
    acme = async_memory.tenant("acme")
    hers = await acme.sessions.create(user_id="ann", session_id="s-1", kind=kind)
    stale = await acme.sessions.get("s-1")
    stale.log_metrics({"loss": 1.0})
    await hers.erase()
    his = await acme.sessions.create(user_id="bob", session_id="s-1", kind=kind)
    await his.append("user", "I am Bob.")
    his.log_metrics({"loss": 3.0})
    await his.flush()
    before = await his.refresh()
    if hidden:
        await his.delete()
    for name, call in CALLS.items():
        with pytest.raises(MoveError if name == "reopen_run" and kind == "chat" else SessionNotFoundError):
            pytest.fail(f"{name} gave {await call(stale)!r}")
    stale.log_metrics({"loss": 1.0})
    await stale.flush()
    if hidden:
        await his.restore()
    now = await his.refresh()
    assert (now.status, now.title, now.run_status, now.last_seq) == ("active", before.title, before.run_status, 1)
    assert (await his.metrics())["loss"].values == (3.0,)
