"""Conversations as hypothesis makes them: plain turns, system messages, tool calls with their results, orphans."""

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from chatmemory import Message
from chatmemory.context.request import Budget, Request
from chatmemory.context.window import Window
from chatmemory.messages.token_counts import ESTIMATE, message_tokens
from chatmemory.settings import Settings

SETTINGS = Settings()
WHEN = datetime(2026, 1, 1, tzinfo=UTC)

texts = st.text(st.sampled_from("ab é漢\n"), max_size=60)


def message(seq: int, role: str, content: Any, metadata: dict[str, Any] | None = None, counted: bool = True) -> Message:
    """One message, counted as an append counts it."""
    tokens = message_tokens(ESTIMATE, content, metadata or {}) if counted else None
    return Message(seq, f"m{seq}", role, content, WHEN, metadata or {}, tokens, "estimate" if counted else None)  # type: ignore[arg-type]


def call(id: str) -> dict[str, Any]:
    """A tool call as OpenAI writes it."""
    return {"id": id, "type": "function", "function": {"name": "look_up", "arguments": '{"a": 1}'}}


@st.composite
def conversations(draw: st.DrawFn, most: int = 30, tools: bool = True) -> list[Message]:
    """A whole session."""
    said: list[tuple[str, str, dict[str, Any]]] = []
    if draw(st.booleans()):
        said.append(("system", draw(texts), {}))
    steps = ["user", "assistant", "user", "assistant", "system"] + ["tools", "tools", "orphan"] * tools
    for number, step in enumerate(draw(st.lists(st.sampled_from(steps), max_size=most))):
        if step == "tools":
            ids = [f"c{number}-{n}" for n in range(draw(st.integers(1, 3)))]
            at_once = [ids] if draw(st.booleans()) else [[id] for id in ids]  # as the Agents SDK has them
            said += [("assistant", draw(texts), {"tool_calls": [call(id) for id in each]}) for each in at_once]
            said += [("assistant", "", {})] * draw(st.integers(0, 1))  # what it thought, with nothing to read
            answered = draw(st.permutations(ids))[: draw(st.sampled_from([3, 3, 3, 2, 1, 0]))]
            said += [("tool", draw(texts), {"tool_call_id": id}) for id in answered]
        elif step == "orphan":
            said.append(("tool", draw(texts), {"tool_call_id": "nobody's"}))
        else:
            said.append((step, draw(texts), {}))
    return [message(seq, *each) for seq, each in enumerate(said, 1)]


def whole(messages: list[Message]) -> Window:
    """The window that holds all of a session."""
    return Window(messages, None, 1, len(messages), sum(each.tokens or 0 for each in messages), "postgres")


def request(max_tokens: int | None = None, **given: Any) -> Request:
    """Return the request that Session.context() makes of its arguments."""
    system = given.pop("system", None)
    values: dict[str, Any] = {
        "max_messages": None,
        "reserve_tokens": 0,
        "trim_step": None,
        "on_oversize": "truncate",
        **given,
    }
    return Budget(max_tokens, **values).request(SETTINGS, system)
