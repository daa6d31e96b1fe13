"""A Postgres of the test's own, which the test may stop, start and crash."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Literal

import psutil
import pytest

from chatmemory.embedded.server import EmbeddedPostgres, binaries


def postmaster_of(data_dir: Path) -> psutil.Process:
    """Return the first process of the server that runs in a directory."""
    return psutil.Process(int(next(data_dir.rglob("postmaster.pid")).read_text().partition("\n")[0]))


@contextmanager
def suspended(postmaster: psutil.Process) -> Iterator[None]:
    """Stop all processes of a server in the block, by SIGSTOP."""
    postmaster.suspend()
    processes = [postmaster, *postmaster.children(recursive=True)]
    for each in processes[1:]:
        each.suspend()
    try:
        yield
    finally:
        for each in processes:
            each.resume()


class Server:
    """An embedded Postgres, driven by pg_ctl as whoever owns its data."""

    def __init__(self, data_dir: Path) -> None:
        self._embedded = EmbeddedPostgres(data_dir)
        self.url = self._embedded.start()
        self._data = next(data_dir.rglob("postmaster.pid")).parent

    def stop(self, mode: Literal["fast", "immediate"]) -> None:
        """Stop it; "immediate" is a crash: nothing is flushed, and the next start recovers."""
        self._pg_ctl("stop", "-m", mode)

    def start(self) -> None:
        """Start it with the options it was first started with: `restart` reads them, also of a server that is down."""
        self._pg_ctl("restart", "-l", str(self._data / "restarted.log"))

    def stopped(self) -> AbstractContextManager[None]:
        """Stop all its processes in the block, by SIGSTOP."""
        return suspended(postmaster_of(self._data))

    def close(self) -> None:
        """Let go of it for good."""
        self._embedded.stop()

    def _pg_ctl(self, *arguments: str) -> None:
        owner = self._data.stat().st_uid
        command = [str(binaries() / "pg_ctl"), *arguments, "-w", "-D", str(self._data)]
        subprocess.run(
            command,
            check=True,
            cwd=self._data if owner == os.getuid() else "/",
            user=owner if os.getuid() == 0 else None,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture
def own_server(data_dir: Path) -> Iterator[Server]:
    """A server that only this test uses."""
    server = Server(data_dir)
    yield server
    server.close()
