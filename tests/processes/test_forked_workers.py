"""A memory that was opened and used before the workers are forked."""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import forking


@pytest.mark.parametrize("embedded", [False, True])
def test_workers_forked_from_a_used_memory_connect_anew(
    postgres_url: str, redis_url: str, data_dir: Path, embedded: bool
) -> None:
    """4 workers and their parent go on with the handles they had: nobody fails, all is stored, none is in the way.

    All of them have contexts from Redis, too, and none that is broken or old.
    """
    done = subprocess.run(
        [sys.executable, "-m", "tests.processes.forking", "" if embedded else postgres_url, redis_url],
        env={"PATH": "/usr/bin:/bin", "CHATMEMORY_DATA_DIR": str(data_dir)},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    *workers, parent = map(json.loads, done.stdout.splitlines())
    failed, seqs, sources = parent
    assert (len(workers), failed) == (forking.WORKERS, []), done.stderr
    assert seqs == list(range(1, 2 + 1 + forking.WORKERS * 2 * forking.EACH + forking.EACH + 1))
    assert all("redis" in each for each in itertools.chain(sources, *workers)), (sources, workers)
