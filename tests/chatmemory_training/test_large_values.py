"""One value that is too large, or that cannot be stored, costs nothing but itself: the rest is there, the run ends."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chatmemory import Tenant
from chatmemory_training import SessionManagerService, record_run
from chatmemory_training.json_values import to_json_value
from tests.chatmemory_training.conftest import given

LARGE = "x" * 1_200_000
NUMBERS = [n / 7 for n in range(250_000)]


@pytest.fixture(autouse=True)
def _spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Spool into the test's own directory."""
    monkeypatch.setenv("CHATMEMORY_LOG_DIR", str(tmp_path / "spools"))


def deep(value: Any, levels: int) -> Any:
    """A value in this many dicts."""
    for _ in range(levels):
        value = {"in": value}
    return value


cycle: dict[str, Any] = {"me": None}
cycle["me"] = cycle
VALUES: dict[str, Callable[[], Any]] = {
    "a large text": lambda: LARGE,
    "many numbers": lambda: NUMBERS,
    "an array": lambda: np.zeros(3_000_000),
    "a million numbers": lambda: list(range(1_000_000)),
    "many names": lambda: {f"name-{n}": n for n in range(100_000)},
    "many parts": lambda: [{"text": "x" * 500} for _ in range(5000)],
    "deep": lambda: deep(1, 500),
    "a cycle": lambda: cycle,
    "NaN": lambda: float("nan"),
    "an object": object,
    "bytes": lambda: b"\xff" * 600_000,
    "a huge integer": lambda: 10**5000,
    "NUL and a surrogate": lambda: "\0\ud800",
    "a set": lambda: {1, 2},
}


@pytest.mark.parametrize("value", VALUES)
def test_a_run_keeps_all_but_the_value(tenant: Tenant, value: str) -> None:
    """Among its details, its results and its artifacts; the next run of its name is another."""
    large = VALUES[value]()
    for _ in range(2):
        with record_run(tenant, "r", model="lstm", details={"odd": large, "seed": 7}, user_id="ann") as run:
            run.log({"loss": 0.5, "odd": large}, 0)
            run.update(odd_later=large, current_epoch=3, artifacts=large)
            run.append([{"role": "tool", "content": "fine", "message_id": "m-1", "metadata": {"odd": large}}])
            run.results(odd=large, rmse=0.25, inner={"odd": large, "mae": 0.5})
    for name in ("r", "r-2"):
        session = tenant.sessions.get(name)
        info = session.info
        assert (info.status, info.run_status) == ("completed", "completed")
        details = {"model_id": "lstm", "seed": 7, "current_epoch": 3}
        assert {name: info.details[name] for name in details} == details
        assert isinstance(info.results, dict)
        assert (info.results["rmse"], info.results["inner"]["mae"]) == (0.25, 0.5)
        assert {"odd", "odd_later"} <= info.details.keys()
        assert "odd" in info.results
        assert session.metrics()["loss"].values == (0.5,)
        assert [message.content for message in session.messages()] == ["fine"]


@pytest.mark.parametrize("detail", [
    {"total_epochs": 10**30}, {"total_epochs": "many"}, {"test_params": "all"}, {"model_id": LARGE}, {"batch_size": -1},
    {"learning_rate": LARGE}, {"dataset_name": NUMBERS}, {"x" * 1_200_000: 1}, {"": 1}, {None: 1},
])  # fmt: skip
@pytest.mark.parametrize("kind", ["training", "testing"])
def test_a_detail_that_its_kind_refuses_costs_no_other(tenant: Tenant, kind: str, detail: dict[Any, Any]) -> None:
    """At the beginning and later."""
    with record_run(tenant, "r", kind=kind, details={**detail, "seed": 7}) as run:
        run.update(**{str(name): value for name, value in detail.items()}, host="a")
        run.results(rmse=0.25)
    info = tenant.sessions.get("r").info
    assert info.run_status == "completed"
    assert (info.details["seed"], info.details["host"], info.results) == (7, "a", {"rmse": 0.25})


def test_messages_and_metric_names_of_any_size(tenant: Tenant) -> None:
    """A message that is too large is cut, the others stay; a long name of a metric is cut, and stays distinct."""
    with record_run(tenant, "r") as run:
        run.append([{"role": "tool", "content": text, "message_id": text[:3]} for text in ("one", LARGE, "two")])
        run.log({"loss": 1.0, **{"loss/" * 100 + end: 2.0 for end in "ab"}, "": 3.0, " ": 4.0, "n\0l": 5.0}, 0)
        run.update(stage=LARGE)
        run.end("failed", LARGE)
    session = tenant.sessions.get("r")
    assert session.info.run_status == "failed"
    one, cut, two = [str(message.content) for message in session.messages()]
    assert (one, two) == ("one", "two")
    assert cut.endswith("… [cut: 1,200,000 characters]")
    series = session.metrics()
    assert {"loss", "nl"} <= set(series)
    assert len([name for name in series if name.startswith("loss/loss/")]) == 2


def test_many_updates_that_add_up(tenant: Tenant) -> None:
    """Each would fit alone: the epoch is counted to the end."""
    with record_run(tenant, "r", details={"total_epochs": 15}) as run:
        for epoch in range(16):
            run.update(**{f"note_{epoch}": "x" * 150_000}, current_epoch=epoch)
            run.results(**{f"note_{epoch}": "x" * 150_000}, last=epoch)
    info = tenant.sessions.get("r").info
    assert (info.status, info.progress, info.details["current_epoch"]) == ("completed", 100, 15)
    assert isinstance(info.results, dict)
    assert info.results["last"] == 15
    assert "[left out" in info.details["note_15"]


@pytest.mark.parametrize("value", ["a large text", "many numbers", "NaN", "many names"])
def test_the_service_keeps_the_rest_too(service: SessionManagerService, value: str) -> None:
    """In metadata, details and results."""
    large = VALUES[value]()
    started = given(service.start_session("ann", "training", {"model_id": "lstm", "odd": large, "total_epochs": 4}))
    id = started["user_session"]["id"]
    assert started["training_session"]["model_id"] == "lstm"
    updated = given(service.update_session(id, {"current_epoch": 2, "metadata": {"odd": large, "loss": 0.5}}))
    assert (updated["training_session"]["current_epoch"], updated["user_session"]["metadata"]["loss"]) == (2, 0.5)
    ended = given(service.end_session(id, results={"odd": large, "rmse": 0.25}))
    assert ended["training_session"]["results"]["rmse"] == 0.25
    assert ended["training_session"]["status"] == "completed"


def test_a_conversion_ends_and_leaves_the_rest() -> None:
    """Also of values that share their parts, which as JSON would have no end."""
    shared: Any = {"a": 1}
    for _ in range(30):
        shared = {"left": shared, "right": shared}
    converted = to_json_value({"shared": shared, "numbers": list(range(600_000)), "last": 7})
    assert (converted["last"], converted["numbers"]) == (7, "[left out: a list of 600,000 values]")
    assert len(json.dumps(converted)) < 50_000_000
