from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import numpy as np
import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.orm import Session as SqlSession
from sqlalchemy.orm import sessionmaker

from chatmemory import ChatMemory, ConfigurationError, Settings, Tenant
from chatmemory_training import SessionManagerService
from tests.chatmemory_training.conftest import given

TRAINING = {"model_id": "lstm", "dataset_name": "bitcoin_2020_2022", "total_epochs": 10, "learning_rate": 0.001}
USER_SESSION = {"id", "user_id", "type", "status", "is_active", "start_time", "end_time", "metadata"}
TRAINING_SESSION = {
    *("id", "status", "model_id", "dataset_name", "current_epoch", "total_epochs", "learning_rate"),
    *("batch_size", "results"),
}
TESTING_SESSION = {"id", "status", "model_id", "dataset_name", "test_type", "test_params", "success", "results"}
ITEM = {"id", "type", "status", "is_active", "start_time", "end_time"}


def start(service: SessionManagerService, type: str = "training", **metadata: Any) -> str:
    """Begin a session of Ann's, and return its id."""
    return str(given(service.start_session("ann", type, metadata or dict(TRAINING)))["user_session"]["id"])


def test_a_started_training_is_active_and_pending(service: SessionManagerService) -> None:
    """The answer has both levels, with what the metadata says of the training."""
    answer = given(service.start_session(7, "training", {**TRAINING, "batch_size": 32, "note": "first"}))
    outer, inner = answer["user_session"], answer["training_session"]
    assert set(answer) == {"user_session", "training_session"}
    assert set(outer) == USER_SESSION
    assert set(inner) == TRAINING_SESSION
    assert (outer["user_id"], outer["type"], outer["status"], outer["is_active"]) == ("7", "training", "active", True)
    assert outer["metadata"] == {**TRAINING, "batch_size": 32, "note": "first"}
    assert datetime.fromisoformat(outer["start_time"]).utcoffset() is not None
    assert outer["end_time"] is None
    assert (inner["status"], inner["model_id"], inner["current_epoch"]) == ("pending", "lstm", 0)
    assert (inner["total_epochs"], inner["batch_size"]) == (10, 32)
    assert inner["results"] is None
    assert service.last_error is None


def test_a_started_testing_and_a_general_session_have_their_shapes(service: SessionManagerService) -> None:
    """A testing session has its test beside it, a general one nothing."""
    metadata = {"model_id": "lstm", "dataset_name": "eth", "test_type": "backtest", "test_params": {"days": 30}}
    testing = given(service.start_session("ann", "testing", metadata))
    assert set(testing["testing_session"]) == TESTING_SESSION
    assert testing["testing_session"]["test_params"] == {"days": 30}
    assert testing["testing_session"]["status"] == "pending"
    assert testing["testing_session"]["success"] is None
    general = given(service.start_session("ann", "general"))
    assert set(general) == {"user_session"}
    assert general["user_session"]["metadata"] == {}


@pytest.mark.parametrize(
    ("user", "type", "metadata"),
    [
        ("ann", "chat", {}),
        ("ann", "Training", {}),
        ("ann", None, {}),
        ("", "training", {}),
        (None, "training", {}),
        ("ann", "training", ["model_id"]),
        ("ann", "training", {"total_epochs": "ten"}),
        ("ann", "training", {"total_epochs": -1}),
        ("ann", "testing", {"test_params": "all"}),
        ("ann", "general", {"x": object()}),
        ("ann", "general", {1: "key"}),
    ],
)
def test_what_cannot_be_started_is_none_and_writes_nothing(
    service: SessionManagerService, tenant: Tenant, user: Any, type: Any, metadata: Any
) -> None:
    """None, a reason, and no session."""
    assert service.start_session(user, type, metadata) is None
    assert service.last_error
    assert tenant.sessions.list(with_total=True).total == 0


def test_an_update_changes_details_metadata_and_results(service: SessionManagerService, tenant: Tenant) -> None:
    """Metadata is merged; its numbers are points of metrics at the current epoch."""
    id = start(service)
    given(service.update_session(id, {"training_status": "running", "metadata": {"loss": 0.9, "host": "a"}}))
    update = {
        "current_epoch": 3,
        "learning_rate": 0.01,
        "batch_size": 64,
        "results": {"best": 2},
        "metadata": {"loss": np.float32(0.5), "accuracy": 1, "ok": True, "note": "x", "": 3},
    }
    answer = given(service.update_session(id, update))
    inner = answer["training_session"]
    assert (inner["status"], inner["current_epoch"], inner["learning_rate"]) == ("running", 3, 0.01)
    assert (inner["batch_size"], inner["results"]) == (64, {"best": 2})
    assert answer["user_session"]["metadata"] == {
        **TRAINING, "loss": 0.5, "host": "a", "accuracy": 1, "ok": True, "note": "x", "": 3
    }  # fmt: skip
    series = tenant.sessions.get(id).metrics()
    assert {name: (curve.steps, curve.values) for name, curve in series.items()} == {
        "loss": ((0, 3), (0.9, 0.5)), "accuracy": ((3,), (1.0,))
    }  # fmt: skip


def test_a_loss_that_is_no_number_any_more_is_kept(service: SessionManagerService, tenant: Tenant) -> None:
    """JSON has no NaN: it is a point of the metric, and a word in the metadata."""
    id = start(service)
    answer = given(service.update_session(id, {"metadata": {"loss": float("nan")}}))
    assert answer["user_session"]["metadata"]["loss"] == "nan"
    assert np.isnan(tenant.sessions.get(id).metrics()["loss"].values[0])


def test_testing_updates(service: SessionManagerService) -> None:
    """A testing session has its own status and parameters."""
    id = start(service, "testing", model_id=3)
    update = {"testing_status": "running", "test_params": {"days": 9}, "results": {"seen": 1}}
    inner = given(service.update_session(id, update))["testing_session"]
    assert (inner["status"], inner["test_params"], inner["results"]) == ("running", {"days": 9}, {"seen": 1})
    ended = given(service.end_session(id, True, {"rmse": 0.1}))
    assert ended["testing_session"]["success"] is True
    assert ended["testing_session"]["results"] == {"seen": 1, "rmse": 0.1}
    failed = start(service, "testing", model_id=4)
    assert given(service.end_session(failed, False))["testing_session"]["success"] is False


@pytest.mark.parametrize(("status", "outer", "inner"), [
    ("completed", "completed", "completed"), ("failed", "failed", "failed"), ("expired", "expired", "failed"),
    ("running", "active", "running"), ("active", "active", "pending"),
])  # fmt: skip
def test_status_moves_the_run_or_ends_the_session(
    service: SessionManagerService, status: str, outer: str, inner: str
) -> None:
    """`status` takes the words of both levels."""
    id = start(service)
    answer = given(service.update_session(id, {"status": status}))
    assert answer["user_session"]["status"] == outer
    assert answer["user_session"]["is_active"] is (outer == "active")
    assert answer["training_session"]["status"] == inner


def test_an_update_that_ends_a_session_keeps_what_it_brings(service: SessionManagerService, tenant: Tenant) -> None:
    """The last metrics are recorded too."""
    id = start(service)
    answer = given(service.update_session(id, {"status": "failed", "current_epoch": 4, "metadata": {"loss": 2.0}}))
    assert answer["training_session"]["current_epoch"] == 4
    assert answer["user_session"]["metadata"]["loss"] == 2.0
    assert tenant.sessions.get(id).metrics()["loss"].steps == (4,)


@pytest.mark.parametrize(
    "update",
    [
        {"training_status": "paused"},
        {"training_status": "completed"},  # from pending
        {"status": "done"},
        {"current_epoch": "3"},
        {"current_epoch": 3, "status": "nonsense"},
        {"current_epoch": 3, "metadata": {"x": object()}},
        {"current_epoch": 3, "metadata": "text"},
        {"current_epoch": 2**63, "metadata": {"loss": 1.0}},  # no step is so large
        {"current_epoch": 3, "status": "expired"},
        {"training_status": "running", "status": "failed"},
        "text",
    ],
)
def test_an_update_that_is_refused_changes_nothing(service: SessionManagerService, tenant: Tenant, update: Any) -> None:
    """None, a reason, and the session stands as it was, without a point of a metric."""
    id = start(service)
    before = given(service.get_session_info(id))
    assert service.update_session(id, update) is None
    assert service.last_error
    assert service.get_session_info(id) == before
    assert len(tenant.sessions.get(id).metrics()) == 0


def test_an_end_that_is_refused_leaves_no_numbers(service: SessionManagerService, tenant: Tenant) -> None:
    """The run has failed and cannot complete: what came with that is not kept either."""
    id = start(service)
    given(service.update_session(id, {"training_status": "running"}))
    given(service.update_session(id, {"training_status": "failed"}))
    before = given(service.get_session_info(id))
    assert service.update_session(id, {"status": "completed", "metadata": {"loss": 0.1}}) is None
    assert service.get_session_info(id) == before
    assert len(tenant.sessions.get(id).metrics()) == 0


def test_numbers_of_any_library_are_kept_wherever_they_stand(service: SessionManagerService) -> None:
    """Numpy's, deep inside; NaN, which JSON has not, as its name."""
    id = start(service)
    results = {"by_class": [{"acc": np.float32(0.5), "n": np.int64(3)}], "loss": float("nan")}
    kept = {"by_class": [{"acc": 0.5, "n": 3}], "loss": "nan"}
    answer = given(service.update_session(id, {"results": results, "metadata": {"inner": {"x": np.float32(2)}}}))
    assert answer["training_session"]["results"] == kept
    assert answer["user_session"]["metadata"]["inner"] == {"x": 2.0}
    assert given(service.end_session(id, results=results))["training_session"]["results"] == kept


def test_unknown_foreign_and_ended_sessions_are_none(service: SessionManagerService, memory: ChatMemory) -> None:
    """An update finds none of them; foreign and unknown read the same."""
    stranger = SessionManagerService(memory.tenant("other"))
    foreign = start(stranger)
    for id in (foreign, "nowhere", None, ""):
        assert service.update_session(id, {"current_epoch": 1}) is None
        assert service.get_session_info(id) is None
        assert service.end_session(id) is None
    assert service.update_session(foreign, {"current_epoch": 1}) is None
    told = (service.last_error or "").replace(foreign, "nowhere")
    assert service.update_session("nowhere", {"current_epoch": 1}) is None
    assert service.last_error == told
    ended = start(service)
    given(service.end_session(ended))
    assert service.update_session(ended, {"metadata": {"a": 1}}) is None
    assert given(stranger.get_session_info(foreign))["training_session"]["current_epoch"] == 0


def test_ending_keeps_results_and_ending_twice_answers_the_same(service: SessionManagerService) -> None:
    """The second end changes nothing."""
    id = start(service)
    given(service.update_session(id, {"training_status": "running", "results": {"a": 1}}))
    answer = given(service.end_session(id, results={"rmse": 0.05}))
    assert answer["user_session"]["status"] == "completed"
    assert answer["user_session"]["end_time"] >= answer["user_session"]["start_time"]
    assert answer["training_session"]["status"] == "completed"
    assert answer["training_session"]["results"] == {"a": 1, "rmse": 0.05}
    assert answer["training_session"]["current_epoch"] == 10
    for again in ({}, {"success": False}, {"results": {"b": 2}}):
        assert service.end_session(id, **again) == answer


def test_a_failed_training_stays_at_its_epoch(service: SessionManagerService) -> None:
    """A failed training keeps its epoch and its results."""
    id = start(service)
    given(service.update_session(id, {"training_status": "running", "current_epoch": 4}))
    answer = given(service.end_session(id, success=False, results={"why": "nan"}))
    assert answer["user_session"]["status"] == answer["training_session"]["status"] == "failed"
    assert answer["training_session"]["current_epoch"] == 4
    assert answer["training_session"]["results"] == {"why": "nan"}


@pytest.mark.parametrize("success", [True, False])
def test_a_run_that_was_stopped_stays_stopped_inside(service: SessionManagerService, success: bool) -> None:
    """Ending the session does not say that the run came to its end."""
    id = start(service)
    given(service.update_session(id, {"training_status": "running", "current_epoch": 3}))
    given(service.update_session(id, {"training_status": "stopped"}))
    answer = given(service.end_session(id, success=success))
    assert answer["training_session"]["status"] == "stopped"
    assert answer["training_session"]["current_epoch"] == 3
    assert answer["user_session"]["status"] == ("completed" if success else "failed")


def test_a_cancelled_run_reads_as_failed_and_stopped(service: SessionManagerService, tenant: Tenant) -> None:
    """The outer status has no word for it."""
    id = start(service)
    tenant.sessions.get(id).cancel()
    answer = given(service.get_session_info(id))
    assert (answer["user_session"]["status"], answer["training_session"]["status"]) == ("failed", "stopped")


def test_of_two_who_end_at_once_one_wins(service: SessionManagerService) -> None:
    """Both callers get the stored answer."""
    for _ in range(5):
        id = start(service)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(service.end_session, [id] * 4, [True, False, True, False]))
        stored = given(service.get_session_info(id))
        assert stored["user_session"]["status"] in ("completed", "failed")
        assert answers == [stored] * 4


def test_lists_are_paged_after_they_are_filtered(service: SessionManagerService) -> None:
    """The newest start comes first; total counts all that match."""
    types = ["training", "testing", "training", "general", "training"]
    ids = [start(service, type, note=type) for type in types]
    given(service.end_session(ids[0]))
    given(service.update_session(ids[2], {"current_epoch": 1}))  # being busy changes no order
    everything = given(service.list_user_sessions("ann"))
    assert [item["id"] for item in everything["items"]] == ids[::-1]
    assert all(set(item) == ITEM for item in everything["items"])
    assert (everything["total"], everything["limit"], everything["offset"]) == (5, 100, 0)
    page = given(service.list_user_sessions("ann", "training", limit=1, offset=1))
    assert [item["id"] for item in page["items"]] == [ids[2]]
    assert (page["total"], page["limit"], page["offset"]) == (3, 1, 1)
    active = given(service.list_user_sessions("ann", "training", active_only=True))
    assert (active["total"], [item["id"] for item in active["items"]]) == (2, [ids[4], ids[2]])
    assert given(service.list_user_sessions("nobody"))["total"] == 0
    assert service.list_user_sessions("ann", "chat") is None
    assert service.list_user_sessions("ann", limit=-1) is None


def test_lists_hold_only_sessions_of_the_service(service: SessionManagerService, tenant: Tenant) -> None:
    """A chat and a research of the same user are not listed, nor counted."""
    id = start(service)
    for kind in ("chat", "research", "analysis"):
        tenant.sessions.create(user_id="ann", kind=kind)
    listed = given(service.list_user_sessions("ann", limit=1))
    assert ([item["id"] for item in listed["items"]], listed["total"]) == ([id], 1)


def test_results_of_a_general_session_are_read_back(service: SessionManagerService) -> None:
    """They have no inner session to stand in."""
    id = start(service, "general", note="x")
    given(service.update_session(id, {"results": {"a": 1}, "ip_address": "::1"}))
    given(service.end_session(id, results={"b": 2}))
    assert given(service.get_session_info(id))["user_session"]["results"] == {"a": 1, "b": 2}


@pytest.mark.parametrize(("type", "status"), [("training", "stopped"), ("training", "failed"), ("testing", "failed")])
def test_a_run_that_never_started_may_stop_or_fail(service: SessionManagerService, type: str, status: str) -> None:
    """From pending; the session itself stays active."""
    id = start(service, type, note="x")
    answer = given(service.update_session(id, {f"{type}_status": status}))
    assert (answer["user_session"]["status"], answer[f"{type}_session"]["status"]) == ("active", status)


def test_unknown_keys_are_ignored(service: SessionManagerService, caplog: pytest.LogCaptureFixture) -> None:
    """The rest of the update counts; the log names them."""
    id = start(service)
    update: dict[Any, Any] = {"current_epoch": 3, "epochs": 4, "testing_status": "running", "user_agent": "curl", 5: 6}
    answer = given(service.update_session(id, update))
    assert (answer["training_session"]["current_epoch"], answer["training_session"]["status"]) == (3, "pending")
    assert "'epochs'" in caplog.text


def test_the_curve_of_a_testing_has_steps(service: SessionManagerService, tenant: Tenant) -> None:
    """One after another, as it has no epochs; the last come with the end."""
    id = start(service, "testing", note="x")
    for loss in (3.0, 2.0):
        given(service.update_session(id, {"metadata": {"loss": loss}}))
    given(service.update_session(id, {"metadata": {"loss": 1.0}, "status": "completed"}))
    curve = tenant.sessions.get(id).metrics()["loss"]
    assert (curve.steps, curve.values) == ((0, 1, 2), (3.0, 2.0, 1.0))


def test_no_training_ends_another(service: SessionManagerService) -> None:
    """However many a user has at once."""
    ids = [start(service) for _ in range(23)]
    assert given(service.list_user_sessions("ann", active_only=True))["total"] == len(ids)


@pytest.mark.parametrize("inner", ["completed", "failed", "stopped"])
@pytest.mark.parametrize("success", [True, False])
def test_an_end_keeps_what_the_run_came_to(service: SessionManagerService, inner: str, success: bool) -> None:
    """The two levels may differ: the outer says what the caller says."""
    id = start(service)
    given(service.update_session(id, {"training_status": "running", "current_epoch": 4}))
    given(service.update_session(id, {"training_status": inner}))
    answer = given(service.end_session(id, success, {"rmse": 0.5}))
    outer = "completed" if success else "failed"
    assert (answer["user_session"]["status"], answer["training_session"]["status"]) == (outer, inner)
    assert answer["training_session"]["results"] == {"rmse": 0.5}


def _no_connections(url: str) -> Callable[[], None]:
    """Let the database refuse statements of ours; what is returned lets it work again."""

    def execute(statement: str) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(statement.encode())

    execute(
        "create function broken() returns trigger language plpgsql as $$ begin raise exception 'disk full'; end $$;"
        "create trigger broken before insert on chatmemory.events execute function broken()"
    )
    return lambda: execute("drop trigger broken on chatmemory.events; drop function broken()")


def test_a_database_failure_in_the_middle_leaves_nothing_half_written(
    service: SessionManagerService, tenant: Tenant, postgres_url: str
) -> None:
    """The session's row is written before its timeline, which fails: neither stands."""
    id = start(service)
    before = given(service.get_session_info(id))
    heal = _no_connections(postgres_url)
    assert service.start_session("ann", "training", TRAINING) is None
    update = {"current_epoch": 5, "training_status": "running", "metadata": {"loss": 1.0}}
    assert service.update_session(id, update) is None
    assert service.update_session(id, {"status": "completed", "metadata": {"loss": 1.0}}) is None
    assert service.end_session(id, results={"a": 1}) is None
    assert service.last_error
    assert "disk full" not in service.last_error
    heal()
    assert service.get_session_info(id) == before
    assert len(tenant.sessions.get(id).metrics()) == 0
    assert given(service.list_user_sessions("ann"))["total"] == 1
    assert tenant.memories.list(kinds=["result"], with_total=True).total == 0


def test_without_a_database_every_answer_is_none() -> None:
    """Nothing is raised; the reason holds no password."""
    settings = Settings(postgres_timeout_seconds=0.3, cleanup_inactive_sessions=False)
    with ChatMemory.open("postgresql://me:secret@127.0.0.1:1/none", settings=settings) as memory:
        service = SessionManagerService(memory.tenant("acme"))
        assert service.start_session("ann", "training") is None
        assert service.list_user_sessions("ann") is None
        assert service.get_session_info("x") is None
        assert "secret" not in (service.last_error or "secret")


@pytest.fixture
def sql_session(postgres_url: str) -> Iterator[SqlSession]:
    """A SQLAlchemy session on the test's database."""
    engine = create_engine(postgres_url.replace("postgresql://", "postgresql+psycopg://", 1))
    with sessionmaker(engine)() as session:
        yield session
    engine.dispose()


def test_a_sqlalchemy_session_is_accepted(sql_session: SqlSession, memory: ChatMemory) -> None:
    """Its engine's database is used, under tenant "default"; two services share connections."""
    service = SessionManagerService(sql_session)
    id = start(service)
    assert memory.tenant("default").sessions.get(id).info.kind == "training"
    assert given(SessionManagerService(sql_session).get_session_info(id))["user_session"]["id"] == id


def test_what_is_no_tenant_is_refused_at_once(sql_session: SqlSession) -> None:
    """The constructor may say so; only the calls never raise."""
    elsewhere = sessionmaker(create_engine("sqlite://"))()
    for wrong in (None, 7, elsewhere, sessionmaker()()):
        with pytest.raises(ConfigurationError):
            SessionManagerService(wrong)
