"""`pytest --chatmemory`: a run of tests is recorded as a testing session."""

import pytest

PLUGIN = "chatmemory-run"


def pytest_addoption(parser: pytest.Parser) -> None:
    """How to record."""
    group = parser.getgroup("chatmemory", "record the run in chatmemory")
    group.addoption("--chatmemory", action="store_true", help="record this run as a testing session")
    group.addoption("--chatmemory-tenant", default="default", metavar="ID", help="whose run it is (default)")
    group.addoption("--chatmemory-user", metavar="ID", help="whose in there (who runs pytest)")
    group.addoption("--chatmemory-name", metavar="NAME", help="the run's name (a new one)")
    group.addoption("--chatmemory-share", action="store_true", help="remember its result for the whole tenant")


def pytest_configure(config: pytest.Config) -> None:
    """Record, in the process that hears of all tests: of xdist's, the one that starts the others."""
    runs_tests = not config.getoption("collectonly")
    if config.getoption("--chatmemory") and runs_tests and not hasattr(config, "workerinput"):
        from chatmemory_training.tested import Tested

        config.pluginmanager.register(Tested(config), PLUGIN)
