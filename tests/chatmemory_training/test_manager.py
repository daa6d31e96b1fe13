import json
import logging
import os
import random
import re
import signal
import stat
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chatmemory import ChatMemoryError, InvalidInputError, Tenant
from chatmemory_training import SessionManager, generate_run_name
from chatmemory_training.directories import RunLock
from chatmemory_training.effective_config import masked

NO_DIRECTORIES = re.escape("Directories not yet set up. Call setup_directories() first.")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of the runs."""
    monkeypatch.chdir(tmp_path)
    for name in ("KEISEI_LOG_DIR", "KEISEI_MODEL_DIR", "WANDB_API_KEY", "WANDB_MODE"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "runs"


def config(root: Path, **more: Any) -> dict[str, Any]:
    """A config as mappings, with what a test adds."""
    return {"logging": {"model_dir": str(root)}, **more}


def manager(root: Path, name: str = "run-1", **more: Any) -> SessionManager:
    """A manager whose directories are set up."""
    made = SessionManager(config(root, **more), None, name)
    made.setup_directories()
    return made


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("lstm-1.5_a", "lstm-1.5_a"),
        ("../../etc/passwd", "passwd"),
        ("..", "unnamed_run"),
        ("...", "unnamed_run"),
        ("///", "unnamed_run"),
        ("", "unnamed_run"),
        ("..\\..\\boot.ini", "boot.ini"),
        (".ssh", "ssh"),
        ("/abs/olute/", "olute"),
        ("a b\nc\0d", "a_b_c_d"),
        ("läuft", "läuft"),
        ("a..b...c.d", "a.b.c.d"),
        ("x" * 500, "x" * 120),
    ],
)
def test_run_names_are_basenames(name: str, clean: str) -> None:
    """Nothing of a name can lead elsewhere, hide, or be too long for a file."""
    assert SessionManager._sanitize_run_name(name) == clean


def test_the_first_name_there_is_counts() -> None:
    """The order is: parameter, args, config, a generated name."""
    args, has_name = SimpleNamespace(run_name="from-args"), {"logging": {"run_name": "from-config"}}
    assert SessionManager(has_name, args, "given").run_name == "given"
    assert SessionManager(has_name, args).run_name == "from-args"
    assert SessionManager(SimpleNamespace(logging=SimpleNamespace(run_name="c")), {"run_name": " "}).run_name == "c"
    made = SessionManager({"wandb": {"run_name_prefix": "ppo/x"}}, None)
    assert made.run_name.startswith("x-20")
    assert made._run_name == made.run_name
    assert made.config == {"wandb": {"run_name_prefix": "ppo/x"}}
    assert made.args is None


def test_generated_names_are_unique_and_sort_by_time() -> None:
    """Names are unique and sorted, also many in the same second."""
    names = []
    for _ in range(50):
        names.append(generate_run_name())
        time.sleep(0.00001)
    assert len(set(names)) == 50
    assert names == sorted(names)
    assert {SessionManager._sanitize_run_name(name) for name in names} == set(names)


def test_directories_have_their_layout_and_are_private(root: Path) -> None:
    """The directories are private with any umask."""
    before = os.umask(0)
    try:
        made = SessionManager(config(root), None, "run-1")
        paths = made.setup_directories()
        made.save_effective_config()
        made.log_session_start()
    finally:
        os.umask(before)
    run = root / "run-1"
    assert paths == {
        "run_artifact_dir": str(run),
        "model_dir": str(run / "models"),
        "log_file_path": str(run / "training.log"),
        "eval_log_file_path": str(run / "evaluation.log"),
    }
    assert made.setup_directories() == paths
    assert (made._run_artifact_dir, made._model_dir) == (made.run_artifact_dir, made.model_dir)
    assert (made._log_file_path, made._eval_log_file_path) == (made.log_file_path, made.eval_log_file_path)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (root, run, run / "models")] == [0o700] * 3
    assert [stat.S_IMODE((run / file).stat().st_mode) for file in ("effective_config.json", "training.log")] == [
        0o600
    ] * 2


@pytest.mark.parametrize("name", ["../../outside", "/abs/olute", "..", "a/../../b", "\0", "~root"])
def test_no_run_name_leads_out_of_the_root(root: Path, name: str) -> None:
    """For any name, files are created below the root only."""
    with SessionManager(config(root), None, name) as made:
        made.log_metrics({"loss": 1.0})
    assert {path.relative_to(root.parent).parts[0] for path in root.parent.rglob("*") if path.is_file()} == {"runs"}
    assert Path(made.run_artifact_dir).parent == root


@pytest.mark.parametrize("spelling", ["KEISEI", "CHATMEMORY"])
def test_the_environment_says_where(root: Path, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    """Both spellings are honoured, before the config."""
    monkeypatch.setenv(f"{spelling}_LOG_DIR", str(root / "logs"))
    monkeypatch.setenv(f"{spelling}_MODEL_DIR", str(root / "weights"))
    made = manager(root)
    assert made.run_artifact_dir == str(root / "logs/run-1")
    assert made.model_dir == str(root / "weights/run-1")
    assert Path(made.model_dir).is_dir()


def test_a_log_file_of_the_config_is_a_basename(root: Path) -> None:
    """It cannot lead out of the run's directory, nor take the place of another file."""
    for name, log in (("../../x.log", "x.log"), ("effective_config.json", "training.log"), ("/a/t.txt", "t.txt")):
        made = SessionManager({"logging": {"model_dir": str(root), "log_file": name}}, None, "r")
        assert Path(made.setup_directories()["log_file_path"]).name == log
        made.finalize_session()


def test_directories_that_cannot_be_made_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file in the way, no right to write, a link that leads away: a RuntimeError with its message."""
    root.parent.joinpath("file").write_text("")
    outside = root.parent / "outside"
    outside.mkdir()
    root.mkdir()
    (root / "run-1").symlink_to(outside)
    monkeypatch.setattr("chatmemory_training.directories._fallbacks", lambda: [Path("/proc/nowhere")])
    for place in (root.parent / "file", Path("/proc/nowhere"), root):
        made = SessionManager(config(place), None, "run-1")
        with pytest.raises(RuntimeError, match=r"^Failed to setup directories: ") as raised:
            made.setup_directories()
        assert isinstance(raised.value, ChatMemoryError)
        assert made.session_state["directories_setup"] is False
    assert not list(outside.iterdir())


def test_two_runs_of_one_name_get_directories_of_their_own(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The second gets a number, also when the first has ended; one that resumes gets the newest."""
    first, second = manager(root), manager(root)
    assert (first.run_name, second.run_name) == ("run-1", "run-1-2")
    assert second.run_artifact_dir == str(root / "run-1-2")
    assert "already; this one is named" in caplog.text
    first.finalize_session()
    assert manager(root).run_name == "run-1-3"
    for args, resume in (({"resume": "latest"}, None), (None, True)):
        resumed = SessionManager(config(root), args, "run-1", resume=resume)
        assert resumed.setup_directories()["run_artifact_dir"] == str(root / "run-1-3")
        resumed.finalize_session()


@pytest.mark.parametrize(
    "name", ["run_artifact_dir", "model_dir", "log_file_path", "eval_log_file_path", "is_wandb_active"]
)
def test_properties_raise_before_their_set_up(name: str) -> None:
    """The error names the call that is needed first."""
    message = (
        NO_DIRECTORIES if "wandb" not in name else re.escape("WandB not yet initialized. Call setup_wandb() first.")
    )
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        getattr(SessionManager({}, None, "r"), name)


def test_steps_that_need_directories_say_so() -> None:
    """Each step that needs directories raises an error that says so."""
    made = SessionManager({"wandb": {"enabled": True}}, None, "r")
    for step in (
        made.setup_wandb, made.save_effective_config, made.log_session_start, made.find_latest_checkpoint,
        made.setup_remote_logging, lambda: made.setup_auto_checkpointing(1, print),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match=NO_DIRECTORIES):
            step()


class Secretive:
    """A config made of an object."""

    def __init__(self) -> None:
        self.api_key = "sk-123"
        self.nested = {"db_password": "hunter2", "authToken": "t0ken", "url": "postgresql://me:pw@host/db"}
        self.max_tokens = 12
        self.tokenizer = "bpe"
        self.path = Path("/data")
        self.rate = np.float32(0.5)
        self.bad = float("nan")
        self.word = "größe"


def test_the_effective_config_is_saved_whole_and_without_secrets(root: Path) -> None:
    """UTF-8 JSON; a directory that has gone is made again."""
    made = SessionManager(Secretive(), {"run_name": "x", "wandb_api_key": "k"}, "run-1")
    made.config.logging = {"model_dir": str(root)}
    made.setup_directories()
    made._directories.lock.release() if made._directories else None
    for path in sorted(Path(made.run_artifact_dir).rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    Path(made.run_artifact_dir).rmdir()
    made.save_effective_config()
    text = (root / "run-1/effective_config.json").read_bytes().decode("utf-8")
    for secret in ("sk-123", "hunter2", "t0ken", "me:pw", '"k"'):
        assert secret not in text
    saved = json.loads(text)
    assert (saved["max_tokens"], saved["tokenizer"], saved["path"], saved["rate"]) == (12, "bpe", "/data", 0.5)
    assert (saved["word"], saved["bad"]) == ("größe", "nan")
    assert "größe" in text
    assert made.session_state["config_saved"]


def test_a_config_that_cannot_be_saved_is_told(root: Path) -> None:
    """The error is a ConfigSaveError, and the old file is unchanged."""
    made = manager(root)
    made.save_effective_config()
    path = root / "run-1/effective_config.json"
    before = path.read_text()
    path.unlink()
    path.mkdir()
    with pytest.raises(RuntimeError, match=r"^Failed to save effective config: "):
        made.save_effective_config()
    assert [each.name for each in (root / "run-1").iterdir() if each.name.startswith(".config")] == []
    assert before


class Unreadable:
    """A part of a config that raises when it is looked at."""

    def __str__(self) -> str:
        raise LookupError("no")


@pytest.mark.timeout(30)
def test_a_config_may_hold_anything(root: Path) -> None:
    """Cyclic, huge and unreadable values are saved as the name of their type."""
    made = manager(root)
    made.config["again"] = made.config
    made.config |= {"logger": logging.getLogger("chatmemory_training"), "bad": Unreadable(), "last": 7}
    layers: list[Any] = []
    for _ in range(40):
        layers = [layers, layers]
    made.config["layers"] = layers
    made.save_effective_config()
    path = root / "run-1/effective_config.json"
    saved = json.loads(path.read_text())
    assert (saved["again"], saved["bad"], saved["last"]) == ("dict", "Unreadable", 7)
    assert path.stat().st_size < 20_000_000


def test_secrets_of_the_training_are_not_recorded(root: Path, tenant: Tenant) -> None:
    """Secrets are neither in the run nor in its result."""
    training = {"hf_token": "hunter2", "data": "s3://me:hunter2@host/x", "learning_rate": 0.5}
    with SessionManager(config(root, training=training), None, "r", tenant=tenant, user_id="ann"):
        pass
    info = tenant.sessions.get("r").info
    assert (info.details["training.hf_token"], info.details["learning_rate"]) == ("***", 0.5)
    [result] = tenant.memories.list(kinds=["result"])
    assert "hunter2" not in result.text + str(info.details)


@pytest.mark.parametrize(
    ("error", "status"), [(ZeroDivisionError, "failed"), (KeyboardInterrupt, "stopped"), (None, "completed")]
)
def test_finalizing_while_an_error_passes_records_it(
    root: Path, tenant: Tenant, error: type[BaseException] | None, status: str
) -> None:
    """As in a `finally`, without the context manager: a run that crashed did not complete."""
    made = SessionManager(config(root), None, "r", tenant=tenant, user_id="ann")
    made.setup_directories()
    made.log_session_start()
    with pytest.raises(error) if error else nullcontext():
        try:
            if error:
                raise error
        finally:
            made.finalize_session()
    assert tenant.sessions.get("r").info.run_status == status


def test_seeding_makes_runs_repeat(root: Path) -> None:
    """Random and numpy give the same again; without a seed nothing happens."""
    made = SessionManager({"env": {"seed": 7}}, None, "r")
    drawn = []
    for _ in range(2):
        made.setup_seeding()
        drawn.append((random.random(), float(np.random.random())))
    assert drawn[0] == drawn[1]
    assert made.session_state["seeding_setup"]
    state = random.getstate()
    unseeded = SessionManager({}, None, "r")
    unseeded.setup_seeding()
    assert random.getstate() == state
    assert not unseeded.session_state["seeding_setup"]
    SessionManager({"env": {"seed": 2**40}}, None, "r").setup_seeding()


def test_the_session_start_is_marked(root: Path) -> None:
    """The start line is appended with the time; a file that cannot be written is skipped."""
    made = manager(root)
    made.log_session_start()
    made.log_session_start()
    lines = (root / "run-1/training.log").read_text().splitlines()
    assert len(lines) == 2
    assert re.fullmatch(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\] --- SESSION START: run-1 ---", lines[0])
    (root / "run-1/training.log").unlink()
    (root / "run-1/training.log").mkdir()
    made.log_session_start()


def test_session_info_says_what_run_this_is(root: Path) -> None:
    """Each line as the issue has it."""
    training = {"total_timesteps": 100, "steps_per_epoch": 10}
    made = manager(root, env={"seed": 7, "device": "cpu"}, training=training)
    lines: list[str] = []
    made.log_session_info(lines.append, {"type": "PPO", "name": "a1"})
    assert lines[0].endswith("run-1")
    assert lines[1:] == [
        f"Run directory: {root / 'run-1'}", f"Config directory: {root / 'run-1'}", "Random seed: 7", "Device: cpu",
        "Agent: PPO (a1)", "Total timesteps: 100, steps per epoch: 10", "Starting fresh training.",
    ]  # fmt: skip
    lines.clear()
    made._wandb = SimpleNamespace(url="https://wandb.ai/x")
    made.log_session_info(lines.append, resumed_from_checkpoint="m.pt", global_timestep=9, total_episodes_completed=2)
    assert "https://wandb.ai/x" in lines[0]
    assert lines[-2:] == [
        "Resumed training from checkpoint: m.pt", "Resuming from timestep 9, 2 episodes completed."
    ]  # fmt: skip
    lines.clear()
    SessionManager({}, None, "r").log_session_info(lines.append)
    assert not any(line.startswith("Random seed") for line in lines)


def test_the_summary_is_none_where_nothing_is_set_up(root: Path) -> None:
    """The summary is complete after the setup; session_state names the steps that are done."""
    made = SessionManager(config(root, env={"seed": 1, "device": "cuda"}), None, "r")
    empty = made.get_session_summary()
    assert empty == {
        "run_name": "r", "run_artifact_dir": None, "model_dir": None, "log_file_path": None,
        "eval_log_file_path": None, "is_wandb_active": None, "seed": 1, "device": "cuda",
    }  # fmt: skip
    assert not any(made.session_state.values())
    with made:
        assert all(made.session_state.values())
        assert made.get_session_summary()["is_wandb_active"] is False
        assert made.get_session_summary()["run_artifact_dir"] == str(root / "r")
    assert not made.session_state["session_active"]


def fake_wandb(monkeypatch: pytest.MonkeyPatch, **functions: Any) -> ModuleType:
    """A module in wandb's place."""
    module = ModuleType("wandb")
    module.__dict__.update({"login": lambda **_: True, "init": lambda **_: SimpleNamespace(url=None), **functions})
    monkeypatch.setitem(sys.modules, "wandb", module)
    return module


WITH_WANDB: dict[str, Any] = {"wandb": {"enabled": True, "project": "p", "entity": "e", "api_key": "sk-9"}}


def test_wandb_is_given_the_run(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its id is the run's name, so that it resumes; no secret goes with the config."""
    asked: list[dict[str, Any]] = []

    def init(**given: Any) -> SimpleNamespace:
        asked.append(given)
        return SimpleNamespace(url=None)

    fake_wandb(monkeypatch, init=init)
    made = manager(root, **WITH_WANDB)
    assert made.setup_wandb() is True
    assert made.is_wandb_active
    assert made._is_wandb_active
    [given] = asked
    assert (given["id"], given["name"], given["resume"]) == ("run-1", "run-1", "allow")
    assert (given["project"], given["entity"], given["dir"]) == ("p", "e", made.run_artifact_dir)
    assert "sk-9" not in str(given)


def test_training_goes_on_without_wandb(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Off, missing, without a key, failing: False, and but for off a warning."""
    made = manager(root)
    assert made.setup_wandb() is False
    assert made.is_wandb_active is False
    assert not caplog.records
    monkeypatch.setitem(sys.modules, "wandb", None)
    made = manager(root, "r", **WITH_WANDB)
    assert made.setup_wandb() is False
    assert "not installed" in caplog.text
    fake_wandb(monkeypatch, login=lambda **_: False)
    assert made.setup_wandb() is False
    assert "no API key" in caplog.text

    def fail(**_: Any) -> None:
        raise ConnectionError("sk-9")

    fake_wandb(monkeypatch, init=fail)
    assert made.setup_wandb() is False
    assert "ConnectionError" in caplog.text
    assert "sk-9" not in caplog.text


@pytest.mark.timeout(60)
def test_a_wandb_that_hangs_holds_up_nobody(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 10 s at most the run is finalized, from any thread; it was asked once more, to end as failed."""
    asked: list[int | None] = []
    for_ever = threading.Event()

    def finish(exit_code: int | None = None) -> None:
        asked.append(exit_code)
        for_ever.wait()

    fake_wandb(monkeypatch, finish=finish)
    made = manager(root, **WITH_WANDB)
    made.setup_wandb()
    began = time.monotonic()
    thread = threading.Thread(target=made.finalize_session)
    thread.start()
    thread.join(50)
    for_ever.set()
    assert not thread.is_alive()
    assert time.monotonic() - began < 19  # once for both: two waits would take 20
    assert asked == [None, 1]


def test_a_wandb_that_fails_to_finish_is_asked_once_more(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is raised, whatever wandb raises."""
    asked: list[int | None] = []

    def finish(exit_code: int | None = None) -> None:
        asked.append(exit_code)
        raise SystemExit(3)

    fake_wandb(monkeypatch, finish=finish)
    made = manager(root, **WITH_WANDB)
    made.setup_wandb()
    made.finalize_session()
    made.finalize_session()
    assert asked == [None, 1]


@pytest.fixture
def offline(root: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Wandb without its server."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    yield
    import wandb

    wandb.teardown()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.usefixtures("offline")
def test_wandb_offline_for_real(root: Path) -> None:
    """The real library writes its run into the run's directory."""
    made = SessionManager(config(root, wandb={"enabled": True, "project": "p"}), None, "real")
    with made:
        assert made.is_wandb_active
        made.log_metrics({"loss": 0.5}, step=1)
    assert list((root / "real/wandb").glob("offline-run-*-real/run-real.wandb"))


def test_tensorboard_gets_the_numbers_too(root: Path) -> None:
    """Metrics go to TensorBoard if it is installed; an unknown backend is rejected, a missing one is skipped."""
    made = manager(root)
    with pytest.raises(InvalidInputError):
        made.setup_remote_logging("paper")
    assert made.setup_remote_logging("wandb") is False
    if made.setup_remote_logging("tensorboard"):
        made.log_metrics({"loss": 1.0}, step=3)
        made.finalize_session()
        assert list((root / "run-1/tensorboard").iterdir())


def test_a_place_that_fails_costs_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mlflow raises at every call: training goes on."""
    module = ModuleType("mlflow")

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("down")

    module.__dict__.update(start_run=lambda **_: None, log_metrics=fail, end_run=fail)
    monkeypatch.setitem(sys.modules, "mlflow", module)
    made = manager(root)
    assert made.setup_remote_logging("mlflow") is True
    made.log_metrics({"loss": 1.0})
    made.finalize_session()


def test_checkpoints_are_saved_as_steps_go_by(root: Path) -> None:
    """One for each interval that was passed; a save that fails costs nothing."""
    made = manager(root)
    saved: list[int] = []

    def save(path: Path) -> None:
        saved.append(step)
        path.write_text(json.dumps({"step": step}))

    made.setup_auto_checkpointing(10, save, suffix=".json")
    assert made.find_latest_checkpoint() is None
    for step in (0, 5, 10, 11, 19, 35, 36):
        made.log_metrics({"loss": 1.0}, step=step)
    assert saved == [10, 35]
    latest = made.find_latest_checkpoint()
    assert latest == str(root / "run-1/models/checkpoint-000000000035.json")
    Path(latest).write_text("{")  # torn
    assert made.find_latest_checkpoint() == str(root / "run-1/models/checkpoint-000000000010.json")

    def fail(_path: Path) -> None:
        raise OSError("full")

    made.setup_auto_checkpointing(1, fail)
    made.log_metrics({"loss": 1.0}, step=99)


def test_the_latest_checkpoint_is_the_newest_that_loads(root: Path) -> None:
    """By the caller's own loader, or by looking whether a file is whole; nothing is unpickled for that."""
    made = manager(root)
    models = Path(made.model_dir)
    np.savez(models / "good.npz", a=np.arange(3))
    for age, (name, content) in enumerate([("torn.pt", b"PK\x03\x04"), ("empty.pkl", b""), ("notes.txt", b"x")]):
        (models / name).write_bytes(content)
        os.utime(models / name, (time.time() + 10 + age,) * 2)
    assert made.find_latest_checkpoint() == str(models / "good.npz")

    def load(path: Path) -> None:
        with path.open("rb") as file:
            np.load(file)["a"]

    assert made.find_latest_checkpoint(load) == str(models / "good.npz")

    def none(_path: Path) -> None:
        raise ValueError

    assert made.find_latest_checkpoint(none) is None


def test_a_run_is_recorded_as_it_ended(root: Path, tenant: Tenant) -> None:
    """Success with its numbers and its result; the config says what was trained."""
    training = {"total_timesteps": 100, "steps_per_epoch": 10, "learning_rate": 0.01, "total_epochs": 4}
    made = SessionManager(config(root, training=training), None, "good", tenant=tenant, user_id="ann")
    with made:
        for step in range(5):
            made.log_metrics({"loss": 1 / (step + 1), "note": "x"}, step=step)
        made.update(current_epoch=3, results={"rmse": 0.5})
    session = tenant.sessions.get("good", user_id="ann")
    info = session.info
    assert (info.kind, info.status, info.run_status, info.results) == (
        "training",
        "completed",
        "completed",
        {"rmse": 0.5},
    )
    assert (info.details["learning_rate"], info.details["current_epoch"]) == (0.01, 3)
    assert info.details["training.total_timesteps"] == 100
    assert session.metrics()["loss"].steps == (0, 1, 2, 3, 4)
    assert [change.new for change in session.status_history()][-2:] == ["running", "completed"]
    assert not list((root / "good").glob(".spool*"))
    [memory] = tenant.memories.list(kinds=["result"])
    assert memory.user_id == "ann"
    assert "rmse 0.5" in memory.text
    assert str(root / "good") in memory.text


def test_a_failure_is_recorded_with_its_traceback(root: Path, tenant: Tenant) -> None:
    """The traceback is recorded, and the error reaches the caller."""
    made = SessionManager(config(root), None, "bad", tenant=tenant, user_id="ann")
    with pytest.raises(ZeroDivisionError), made:
        _ = 1 / 0
    info = tenant.sessions.get("bad").info
    assert (info.status, info.run_status) == ("failed", "failed")
    assert "Traceback" in (info.error or "")
    assert "ZeroDivisionError" in (info.error or "")


def press_ctrl_c() -> None:
    """Raise KeyboardInterrupt as the interpreter does."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("how", [press_ctrl_c, lambda: signal.raise_signal(signal.SIGTERM)])
def test_a_run_that_is_stopped_is_recorded_as_stopped(root: Path, tenant: Tenant, how: Any) -> None:
    """Ctrl-C and SIGTERM are recorded as cancelled; the previous handler is restored."""
    before = signal.getsignal(signal.SIGTERM)
    made = SessionManager(config(root), None, "stop", tenant=tenant, user_id="ann")
    with pytest.raises((KeyboardInterrupt, SystemExit)), made:
        how()
    session = tenant.sessions.get("stop")
    assert session.info.run_status == "stopped"
    assert session.status_history()[-1].reason == ("Ctrl-C" if how is press_ctrl_c else "SIGTERM")
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_step_that_fails_at_the_beginning_leaves_no_lock(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next run may have its directory."""
    made = SessionManager(config(root, env={"seed": "x"}), None, "r")
    with pytest.raises(ValueError, match="invalid literal"), made:
        pass
    lock = RunLock(root / "r")
    assert lock.acquire()
    lock.release()


SECRETS = ("openai_key", "wandb_key", "encryption_key", "signing_key", "openaiKey", "OpenAIKey", "OPENAI_KEY",
           "api_key_2", "key", "hf_token", "authToken", "client_secret", "dbPassword", "passphrase")  # fmt: skip
PLAIN = ("key_frames", "keyword", "token_count", "tokenizer", "monkey", "keys_seen", "pad_token", "sort_key",
         "keyboard", "tokens_per_step", "turkey", "foreign_key")  # fmt: skip


def test_secrets_are_masked_by_the_kind_of_their_names() -> None:
    """Any key, token, secret or password; not words that only contain these letters."""
    saved = masked({"inner": dict.fromkeys((*SECRETS, *PLAIN), "hunter2")})["inner"]
    assert {name for name, value in saved.items() if value == "***"} == set(SECRETS)
    assert {name for name, value in saved.items() if value == "hunter2"} == set(PLAIN)


@pytest.mark.parametrize("how", ["WANDB_MODE", "WANDB_DISABLED", "config"])
def test_a_disabled_wandb_is_not_active(root: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """Wandb is not asked at all."""
    fake_wandb(monkeypatch, init=None, login=None)
    if how != "config":
        monkeypatch.setenv(how, "disabled" if how == "WANDB_MODE" else "true")
    made = manager(root, wandb={"enabled": True, "mode": "disabled" if how == "config" else None})
    assert made.setup_wandb() is False
    assert made.is_wandb_active is False


def test_a_place_that_cannot_be_used_has_a_fallback(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The user's state directory, else the one for temporary files; the log says which."""
    monkeypatch.setenv("XDG_STATE_HOME", str(root / "state"))
    assert manager(Path("/proc/nowhere"), "a").run_artifact_dir == str(root / "state/chatmemory/runs/a")
    assert "/proc/nowhere cannot be used" in caplog.text
    monkeypatch.setenv("XDG_STATE_HOME", "/proc/nowhere")
    monkeypatch.setattr("chatmemory_training.directories.gettempdir", lambda: str(root / "tmp"))
    assert manager(Path("/proc/nowhere"), "a").run_artifact_dir.startswith(str(root / "tmp/chatmemory-"))


def test_checkpoints_have_defaults(root: Path) -> None:
    """Every 1000 steps, the summary and the last metrics."""
    made = manager(root)
    made.setup_auto_checkpointing()
    for step in (1, 999, 1000, 1001):
        made.log_metrics({"loss": 1 / step}, step=step)
    latest = made.find_latest_checkpoint()
    assert latest == str(root / "run-1/models/checkpoint-000000001000.json")
    saved = json.loads(Path(latest).read_text())
    assert (saved["summary"]["run_name"], saved["metrics"]) == ("run-1", {"loss": 0.001, "step": 1000})
