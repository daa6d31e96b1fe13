"""Accepted input comes back identical; rejected input leaves nothing behind."""

import json
import random
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from chatmemory import AsyncChatMemory, ContentTooLargeError, InvalidInputError, Settings
from tests.helpers import calls

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=4)
fast = hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def to_the_letter(value: Any) -> str:
    """Equal only if types, order and signs of zero are equal too."""
    return json.dumps(value)


@fast
@given(content=texts | st.lists(objects, max_size=3), metadata=objects)
async def test_what_is_accepted_comes_back_identical(
    async_memory: AsyncChatMemory, content: Any, metadata: dict[str, Any]
) -> None:
    """Any text, any blocks and any metadata, from append, from history and from the iterator."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann")
    appended = await session.append("user", content, metadata=metadata)
    [read] = await session.history()
    assert appended == read
    assert [message async for message in session.messages()] == [read]
    assert to_the_letter([read.content, read.metadata]) == to_the_letter([content, metadata])


@fast
@given(metadata=objects, results=values)
async def test_what_a_session_keeps_comes_back_identical(
    async_memory: AsyncChatMemory, metadata: dict[str, Any], results: Any
) -> None:
    """Metadata given at creation, details merged later, results at the end."""
    sessions = async_memory.tenant("acme").sessions
    session = await sessions.create(user_id="ann", metadata=metadata)
    await session.update(details=metadata)
    await session.end(results=results)
    info = await session.refresh()
    assert to_the_letter([info.metadata, info.details, info.results]) == to_the_letter([metadata, metadata, results])


cycle: dict[str, Any] = {}
cycle["self"] = cycle
deep: Any = 1
for _ in range(200):
    deep = [deep]

REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"role": "robot", "content": "x"}, "robot"),
    ({"role": "What I said, in the wrong place", "content": "x"}, "role is a str that is no such word"),
    ({"What I said, in the wrong place": 1, "role": "user", "content": "x"}, "a key that is a str"),
    ({"role": "user", "content": "x", "metadata": {"a": 10**5000}}, "bits"),
    ({"role": "user", "content": [{"n": 10**5000}]}, "bits"),
    ({"role": "user", "content": "x", "message_id": 10**5000}, "bits"),
    ({"role": "user", "content": "x", "message_id": "𝄞" * 64}, "256 bytes"),
    ({"role": None, "content": "x"}, "role"),
    ({"role": "user", "content": "a\0b"}, "NUL"),
    ({"role": "user", "content": "a\ud800b"}, "surrogate at character 1"),
    ({"role": "user", "content": None}, "content"),
    ({"role": "user", "content": ["x", 1]}, "int, str"),
    ({"role": "user", "content": [{"text": "a\0b"}]}, "NUL"),
    ({"role": "user", "content": "x", "metadata": {"a": float("nan")}}, "nan"),
    ({"role": "user", "content": "x", "metadata": {"a": [float("inf")]}}, r"\['a'\]\[0\] is inf"),
    ({"role": "user", "content": "x", "metadata": {"a": {1, 2}}}, "set"),
    ({"role": "user", "content": "x", "metadata": {1: 2}}, "key"),
    ({"role": "user", "content": "x", "metadata": {"a": (1, 2)}}, "tuple"),
    ({"role": "user", "content": "x", "metadata": cycle}, "cycle"),
    ({"role": "user", "content": "x", "metadata": {"a": deep}}, "deeper"),
    ({"role": "user", "content": "x", "metadata": {"a\0": 1}}, "NUL"),
    ({"role": "user", "content": "x", "metadata": [1]}, "mapping"),
    ({"role": "user", "content": "x", "message_id": ""}, "empty"),
    ({"role": "user", "content": "x", "message_id": "m" * 256}, "256"),
    ({"role": "user", "content": "x", "created_at": "yesterday"}, "datetime"),
    ({"role": "user", "content": "x", "colour": "red"}, "colour"),
    ({"content": "x"}, "role"),
    ({"role": "user", "content": "x", "created_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))}, "years"),
    (
        {
            "role": "user",
            "content": "x",
            "created_at": datetime(9999, 12, 31, 23, tzinfo=timezone(-timedelta(hours=12))),
        },
        "years",
    ),
]


@pytest.mark.parametrize(("message", "says"), REFUSED)
async def test_what_is_refused_leaves_nothing(
    async_memory: AsyncChatMemory, message: dict[str, Any], says: str
) -> None:
    """A typed error that names the trouble, and no message before or after it."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann")
    with pytest.raises(InvalidInputError, match=says):
        await session.append_many([{"role": "user", "content": "good"}, message])
    assert await session.history() == []


async def test_content_has_a_size_limit_in_bytes(postgres_url: str) -> None:
    """max_message_bytes counts bytes of UTF-8, of text and of blocks."""
    async with AsyncChatMemory.open(postgres_url, settings=Settings(max_message_bytes=40)) as small:
        session = await small.tenant("acme").sessions.create(user_id="ann")
        await session.append("user", "ü" * 20)
        too_large: list[Any] = ["ü" * 20 + "x", [{"type": "text", "text": "x" * 40}]]
        for content in too_large:
            with pytest.raises(ContentTooLargeError, match="max_message_bytes"):
                await session.append("user", content)
        assert len(await session.history()) == 1


async def test_messages_must_be_a_list(async_memory: AsyncChatMemory) -> None:
    """One message, or a string, is not a list of messages."""
    session = await async_memory.tenant("acme").sessions.create(user_id="ann")
    for bad in ("hello", {"role": "user", "content": "x"}, ["hello"]):
        with pytest.raises(InvalidInputError):
            await session.append_many(bad)  # type: ignore[arg-type]  # that is the point


async def test_no_error_repeats_what_may_be_content(async_memory: AsyncChatMemory) -> None:
    """A word that is unknown is named; anything longer is told by its type."""
    sessions = async_memory.tenant("acme").sessions
    said: Any = "What I said, in the wrong place"
    for call in calls(
        lambda: sessions.create(user_id="ann", kind=said),
        lambda: sessions.resume_or_create(user_id="ann", on_missing=said),
        lambda: sessions.list(status=said),
        lambda: sessions.list(limit=-(10**5000)),
        lambda: sessions.create(user_id=10**5000),
        lambda: sessions.end_inactive(said),
    ):
        with pytest.raises(InvalidInputError) as raised:
            await call()
        assert "What I said" not in str(raised.value)


def incompressible(seed: int) -> str:
    """63 characters of four bytes each."""
    rng = random.Random(seed)
    return "".join(chr(rng.randrange(0x10000, 0x1FFFF)) for _ in range(63)) + "end"


async def test_the_longest_ids_are_found_again(async_memory: AsyncChatMemory) -> None:
    """Ids of the full 255 bytes, which do not compress, work everywhere."""
    tenant, user, session_id, message_id = (incompressible(n) for n in range(4))
    session = await async_memory.tenant(tenant).sessions.create(user_id=user, session_id=session_id)
    stored = await session.append("user", "x", message_id=message_id)
    assert await session.append("user", "x", message_id=message_id) == stored
    assert (await async_memory.tenant(tenant).sessions.get(session_id, user_id=user)).info.message_count == 1


async def test_nothing_is_idle_for_ever(async_memory: AsyncChatMemory) -> None:
    """The longest time span there is expires nothing, and is no error."""
    sessions = async_memory.tenant("acme").sessions
    await sessions.create(user_id="ann")
    assert await sessions.end_inactive(timedelta.max) == []


LARGE = {"note": "x" * 1_200_000}
MANY = [n / 7 for n in range(250_000)]


@pytest.mark.parametrize("kind", ["chat", "general", "training", "testing", "research"])
async def test_one_large_value_costs_no_other(async_memory: AsyncChatMemory, kind: str) -> None:
    """At the beginning, in an update and at the end, it is cut with a mark; the session ends."""
    sessions = async_memory.tenant("acme").sessions
    session = await sessions.create(user_id="ann", kind=kind, details={**LARGE, "a": 1}, metadata={**LARGE, "b": 2})
    info = await session.update(details={"many": MANY, "c": 3}, metadata={"many": MANY}, error="e" * 1_200_000)
    assert (info.details["a"], info.details["c"], info.metadata["b"]) == (1, 3, 2)
    assert info.details["note"].endswith("… [cut: 1,200,002 bytes]")
    assert "[left out: a list of 250,000 values" in info.details["many"]
    assert (info.error or "").endswith("[cut: 1,200,002 bytes]")
    ended = await session.end(results={"many": MANY, "rmse": 0.5}, details={**LARGE, "d": 4}, error="e" * 1_200_000)
    assert (ended.status, ended.details["a"], ended.details["d"]) == ("completed", 1, 4)
    assert isinstance(ended.results, dict)
    assert ended.results["rmse"] == 0.5
    assert await session.refresh() == ended


@pytest.mark.parametrize(
    "bad",
    [float("nan"), object(), {1, 2}, (1,), "a\0", "\ud800", {1: 2}, deep, cycle],
    ids=lambda bad: type(bad).__name__,
)
async def test_no_value_keeps_a_run_from_ending(async_memory: AsyncChatMemory, bad: Any) -> None:
    """A value that JSON cannot represent is marked; a detail of the wrong type has another name."""
    sessions = async_memory.tenant("acme").sessions
    session = await sessions.create(user_id="ann", kind="training")
    details = {"total_epochs": "many", "batch_size": 3, "bad": bad}
    info = await session.end(results={"bad": bad, "rmse": 0.5}, details=details, metadata={"bad": bad}, error="a\0b")
    assert (info.status, info.run_status, info.error) == ("completed", "completed", "ab")
    assert isinstance(info.results, dict)
    assert (info.results["rmse"], info.details["batch_size"]) == (0.5, 3)
    assert info.details["total_epochs_as_given"] == "many"
    assert "bad" in info.results
    assert "bad" in info.metadata
    results = await async_memory.tenant("acme").memories.list(kinds=["result"])
    assert "rmse 0.5" in results[0].text
