# Generated from tests/_async/test_finding_runs.py by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""Finding runs by their metrics, details, results and metadata."""

import json
from typing import Any

import psycopg
import pytest

from chatmemory import ChatMemory, InvalidInputError, Session
from chatmemory.storage.queries.finding_runs import Sql, find_runs

ADAM = {"optimizer": "adamw", "learning rate": 1e-3, "model": {"layers": 12}, "data.name": "ag_news", "amp": True}
SGD = {"optimizer": "sgd", "learning rate": 0.1, "model": {"layers": "12"}, "amp": False, "note": "it's 100 %"}


def begin(memory: ChatMemory, id: str, details: dict[str, Any], **more: Any) -> Session:
    """Begin a run under this id."""
    return memory.tenant("acme").sessions.create(
        user_id=more.pop("user_id", "ann"), kind="training", session_id=id, details=details, **more
    )


@pytest.fixture
def filled(memory: ChatMemory) -> ChatMemory:
    """Three runs and a chat: a is the better one, b has failed, c has nothing."""
    a = begin(memory, "a", ADAM, metadata={"group": "sweep-1"})
    for step, loss in enumerate((0.9, 0.2, 0.3)):
        a.log_metrics({"val_loss": loss, "accuracy": 1 - loss, "val/f1 score": loss}, step=step)
    a.end(results={"test": {"accuracy": 0.71}})
    b = begin(memory, "b", SGD, user_id="bob", metadata={"group": "sweep-1"})
    b.log_metrics({"val_loss": 0.8, "accuracy": 0.2})
    b.log_metrics({"val_loss": float("nan"), "accuracy": float("nan")})
    b.end(success=False, error="out of memory")
    begin(memory, "c", {})
    memory.tenant("acme").sessions.create(user_id="ann", session_id="chat")
    memory.tenant("other").sessions.create(user_id="ann", kind="training", session_id="z", details=ADAM)
    return memory


def found(memory: ChatMemory, where: str | None = None, **more: Any) -> str:
    """Return the ids of the runs that are found, in order."""
    return "".join(run.info.id for run in memory.tenant("acme").sessions.runs(where, **more))


@pytest.mark.parametrize(
    ("where", "ids"),
    [
        ("metrics.val_loss < 0.5 and details.optimizer = 'adamw'", "a"),
        ("metrics.val_loss = 0.3", "a"),
        ("best.val_loss = 0.2 or best.accuracy = 0.2", "ba"),
        ("min.accuracy <= 0.1", "a"),
        ("max.val_loss >= .8", "ba"),
        ("metrics.`val/f1 score` > 0", "a"),
        ("metrics.val_loss is null", "cb"),
        ("metrics.val_loss > 0", "a"),
        ("best.val_loss is not null", "ba"),
        ("details.`learning rate` <= 1e-3", "a"),
        ("details.model.layers = 12", "a"),
        ("details.model.layers = '12'", "b"),
        ("details.data.name = \"ag_news\"", "a"),
        ("details.amp = true", "a"),
        ("details.amp = FALSE", "b"),
        ("details.note like 'it''s 100 %'", "b"),
        ("details.optimizer not like 'ad%'", "cb"),
        ("details.optimizer in ('sgd', 'adamw', 3)", "ba"),
        ("details.optimizer NOT IN ('sgd')", "ca"),
        ("not details.optimizer = 'sgd'", "ca"),
        ("details.optimizer != 'sgd'", "a"),
        ("results.test.accuracy > 0.7", "a"),
        ("metadata.group == 'sweep-1' and (status = 'failed' or kind = 'testing')", "b"),
        ("error like '%memory%'", "b"),
        ("run_status = 'completed'", "a"),
        ("created_at > '2020-01-01' and ended_at is null", "c"),
        ("seconds < 3600 and user_id <> 'bob'", "ca"),
        ("details.optimizer.deeper = 1", ""),
        (None, "cba"),
    ],
)  # fmt: skip
def test_a_condition_finds_its_runs(filled: ChatMemory, where: str | None, ids: str) -> None:
    """A comparison with what is missing, or has another type, is false; chats and other tenants' runs never come."""
    assert found(filled, where) == ids


def test_an_order_puts_what_is_missing_last(filled: ChatMemory) -> None:
    """By metrics, details of any type, and columns; among equals, the last created first."""
    assert found(filled, order_by="best.accuracy desc") == "abc"
    assert found(filled, order_by="best.accuracy") == "bac"
    assert found(filled, order_by="metrics.accuracy desc") == "acb"
    assert found(filled, order_by="details.`learning rate` DESC") == "bac"
    assert found(filled, order_by="details.optimizer, created_at asc") == "abc"
    assert found(filled, order_by="metadata.group desc, id") == "abc"
    assert found(filled, order_by="created_at", limit=1, offset=1) == "b"
    assert found(filled, user_id="ann", kind="training") == "ca"
    table = (filled.tenant("acme").sessions.runs(order_by="id")).to_pandas()
    assert list(table["details.optimizer"])[:2] == ["adamw", "sgd"]


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("", "ends too early"),
        ("details.x =", "ends too early"),
        ("details.x = 1 or", "ends too early"),
        ("loss < 1", "has no 'loss'"),
        ("status.x = 'a'", "has no 'status.x'"),
        ("details = 'a'", "has no 'details'"),
        ("status = 1", "is a text"),
        ("metrics.loss = 'low'", "is a number"),
        ("created_at > 'yesterday'", "2026-01-31"),
        ("id = 'a'; drop table sessions", "; drop table"),
        ("id = 'a' -- x", "-- x"),
        ("details.x < 'a", "from"),
        ("title like 'a\\'", "backslash"),
        ("title = 'a\0'", "NUL"),
        ("title = '\ud800'", "surrogate"),
        ("(" * 3000, "the limit is 2,000"),
    ],
)
def test_what_cannot_be_read_is_shown(memory: ChatMemory, where: str, problem: str) -> None:
    """The message shows from where on, or which fields there are."""
    with pytest.raises(InvalidInputError, match=problem):
        found(memory, where)
    with pytest.raises(InvalidInputError):
        found(memory, order_by=where or ",")


@pytest.mark.parametrize("text", ["' or true --", "%s", "%(id)s", "\\", "a\nb", "ß€漢🦊", "{}", "$1", '"'])
def test_names_and_values_are_only_data(memory: ChatMemory, text: str) -> None:
    """Whatever stands in them."""
    name = text.replace("`", "")
    session = begin(memory, "a", {name: text})
    session.log_metrics({name: 1})
    quoted = "'" + text.replace("'", "''") + "'"
    assert found(memory, f"details.`{name}` = {quoted} and metrics.`{name}` = 1") == "a"
    assert found(memory, f"details.x = {quoted}", order_by=f"details.`{name}`") == ""


def test_odd_values_fail_no_search(memory: ChatMemory) -> None:
    """Numbers beyond any column, results that are no object, and deep conditions."""
    begin(memory, "a", {"x": 10**300, "y": -0.0, "list": [1, 2]})
    b = begin(memory, "b", {"x": None})
    b.update(results=[1, 2])
    assert found(memory, "details.x > 1e299") == "a"
    assert found(memory, "metrics.x > 1e999 or progress > 1e999") == ""
    assert found(memory, "details.list.0 = 1") == "a"
    assert found(memory, "results.a is null and details.x is null") == "b"
    assert found(memory, "not " * 400 + "id = 'a'") == "a"


def test_runs_are_found_among_many_chats(memory: ChatMemory, postgres_url: str) -> None:
    """By an index that holds runs by their creation: the search reads no chats."""
    begin(memory, "a", ADAM)
    with psycopg.connect(postgres_url) as connection:
        connection.execute(
            "insert into chatmemory.sessions "
            "(tenant_id, id, user_id, kind, learns, created_at, updated_at, last_active_at) "
            "select 'acme', 'chat-' || i, 'ann', 'chat', 'messages', now(), now(), now() "
            "from generate_series(1, 20000) i"
        )
        connection.execute("analyze chatmemory.sessions")
        query = find_runs(Sql(""), Sql(""), of_user=False, of_kind=False)
        connection.execute("select set_config('chatmemory.tenant_id', 'acme', true)")
        [[plan]] = connection.execute("explain (analyze, format json) " + query, (10, 0)).fetchall()
    assert "runs_by_creation" in json.dumps(plan)
