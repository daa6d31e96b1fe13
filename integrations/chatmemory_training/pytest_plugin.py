"""`pytest --chatmemory`: record a test run as a testing session."""

import pytest

PLUGIN = "chatmemory-run"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the plugin."""
    group = parser.getgroup("chatmemory", "record the run in chatmemory")
    group.addoption("--chatmemory", action="store_true", help="record this run as a testing session")
    group.addoption("--chatmemory-tenant", default="default", metavar="ID", help="tenant of the run (default)")
    group.addoption("--chatmemory-user", metavar="ID", help="user of the run (the user that runs pytest)")
    group.addoption("--chatmemory-name", metavar="NAME", help="name of the run (generated)")
    group.addoption("--chatmemory-resume", action="store_true", help="go on with the newest run of this name")
    group.addoption("--chatmemory-share", action="store_true", help="remember the result for the whole tenant")


def pytest_configure(config: pytest.Config) -> None:
    """Register the recorder, in the process that sees all tests: with xdist, the controller."""
    runs_tests = not config.getoption("collectonly")
    if config.getoption("--chatmemory") and runs_tests and not hasattr(config, "workerinput"):
        from chatmemory_training.test_outcomes import OutcomeRecorder

        config.pluginmanager.register(OutcomeRecorder(config), PLUGIN)
