"""The writing process is killed; what it was told is stored is stored."""

import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.processes import work

KILLS = 20


@contextmanager
def writer(url: str, session_id: str, name: str) -> Iterator[subprocess.Popen[str]]:
    """A process that appends until it is killed, once it is told to begin."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.processes.work", url, session_id, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def test_kill_at_random_moments_loses_nothing_acknowledged(postgres_url: str) -> None:
    """20 times: SIGKILL after a random number of acknowledged messages; the next writer resumes the session.

    Everything acknowledged is there, in place; seq has no gap; at most the one message in flight came on top.
    """
    session_id = work.new_session(postgres_url)
    rng = random.Random(7)
    acknowledged: list[tuple[int, str]] = []
    for kill in range(KILLS):
        with writer(postgres_url, session_id, f"w{kill}") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == f"{session_id}\n"
            process.stdin.write("go\n")
            process.stdin.flush()
            lines = [process.stdout.readline() for _ in range(rng.randrange(40))]
            for _ in range(rng.randrange(20_000)):  # into the next append, by chance
                pass
            process.kill()
            lines += process.stdout.readlines()
        mine = [(int(seq), id) for seq, id in (line.split() for line in lines)]
        acknowledged += mine
        stored = work.stored(postgres_url, session_id)
        assert set(acknowledged) <= set(stored)
        written = [id for _, id in stored if id.startswith(f"w{kill}-")]
        assert written == [f"w{kill}-{turn}" for turn in range(len(written))]
        assert len(mine) <= len(written) <= len(mine) + 1
