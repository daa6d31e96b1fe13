from pathlib import Path
from typing import Any

import pytest

from chatmemory import InvalidInputError, Tenant
from chatmemory_training import EnhancedSessionManager, SessionManager, SessionManagerError


class Watching:
    """A plugin that notes its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_session_start(self, session: SessionManager) -> None:
        """Note the start."""
        self.calls.append(("start", session.run_name))

    def on_metrics(self, _session: SessionManager, values: dict[str, float], step: int | None) -> None:
        """Note the metrics."""
        self.calls.append((values, step))

    def on_session_end(self, _session: SessionManager) -> None:
        """Note the end."""
        self.calls.append(("end",))


class Broken:
    """A plugin that fails."""

    def on_metrics(self, *_: object) -> None:
        """Fail."""
        raise ValueError("broken")


def config(root: Path) -> dict[str, Any]:
    """A config whose runs are below this directory."""
    return {"logging": {"model_dir": str(root)}}


def test_plugins_are_called_and_cannot_stop_a_run(tmp_path: Path) -> None:
    """In order; one that fails costs the others nothing, and one without hooks is refused."""
    watching = Watching()
    with EnhancedSessionManager(config(tmp_path), None, [Broken(), watching], "r") as session:
        session.log_metrics({"loss": 0.5}, step=1)
    assert watching.calls == [("start", "r"), ({"loss": 0.5}, 1), ("end",)]
    with pytest.raises(InvalidInputError, match="needs one of"):
        session.plugin_manager.register(object())


def test_ranks_train_together_and_one_records(tmp_path: Path, tenant: Tenant) -> None:
    """Rank 1 has files of its own and writes nothing; a rank must be declared before the directories."""
    for rank in (0, 1):
        made = EnhancedSessionManager(config(tmp_path), None, run_name="r", tenant=tenant, user_id="ann")
        made.enable_distributed_session(rank, 2)
        with made:
            made.log_metrics({"loss": 1.0}, step=0)
        assert made.is_main_process is (rank == 0)
        with pytest.raises(SessionManagerError):
            made.enable_distributed_session(0, 1)
    assert {path.name for path in tmp_path.iterdir()} == {"r", "r-rank1"}
    [info] = tenant.sessions.list()
    assert (info.id, info.details["world_size"]) == ("r", 2)
    for wrong in ((2, 2), (-1, 2), (0, 0), ("0", 1)):
        with pytest.raises(InvalidInputError):
            EnhancedSessionManager({}, None).enable_distributed_session(*wrong)


def test_resources_cost_and_baselines_are_recorded(tmp_path: Path, tenant: Tenant) -> None:
    """As metrics and results of the run; a later run sees what earlier ones reached."""
    for name, loss in (("a", 0.5), ("b", 0.25), ("c", 0.75)):
        made = EnhancedSessionManager(config(tmp_path), None, run_name=name, tenant=tenant, user_id="ann")
        made.setup_resource_tracking(10)
        made.setup_cost_tracking(3.0)
        assert made.cost is None
        with made:
            for step in (0, 5, 10):
                made.log_metrics({"loss": loss}, step=step)
    session = tenant.sessions.get("c")
    assert session.metrics()["resources/cpu_seconds"].steps == (0, 10)
    assert isinstance(session.info.results, dict)
    assert session.info.results["cost"] == pytest.approx(session.info.results["duration_seconds"] / 1200, rel=0.5)
    later = EnhancedSessionManager(config(tmp_path), None, run_name="d", tenant=tenant, user_id="ann")
    assert later.baselines()["loss"] == 0.5
    assert EnhancedSessionManager({}, None).baselines() == {}
    with pytest.raises(InvalidInputError):
        later.setup_cost_tracking(-1)
