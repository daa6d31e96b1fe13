"""`runs`, `runs compare`, and `show` of a run."""

import pytest

from chatmemory import ChatMemory, Session
from tests.cli.conftest import Cli


@pytest.fixture
def run(memory: ChatMemory) -> Session:
    """A training that is over."""
    sessions = memory.tenant("default").sessions
    details = {"model_id": "lstm", "dataset_name": "bitcoin", "learning_rate": 0.01, "total_epochs": 4}
    run = sessions.create(user_id="ann", session_id="r-1", kind="training", details=details)
    run.move("running", reason="a slot is free")
    for step in range(200):
        run.log_metrics({"loss": 1 / (step + 1), "accuracy": step / 200}, step=step)
    run.log_metrics({"gradient": float("nan")}, step=1)
    run.end(results={"rmse": 0.05}, details={"current_epoch": 4})
    return run


def test_runs_are_listed_with_their_curves(cli: Cli, memory: ChatMemory, run: Session) -> None:
    """The list shows each run, its progress and its loss curve, and no conversations."""
    sessions = memory.tenant("default").sessions
    sessions.create(user_id="ann", title="Lunch")
    sessions.create(user_id="ben", kind="testing")
    page = cli("runs").stdout
    for word in ("r-1", "lstm on bitcoin", "training", "completed", "100 %", "▁▁▁ loss", "testing", "2 runs"):
        assert word in page
    assert "Lunch" not in page
    narrow = cli("runs", COLUMNS="80").stdout
    assert all(word in narrow for word in ("r-1", "lstm on bitcoin", "100 %", "▁▁▁ loss 0.005"))
    assert max(map(len, narrow.splitlines())) <= 80
    wide = cli("runs", COLUMNS="200").stdout
    assert all(word in wide for word in ("title", "lstm on bitcoin", "▁▁▁ loss 0.005"))
    listed = cli.json("runs", "--kind", "training")
    assert (listed["total"], listed["items"][0]["id"]) == (1, run.id)
    assert listed["items"][0]["metrics"] == ["accuracy", "gradient", "loss"]
    assert cli.json("runs", "--user", "ben")["total"] == 1
    assert "shown: 1-1" in cli("runs", "--limit", "1").stdout
    assert "use one of chat" in cli("runs", "--kind", "nope", code=1).stderr
    assert "No runs in tenant 'other'" in cli("runs", "--tenant", "other").stdout


def test_runs_are_found(cli: Cli, memory: ChatMemory, run: Session) -> None:
    """By a condition, in an order; a condition that cannot be read is shown."""
    memory.tenant("default").sessions.create(user_id="ben", kind="testing", session_id="t-1")
    page = cli("runs", "--where", "best.loss < 0.1 and details.model_id = 'lstm'").stdout
    assert ("r-1" in page, "t-1" in page, "1 run in" in page) == (True, False, True)
    found = cli.json("runs", "--order-by", "kind desc")
    assert [item["id"] for item in found["items"]] == ["r-1", "t-1"]
    assert "No matching runs" in cli("runs", "--where", "best.loss > 7").stdout
    assert "may be more" in cli("runs", "--order-by", "kind", "--limit", "1").stdout
    assert "it has 'id', 'user_id', 'kind'" in cli("runs", "--where", "loss < 1", code=1).stderr
    assert "cannot be read from 'or'" in cli("runs", "--where", "id = or", code=1).stderr


def test_runs_are_compared(cli: Cli, memory: ChatMemory, run: Session) -> None:
    """A column for each run, a row for each of details, results and best values."""
    other = memory.tenant("default").sessions.create(
        user_id="ann",
        session_id="r-2",
        kind="training",
        title="A deeper tree",
        details={"learning_rate": 0.1, "seed": 7, "params": {"depth": 3, "tree": {"leaves": 9}, "none": {}}},
    )
    other.log_metrics({"loss": 0.25})
    other.metrics()
    page = cli("runs", "compare", "r-1", "r-2").stdout
    for word in ("r-1", "r-2", "details.learning_rate", "0.01", "0.1", "results.rmse", "best.loss", "0.005", "0.25"):
        assert word in page
    assert "A deeper tree" in page
    lines = [line.split() for line in page.splitlines()]
    assert ["details.params.depth", "3"] in lines
    narrow = cli("runs", "compare", "r-1", "r-2", COLUMNS="50").stdout
    assert "details.params.tree.leaves" in narrow
    for ids in (["r-1"], ["r-1", "r-1"]):
        assert "one run cannot be compared" in cli("runs", "compare", *ids, code=2).stderr
    assert ["details.params.tree.leaves", "9"] in lines
    first, second = cli.json("runs", "compare", "r-1", "r-2")["runs"]
    assert [each["metrics"]["loss"]["best"] for each in (first, second)] == [0.005, 0.25]
    assert second["info"]["details"]["seed"] == 7
    assert "no session 'r-9' in tenant 'default'" in cli("runs", "compare", "r-1", "r-9", code=1).stderr


def test_show_tells_of_a_run(cli: Cli, run: Session) -> None:
    """Its details, each move with who and why, and its curves; the same as JSON."""
    page = cli("show", run.id).stdout
    for word in ("run status", "learning_rate", "pending → running", "by ann, a slot is free", "running → completed"):
        assert word in page
    for word in ("100 %", "rmse", "█", "loss 0.005", "200 points", "greatest 0.995", "gradient nan"):
        assert word in page
    shown = cli.json("show", run.id)
    assert [change["new"] for change in shown["status_history"]] == ["running", "completed"]
    assert shown["metrics"]["loss"]["total"] == 200
    assert shown["metrics"]["gradient"]["values"] == ["nan"]


def test_show_cuts_what_is_long(cli: Cli, memory: ChatMemory) -> None:
    """Such as the packages of a run; as JSON it is whole."""
    memory.tenant("default").sessions.create(
        user_id="ann", kind="training", session_id="long", metadata={"note": "x" * 5000 + "END"}
    )
    page = cli("show", "long").stdout
    assert ("END" in page, "characters; --json shows all" in " ".join(page.split())) == (False, True)
    assert cli.json("show", "long")["session"]["metadata"]["note"].endswith("END")


def test_a_conversation_is_shown_as_before(cli: Cli, memory: ChatMemory) -> None:
    """Nothing of runs in what is none."""
    session = memory.tenant("default").sessions.create(user_id="ann")
    assert "run status" not in cli("show", session.id).stdout
    assert "metrics" not in cli.json("show", session.id)


def test_what_a_run_says_is_harmless_on_a_terminal(cli: Cli, memory: ChatMemory) -> None:
    """Neither markup nor escape sequences in reasons, names of metrics or details are interpreted."""
    sessions = memory.tenant("default").sessions
    session = sessions.create(user_id="ann", kind="training", details={"model_id": "[b]\x1b[31m"})
    session.move("running", reason="[bold]x[/bold] \x1b[31m")
    session.log_metrics({"[red]loss\x1b": 1.0})
    session.metrics()
    other = sessions.create(user_id="ann", kind="training", title="\x1b[2J")
    for words in (("show", session.id), ("runs",), ("runs", "compare", session.id, other.id)):
        page = cli(*words).stdout
        assert "\x1b" not in page
        assert r"\u001b" in page
