"""The servers that benchmarks run on: those that were named, or private ones that are removed afterwards."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def postgres_server(url: str | None) -> Iterator[str]:
    """The Postgres that was named, or a private one."""
    if url is not None:
        yield url
        return
    from chatmemory.embedded.server import EmbeddedPostgres

    path = Path(tempfile.mkdtemp(prefix="cm-bench-"))
    path.chmod(0o755)  # an unprivileged Postgres must get in, even when root runs this
    embedded = EmbeddedPostgres(path)
    try:
        yield embedded.start()
    finally:
        embedded.stop()
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def redis_server(url: str | None) -> Iterator[str]:
    """The Redis that was named, or a private one without persistence."""
    if url is not None:
        yield url
        return
    from tests.fixtures.redis import RedisServer

    server = RedisServer()
    try:
        yield server.url
    finally:
        server.close()
