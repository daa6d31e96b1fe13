import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chatmemory import Session, Tenant

TESTS = '''
import os, signal, warnings
import pytest

def test_fine():
    """Fine."""

@pytest.mark.parametrize("value", [1, 2, "a\\0b", "x" * 300])
def test_values(value):
    assert value != 2, "the value is 2: ä"

def test_skipped():
    pytest.skip("not today")

@pytest.mark.xfail
def test_expected():
    assert False

@pytest.mark.xfail
def test_unexpected():
    pass

@pytest.fixture
def broken():
    raise RuntimeError("no fixture")

def test_error(broken):
    pass

@pytest.fixture
def untidy():
    yield
    raise RuntimeError("no teardown")

def test_teardown(untidy):
    pass
'''
COUNTS = {"passed": 4, "failed": 1, "skipped": 1, "xfailed": 1, "xpassed": 1, "error": 2}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project with tests."""
    (tmp_path / "project").mkdir()
    (tmp_path / "project/test_it.py").write_text(TESTS)
    return tmp_path / "project"


def run(project: Path, url: str | None, *arguments: str, code: int = 1, **more: str) -> str:
    """Run pytest in a project and return its output."""
    command = [sys.executable, "-m", "pytest", "-p", "no:randomly", "-p", "no:cacheprovider", *arguments]
    set_here = {"CHATMEMORY_LOG_DIR": str(project.parent / "spools"), **more}
    environment = {**os.environ, **({"CHATMEMORY_POSTGRES_URL": url} if url else {}), **set_here}
    done = subprocess.run(
        command, cwd=project, env=environment, capture_output=True, text=True, check=False, timeout=240
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def recorded(tenant: Tenant) -> Session:
    """The one run there is."""
    [info] = tenant.sessions.list()
    return tenant.sessions.get(info.id)


def recorded_tests(session: Session) -> dict[str, Any]:
    """Return the recorded message of each test."""
    return {message.metadata["test"]: message for message in session.messages()}


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_a_run_is_recorded_test_by_test(project: Path, tenant: Tenant, postgres_url: str, workers: list[str]) -> None:
    """Outcome, duration and failure text of each, once, also where xdist's workers ran them."""
    options = ["--chatmemory", "--chatmemory-tenant", "acme", "--chatmemory-user", "ci", "--chatmemory-name", "nightly"]
    output = run(project, postgres_url, *options, *workers)
    assert "chatmemory: recorded as session nightly; chatmemory show nightly --tenant acme" in output
    session = recorded(tenant)
    info = session.info
    assert (info.id, info.user_id, info.kind) == ("nightly", "ci", "testing")
    assert (info.status, info.run_status, info.error) == ("failed", "failed", "tests failed")
    assert isinstance(info.results, dict)
    assert {name: info.results[name] for name in COUNTS} == COUNTS
    assert info.results["exit_status"] == 1
    assert info.results["failed_tests"].count("test_it.py::test_values[2]") == 1
    assert (info.details["test_type"], info.details["model_id"]) == ("pytest", "project")
    tests = recorded_tests(session)
    assert len(tests) == 10
    failed = tests["test_it.py::test_values[2]"]
    assert (failed.role, failed.metadata["outcome"]) == ("tool", "failed")
    assert failed.metadata["duration"] > 0
    assert "the value is 2" in str(failed.content)
    assert "no fixture" in str(tests["test_it.py::test_error"].content)
    assert tests["test_it.py::test_teardown"].metadata["outcome"] == "error"
    assert tests["test_it.py::test_skipped"].metadata["outcome"] == "skipped"
    [kept] = tenant.memories.list().items
    assert (kept.kind, kept.user_id) == ("result", "ci")
    assert "failed 1" in kept.text


def test_a_run_without_failures_completed(project: Path, tenant: Tenant, postgres_url: str) -> None:
    """--chatmemory-share shares the result with the tenant; a second run of the name is a new session."""
    options = ["--chatmemory", "--chatmemory-tenant=acme", "--chatmemory-share", "--chatmemory-name=fine"]
    for _ in range(2):
        run(project, postgres_url, *options, "-k", "fine", code=0)
    assert sorted(session.id for session in tenant.sessions.list()) == ["fine", "fine-2"]
    assert {session.run_status for session in tenant.sessions.list()} == {"completed"}
    assert [memory.user_id for memory in tenant.memories.list()] == [None, None]


def test_without_the_option_nothing_is_recorded(project: Path, tenant: Tenant, postgres_url: str) -> None:
    """The plugin is there, and does nothing, not even importing chatmemory."""
    assert "chatmemory:" not in run(project, postgres_url, "-k", "fine", code=0)
    assert "chatmemory:" not in run(project, postgres_url, "--chatmemory", "--collect-only", code=0)
    assert tenant.sessions.list(with_total=True).total == 0
    code = "import sys, chatmemory_training.pytest_plugin; print([m for m in sys.modules if m.startswith('psycopg')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_run_that_cannot_be_recorded_is_a_run(project: Path, tenant: Tenant, postgres_url: str) -> None:
    """An unreachable database or invalid settings change no outcome, and are reported."""
    options = ["--chatmemory", "--chatmemory-tenant=acme", "-k", "fine"]
    output = run(
        project, "postgresql://nobody@127.0.0.1:1/none", *options, code=0, CHATMEMORY_POSTGRES_TIMEOUT_SECONDS="1"
    )
    assert "recorded when a later one delivers it" in output
    output = run(project, postgres_url, *options, code=0, CHATMEMORY_POSTGRES_POOL_MAX_SIZE="none")
    assert "chatmemory: not recorded" in output
    run(project, postgres_url, *options, code=0)
    assert [session.run_status for session in tenant.sessions.list()] == ["completed"] * 2


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "xdist"])
def test_a_file_that_cannot_be_collected_is_told_of(
    project: Path, tenant: Tenant, postgres_url: str, workers: list[str]
) -> None:
    """Once, with why; no test of it ran, and without that nobody would know what went wrong."""
    (project / "test_broken.py").write_text("import nowhere_to_be_found\n")
    run(project, postgres_url, "--chatmemory", "--chatmemory-tenant=acme", *workers, code=1 if workers else 2)
    session = recorded(tenant)
    assert session.info.status == "failed"
    test = recorded_tests(session)["test_broken.py"]
    assert test.metadata["outcome"] == "error"
    assert "nowhere_to_be_found" in str(test.content)
    assert isinstance(session.info.results, dict)
    assert "test_broken.py" in session.info.results["failed_tests"]


def test_a_run_that_was_killed_is_resumed_under_its_name(project: Path, tenant: Tenant, postgres_url: str) -> None:
    """Outcomes of the same tests before and after the kill are both recorded."""
    (project / "test_it.py").write_text(
        "import os, signal, pathlib\ndef test_a(): pass\ndef test_kill():\n"
        "    seen = pathlib.Path('seen')\n"
        "    if not seen.exists():\n        seen.touch()\n        os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    options = ["--chatmemory", "--chatmemory-tenant=acme", "--chatmemory-name=nightly"]
    run(project, postgres_url, *options, code=-9)
    run(project, postgres_url, *options, "--chatmemory-resume", code=0)
    session = recorded(tenant)
    assert session.info.run_status == "completed"
    assert {test.rpartition("::")[2] for test in recorded_tests(session)} == {"test_a", "test_kill"}
    ids = [message.id for message in session.messages()]
    run(project, postgres_url, *options, code=0)
    assert not set(ids) & {message.id for message in tenant.sessions.get("nightly-2").messages()}


def test_a_run_that_is_interrupted_is_recorded_so(project: Path, tenant: Tenant, postgres_url: str) -> None:
    """Ctrl-C: it is cancelled, and what ran is there."""
    (project / "test_it.py").write_text(
        "import signal\ndef test_a(): pass\ndef test_b(): signal.raise_signal(signal.SIGINT)\n"
    )
    run(project, postgres_url, "--chatmemory", "--chatmemory-tenant=acme", code=2)
    session = recorded(tenant)
    assert (session.info.status, session.info.run_status) == ("cancelled", "failed")
    assert session.status_history()[-1].reason == "interrupted"
    outcomes = {name.rpartition("::")[2]: test.metadata["outcome"] for name, test in recorded_tests(session).items()}
    assert outcomes == {"test_a": "passed", "test_b": "interrupted"}


def test_a_user_that_cannot_be_is_told(project: Path, postgres_url: str) -> None:
    """The reason is the invalid user and not an unreachable database; secrets of the command line are not printed."""
    options = ["--chatmemory", "--chatmemory-tenant=acme", "-k", "fine", "--chatmemory-user"]
    output = run(project, postgres_url, *options, "x" * 300, code=0)
    assert "not recorded: user_id has 300 bytes" in output


def test_secrets_of_the_command_line_are_not_recorded(project: Path, tenant: Tenant, postgres_url: str) -> None:
    """Values of options with secret names are masked, and logins in URLs."""
    (project / "conftest.py").write_text(
        "def pytest_addoption(parser):\n    parser.addoption('--api-key')\n    parser.addoption('--db')\n"
    )
    secrets = ["--api-key", "hunter1", "--api-key=hunter2", "--db=postgresql://me:hunter3@host/db"]
    run(project, postgres_url, "--chatmemory", "--chatmemory-tenant=acme", "-k", "fine", *secrets, code=0)
    arguments = recorded(tenant).info.details["args"]
    assert "hunter" not in str(arguments)
    assert arguments[-3:] == ["***", "--api-key=***", "--db=postgresql://***@host/db"]


def test_a_worker_that_dies_is_recorded(project: Path, tenant: Tenant, postgres_url: str) -> None:
    """Its test failed; the others were run by another worker."""
    (project / "test_it.py").write_text(
        "import os, signal\ndef test_a(): pass\n"
        "def test_kill(): os.kill(os.getpid(), signal.SIGKILL)\ndef test_b(): pass\n"
    )
    run(project, postgres_url, "--chatmemory", "--chatmemory-tenant=acme", "-n", "1")
    tests = recorded_tests(recorded(tenant))
    outcomes = {name.rpartition("::")[2]: test.metadata["outcome"] for name, test in tests.items()}
    assert outcomes == {"test_a": "passed", "test_kill": "error", "test_b": "passed"}


def test_the_worst_outcome_of_a_test_wins(project: Path, tenant: Tenant, postgres_url: str) -> None:
    """A failing subtest stays failed, whatever follows it: a skipped one, or a plugin's own outcome."""
    (project / "test_it.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef parts(request):\n"
        "    from _pytest.reports import TestReport\n"
        "    def report(outcome):\n"
        "        node = request.node\n"
        "        request.config.hook.pytest_runtest_logreport(report=TestReport(\n"
        "            node.nodeid, node.location, {}, outcome, 'text of ' + outcome, 'call', [], 0.1))\n"
        "    return report\n"
        "@pytest.mark.parametrize('outcomes', ['failed skipped', 'skipped failed', 'skipped passed', 'failed rerun'])\n"
        "def test_reports(parts, outcomes):\n"
        "    for outcome in outcomes.split():\n        parts(outcome)\n"
    )
    run(project, postgres_url, "--chatmemory", "--chatmemory-tenant=acme")
    tests = recorded_tests(recorded(tenant))
    outcomes = {name.rpartition("::")[2]: test.metadata["outcome"] for name, test in tests.items()}
    assert outcomes == {
        "test_reports[failed skipped]": "failed",
        "test_reports[skipped failed]": "failed", "test_reports[skipped passed]": "skipped",
        "test_reports[failed rerun]": "failed",
    }  # fmt: skip
