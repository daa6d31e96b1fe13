"""Recording of a pytest run, test by test."""

import platform
import time
from collections import Counter
from hashlib import sha256
from secrets import token_hex
from typing import Any

import pytest

from chatmemory import ChatMemory, ChatMemoryError
from chatmemory_training.effective_config import masked_arguments
from chatmemory_training.json_values import clean_text
from chatmemory_training.run_names import generate_run_name
from chatmemory_training.run_recording import Recording

MAX_FAILURE_CHARACTERS = 20_000
BATCH_SIZE = 50  # tests per append
MAX_FAILED_NAMES = 100  # failed tests named in the results
MAX_ID_BYTES = 200
_SEVERITY = {
    outcome: rank for rank, outcome in enumerate(("passed", "skipped", "xfailed", "xpassed", "failed", "error"))
}


class OutcomeRecorder:
    """A pytest plugin that records each test's outcome, duration and failure."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._memory: ChatMemory | None = None
        self._run: Recording | None = None
        self._problem: str | None = None
        self._open: dict[str, dict[str, Any]] = {}
        self._messages: list[dict[str, Any]] = []
        self._seen: Counter[str] = Counter()
        self._outcomes: Counter[str] = Counter()
        self._failed: list[str] = []
        self._began = time.monotonic()
        self._attempt = token_hex(4)  # a run that resumes under its name records the same tests again
        self._is_stopped = False

    def pytest_sessionstart(self) -> None:
        """Open the memory and begin the run."""
        option = self._config.getoption
        name = option("--chatmemory-name") or generate_run_name(
            {"wandb": {"run_name_prefix": self._config.rootpath.name}}
        )
        try:
            self._memory = ChatMemory.open()
            tenant = self._memory.tenant(option("--chatmemory-tenant"))
        except ChatMemoryError as error:
            self._problem = str(error)
            return
        options = {"user_id": option("--chatmemory-user"), "share_result": option("--chatmemory-share")}
        self._run = Recording(tenant, name, kind="testing", resume=option("--chatmemory-resume"), **options)
        self._run.begin(
            {
                "test_type": "pytest",
                "model_id": self._config.rootpath.name,
                "args": masked_arguments(map(str, self._config.invocation_params.args)),
                "python": platform.python_version(),
            }
        )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Record a file that could not be collected."""
        if report.failed and report.nodeid not in self._seen:
            self._record(report.nodeid, {"outcome": "error", "duration": 0.0, "text": clean_text(report.longreprtext)})

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Note Ctrl-C and pytest.exit(); pytest itself also stops this way, after --maxfail failures."""
        self._is_stopped = not isinstance(excinfo.value, pytest.Session.Interrupted)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect one phase of a test, and record the test after its teardown."""
        test = self._open.setdefault(report.nodeid, {"outcome": "passed", "duration": 0.0, "text": ""})
        test["duration"] += report.duration
        test["is_over"] = report.when != "setup"
        outcome = _outcome(report)
        if outcome != "passed":
            test["outcome"] = max(outcome, test["outcome"], key=_severity)  # a test may have many: subtests
            test["text"] += clean_text(report.longreprtext)
        if report.when == "teardown":
            self._record(report.nodeid, self._open.pop(report.nodeid))

    def _record(self, node: str, test: dict[str, Any]) -> None:
        self._seen[node] += 1
        self._outcomes[test["outcome"]] += 1
        if test["outcome"] in ("failed", "error"):
            self._failed.append(node)
        line = f"{clean_text(node)} {test['outcome']} in {test['duration']:.3f} s"
        text = f"\n{test['text'][:MAX_FAILURE_CHARACTERS]}" if test["text"] else ""
        metadata = {"test": clean_text(node), "outcome": test["outcome"], "duration": round(test["duration"], 6)}
        id = _message_id(f"{self._attempt}:{node}", self._seen[node])
        message = {"role": "tool", "content": line + text, "message_id": id, "metadata": metadata}
        self._messages.append(message)
        if len(self._messages) >= BATCH_SIZE:
            self._flush()

    def _flush(self) -> None:
        messages, self._messages = self._messages, []
        if self._run is not None and messages:
            self._run.append(messages)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """Record the run's totals and end it."""
        for node, test in list(self._open.items()):  # a worker died, or the run was stopped
            has_outcome = test["is_over"] or test["outcome"] != "passed"
            self._record(node, test if has_outcome else {**test, "outcome": "interrupted"})
        self._flush()
        if self._run is None or self._memory is None:
            return
        duration = round(time.monotonic() - self._began, 3)
        failed = {"failed_tests": self._failed[:MAX_FAILED_NAMES]} if self._failed else {}
        self._run.results(**self._outcomes, duration=duration, exit_status=int(exitstatus), **failed)
        succeeded = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        status = "completed" if succeeded else "cancelled" if self._is_stopped else "failed"
        if not self._run.end(status, None if succeeded else _end_reason(exitstatus)):
            self._problem = (
                self._run.problem or "Postgres cannot be reached; the run is recorded when a later one delivers it"
            )
        try:
            self._memory.close()
        except ChatMemoryError as error:
            self._problem = str(error)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Print the session's id, or the reason why the run is not recorded."""
        if self._problem is not None:
            terminalreporter.write_line(f"chatmemory: not recorded: {self._problem}")
        elif self._run is not None:
            tenant = self._config.getoption("--chatmemory-tenant")
            command = f"chatmemory show {self._run.session_id} --tenant {tenant}"
            terminalreporter.write_line(f"chatmemory: recorded as session {self._run.session_id}; {command}")


def _severity(outcome: str) -> int:
    """Rank an outcome; one that another plugin invented lies between passed and failed."""
    return _SEVERITY.get(outcome, _SEVERITY["skipped"])


def _outcome(report: pytest.TestReport) -> str:
    """Classify a phase: passed, failed, skipped, error (outside the test body), xfailed or xpassed."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed" if report.passed else "failed"
    return "error" if report.failed and report.when != "call" else str(report.outcome)


def _message_id(node: str, repetition: int) -> str:
    name = clean_text(node) if repetition == 1 else f"{clean_text(node)}#{repetition}"
    return name if len(name.encode()) <= MAX_ID_BYTES else sha256(name.encode()).hexdigest()


def _end_reason(exitstatus: int) -> str:
    try:
        return pytest.ExitCode(exitstatus).name.lower().replace("_", " ")
    except ValueError:
        return f"exit status {exitstatus}"
