"""What a run of pytest came to, test by test."""

import platform
import time
from collections import Counter
from hashlib import sha256
from secrets import token_hex
from typing import Any

import pytest

from chatmemory import ChatMemory, ChatMemoryError
from chatmemory_training.effective_config import masked_arguments
from chatmemory_training.names import generate_run_name
from chatmemory_training.recording import Recording
from chatmemory_training.values import clean

LONGEST_TEXT = 20_000  # characters of one failure
AT_ONCE = 50  # tests told together
MOST_NAMED = 100  # failed tests in the results
LONGEST_ID = 200


class Tested:
    """Hears of every test, and records it: outcome, duration, and why it failed."""

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
        self._own = token_hex(4)  # a run that goes on under its name tells of the same tests again
        self._is_stopped = False

    def pytest_sessionstart(self) -> None:
        """The run begins."""
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
        how = {"user_id": option("--chatmemory-user"), "share_result": option("--chatmemory-share")}
        self._run = Recording(tenant, name, kind="testing", **how)
        self._run.begin(
            {
                "test_type": "pytest",
                "model_id": self._config.rootpath.name,
                "args": masked_arguments(map(str, self._config.invocation_params.args)),
                "python": platform.python_version(),
            }
        )

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """A file was looked through for tests; one that cannot be is told of."""
        if report.failed and report.nodeid not in self._seen:
            self._tell(report.nodeid, {"outcome": "error", "duration": 0.0, "text": clean(report.longreprtext)})

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Ctrl-C, or pytest.exit(); but pytest also stops itself so, after failures."""
        self._is_stopped = not isinstance(excinfo.value, pytest.Session.Interrupted)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """One phase of one test is over."""
        test = self._open.setdefault(report.nodeid, {"outcome": "passed", "duration": 0.0, "text": ""})
        test["duration"] += report.duration
        test["is_over"] = report.when != "setup"
        outcome = _outcome(report)
        if outcome != "passed":
            test["outcome"] = outcome
            test["text"] += clean(report.longreprtext)
        if report.when == "teardown":
            self._tell(report.nodeid, self._open.pop(report.nodeid))

    def _tell(self, node: str, test: dict[str, Any]) -> None:
        self._seen[node] += 1
        self._outcomes[test["outcome"]] += 1
        if test["outcome"] in ("failed", "error"):
            self._failed.append(node)
        told = f"{clean(node)} {test['outcome']} in {test['duration']:.3f} s"
        text = f"\n{test['text'][:LONGEST_TEXT]}" if test["text"] else ""
        known = {"test": clean(node), "outcome": test["outcome"], "duration": round(test["duration"], 6)}
        id = _id(f"{self._own}:{node}", self._seen[node])
        message = {"role": "tool", "content": told + text, "message_id": id, "metadata": known}
        self._messages.append(message)
        if len(self._messages) >= AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        messages, self._messages = self._messages, []
        if self._run is not None and messages:
            self._run.append(messages)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, exitstatus: int) -> None:
        """The run is over."""
        for node, test in list(self._open.items()):  # a worker died in the middle, or all were stopped
            is_known = test["is_over"] or test["outcome"] != "passed"
            self._tell(node, test if is_known else {**test, "outcome": "interrupted"})
        self._flush()
        if self._run is None or self._memory is None:
            return
        duration = round(time.monotonic() - self._began, 3)
        failed = {"failed_tests": self._failed[:MOST_NAMED]} if self._failed else {}
        self._run.results(**self._outcomes, duration=duration, exit_status=int(exitstatus), **failed)
        fine = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED)
        how = "completed" if fine else "cancelled" if self._is_stopped else "failed"
        if not self._run.end(how, None if fine else _why(exitstatus)):
            self._problem = self._run.problem or "Postgres cannot be reached; it is recorded with a later run"
        try:
            self._memory.close()
        except ChatMemoryError as error:
            self._problem = str(error)

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Say where it stands."""
        if self._problem is not None:
            terminalreporter.write_line(f"chatmemory: not recorded: {self._problem}")
        elif self._run is not None:
            tenant = self._config.getoption("--chatmemory-tenant")
            show = f"chatmemory show {self._run.session_id} --tenant {tenant}"
            terminalreporter.write_line(f"chatmemory: recorded as session {self._run.session_id}; {show}")


def _outcome(report: pytest.TestReport) -> str:
    """passed, failed, skipped, error (outside the test itself), xfailed or xpassed; interrupted is known later."""
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed" if report.passed else "failed"
    return "error" if report.failed and report.when != "call" else str(report.outcome)


def _id(node: str, time: int) -> str:
    name = clean(node) if time == 1 else f"{clean(node)}#{time}"
    return name if len(name.encode()) <= LONGEST_ID else sha256(name.encode()).hexdigest()


def _why(exitstatus: int) -> str:
    try:
        return pytest.ExitCode(exitstatus).name.lower().replace("_", " ")
    except ValueError:
        return f"exit status {exitstatus}"
