"""Recording a run on a Postgres that goes away, freezes or restarts."""

import logging
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from chatmemory import ChatMemory, Settings
from chatmemory_training import deliver_spools, record_run
from tests.processes.conftest import Server


@contextmanager
def away(server: Server) -> Iterator[None]:
    """Stop the server for the block, as a crash does."""
    server.stop("immediate")
    yield
    server.start()


@pytest.mark.parametrize("how", ["away", "frozen"])
def test_a_postgres_that_goes_in_the_middle_ends_no_training(
    own_server: Server, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The run and the memory close without an error and soon; what waits is named, and delivered later."""
    gone: AbstractContextManager[Any] = away(own_server) if how == "away" else own_server.stopped()
    with _memory(own_server) as memory:
        tenant = memory.tenant("acme")
        with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path) as run:
            run.log({"loss": 1.0}, 0)
            while run.session_id is None:
                time.sleep(0.01)
            gone.__enter__()
            for step in range(1, 50):
                run.log({"loss": 1.0}, step)
            run.results(rmse=0.5)
        closing = time.monotonic()
    took = time.monotonic() - closing
    gone.__exit__(None, None, None)
    assert took < 3
    [told] = [record for record in caplog.records if "wait in" in record.getMessage()]
    assert told.levelno == logging.WARNING
    assert str(tmp_path) in told.getMessage()
    with _memory(own_server) as memory:
        tenant = memory.tenant("acme")
        while list(tmp_path.glob("*/.spool-*")):  # until the recorder's last call has given up its lock
            deliver_spools(tmp_path, tenant)
            time.sleep(0.05)
        session = tenant.sessions.get("r")
        assert session.metrics()["loss"].steps == tuple(range(50))
        assert (session.info.run_status, session.info.results) == ("completed", {"rmse": 0.5})


def test_a_postgres_that_restarts_in_the_middle_costs_nothing(own_server: Server, tmp_path: Path) -> None:
    """All points are there, each once."""
    with _memory(own_server) as memory:
        tenant = memory.tenant("acme")
        with record_run(tenant, "r", user_id="ann", spool_dir=tmp_path) as run:
            for step in range(300):
                run.log({"loss": 1.0}, step)
                if step == 100:
                    while run.session_id is None:
                        time.sleep(0.01)
                    with away(own_server):
                        run.log({"other": 1.0}, step)
        session = tenant.sessions.get("r")
        assert session.metrics()["loss"].steps == tuple(range(300))
        assert session.info.run_status == "completed"


def _memory(server: Server) -> ChatMemory:
    return ChatMemory.open(server.url, settings=Settings(cleanup_inactive_sessions=False))
