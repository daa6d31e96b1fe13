"""The servers of a benchmark: the named ones, or private ones that are removed afterwards."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgres_server(url: str | None) -> Iterator[str]:
    """Use the named Postgres, or a private one."""
    if url is not None:
        yield url
        return
    from chatmemory.embedded.server import EmbeddedPostgres

    path = Path(tempfile.mkdtemp(prefix="cm-bench-"))
    path.chmod(0o755)  # an unprivileged Postgres must have access, even if root runs this
    embedded = EmbeddedPostgres(path)
    try:
        yield embedded.start()
    finally:
        embedded.stop()
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def redis_server(url: str | None) -> Iterator[str]:
    """Use the named Redis, or a private one without persistence."""
    if url is not None:
        yield url
        return
    from tests.fixtures.redis import RedisServer

    server = RedisServer()
    try:
        yield server.url
    finally:
        server.close()
