"""Conversations that an app makes by hand for an import, and paths: what is wrong is refused with a typed error."""

from collections.abc import AsyncIterator
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from chatmemory import (
    AsyncChatMemory,
    Conversation,
    ImportedConversation,
    InvalidInputError,
    MetricCurve,
    NewMessage,
)

GOOD = Conversation(
    id="good", source="by hand", origin={"from": "by hand"}, messages=[NewMessage("user", "Hello", "m-1")]
)
NAIVE = datetime(2026, 1, 1)  # that is the point
# Wrong for every field; which of them a field takes stands in TAKES.
WRONG: list[Any] = [5, -1.5, True, "text", b"text", "a\0b", NAIVE, date(2026, 1, 1), ["x"], {"x"}, {1: 2}, object()]
TAKES: dict[str, tuple[type, ...]] = {
    "id": (int, str), "source": (object,), "title": (str,), "user_id": (int, str), "tenant_id": (int, str),
    "results": (int, float, bool, str, list),
}  # fmt: skip
TIME = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
BAD_CURVES: list[Any] = [
    5,
    MetricCurve("loss", 5, (1.0,), (TIME,), 1),  # type: ignore[arg-type]  # that is the point
    MetricCurve("loss", (1,), ("a",), (TIME,), 1),  # type: ignore[arg-type]  # likewise
    MetricCurve("loss", (1, 2), (1.0,), (TIME,), 1),
    MetricCurve("loss", (-1,), (1.0,), (TIME,), 1),
    MetricCurve("loss", (1,), (1.0,), (float("inf"),), 1),
    MetricCurve("", (1,), (1.0,), (TIME,), 1),
]


async def imported(memory: AsyncChatMemory, *conversations: Conversation) -> list[ImportedConversation]:
    """Import conversations, and return the outcomes."""
    acme = memory.tenant("acme")
    return [result async for result in acme.import_conversations(conversations, default_user_id="ann")]


@pytest.mark.parametrize("name", [field.name for field in fields(Conversation) if field.name != "source"])
async def test_a_wrong_field(async_memory: AsyncChatMemory, name: str) -> None:
    """A value of another type refuses its conversation with a reason, stores nothing of it, and stops no other one."""
    for wrong in WRONG:
        if type(wrong) in TAKES.get(name, ()) and wrong != "a\0b":
            continue
        values: dict[str, Any] = {"id": "bad", name: wrong}
        bad = replace(GOOD, **values)
        first, second = await imported(async_memory, bad, GOOD)
        assert (first.outcome, bool(first.reason), isinstance(first.id, str)) == ("refused", True, True), wrong
        assert second.outcome in ("imported", "unchanged"), wrong
    assert [info.id for info in await async_memory.tenant("acme").sessions.list()] == ["good"]


@pytest.mark.parametrize("wrong", [5, {"role": "user", "content": "x"}, "text", None])
async def test_a_wrong_message(async_memory: AsyncChatMemory, wrong: Any) -> None:
    """A message is a NewMessage."""
    [result] = await imported(async_memory, replace(GOOD, messages=[wrong]))
    assert result.outcome == "refused"
    assert "NewMessage" in (result.reason or "")


@pytest.mark.parametrize("curve", BAD_CURVES)
async def test_a_wrong_curve(async_memory: AsyncChatMemory, curve: Any) -> None:
    """A curve that cannot be logged refuses its run."""
    results = await imported(async_memory, replace(GOOD, id="run", kind="training", metrics=[curve]), GOOD)
    assert [each.outcome for each in results] == ["refused", "imported"]


@pytest.mark.parametrize("run", [{"run_status": []}, {"stage": 5}, {"error": object()}, {"progress": "half"}])
async def test_a_wrong_run(async_memory: AsyncChatMemory, run: Any) -> None:
    """The status, stage, error and progress of a run are checked likewise."""
    results = await imported(async_memory, replace(GOOD, id="run", kind="training", run=run), GOOD)
    assert [each.outcome for each in results] == ["refused", "imported"]
    assert [info.id for info in await async_memory.tenant("acme").sessions.list()] == ["good"]


async def test_ids_of_other_types(async_memory: AsyncChatMemory) -> None:
    """An int is accepted as an id, as everywhere."""
    number: Any = 7
    [result] = await imported(async_memory, replace(GOOD, id=number, user_id=number))
    assert (result.id, result.outcome) == ("7", "imported")
    assert (await async_memory.tenant("acme").sessions.get("7")).info.user_id == "7"


@pytest.mark.parametrize("name", ["missing.json", "", ".", "a\0b", "\ud800", "x" * 10_000])
async def test_a_path_that_cannot_be_read(async_memory: AsyncChatMemory, tmp_path: Path, name: str) -> None:
    """A path without a file, and one that is a directory, are typed errors that name it."""
    for path in (str(tmp_path / name), tmp_path / name):
        results: AsyncIterator[Any] = async_memory.tenant("acme").import_conversations(path, user_id="ann")
        with pytest.raises(InvalidInputError, match="cannot be read"):
            await anext(results)


async def test_a_flag_of_another_type(async_memory: AsyncChatMemory) -> None:
    """A flag counts as true or false, whatever it is."""
    run = await async_memory.tenant("acme").sessions.create(user_id="ann", kind="training")
    flag: Any = object()
    assert (await run.end(keep_run_status=flag)).run_status == "completed"
