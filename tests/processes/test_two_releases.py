"""Two releases serve one database side by side: before, while and after the newer one migrates it."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from chatmemory.storage.schema.files import releases
from tests.processes.releases import MARK, Installed, following, one_but_next, present, released

WORK = str(Path(__file__).with_name("release_work.py"))
Pair = Callable[[Path], Installed]
PAIRS = [pytest.param(present, following, id="this-and-the-next")]
PAIRS += [pytest.param(lambda folder: released(releases()[-1], folder), present, id="the-last-and-this")] * bool(
    releases()
)


class Served:
    """Processes that serve until they are stopped."""

    def __init__(self, url: str, stop: Path) -> None:
        self._url, self._stop = url, stop
        self._running: list[subprocess.Popen[str]] = []

    def start(self, release: Installed, name: str) -> subprocess.Popen[str]:
        """Start one, and wait for its first turn."""
        process = release.start(WORK, self._url, name, str(self._stop))
        self._running.append(process)
        self.wait(process, 1)
        return process

    def wait(self, process: subprocess.Popen[str], turns: int) -> None:
        """Wait for so many more turns of one process."""
        assert process.stdout is not None
        for _ in range(turns):
            assert process.stdout.readline(), process.communicate()[1]

    def stop(self) -> list[tuple[str, str]]:
        """End them all, each without an error; return what was acknowledged."""
        self._stop.touch()
        acknowledged = []
        for process in self._running:
            output, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors
            acknowledged += [(session, id) for session, id in json.loads(output.splitlines()[-1])]
        self._stop.unlink()
        self._running.clear()
        return acknowledged

    def kill(self) -> None:
        """End what a failed test left."""
        for process in self._running:
            process.kill()
            process.communicate()


@pytest.fixture
def served(empty_postgres_url: str, tmp_path: Path) -> Iterator[Served]:
    """Processes on a database without a schema."""
    served = Served(empty_postgres_url, tmp_path / "stop")
    yield served
    served.kill()


def rows(url: str, query: str) -> list[tuple[object, ...]]:
    """The text the administrator reads."""
    with psycopg.connect(url) as connection:
        return connection.execute(query.encode()).fetchall()


@pytest.mark.parametrize(("make_old", "make_new"), PAIRS)
def test_two_releases_serve_one_database(
    make_old: Pair, make_new: Pair, served: Served, empty_postgres_url: str, tmp_path: Path
) -> None:
    """The old one goes on while and after the new one migrates under its load; nothing acknowledged is lost."""
    old, new = make_old(tmp_path / "old"), make_new(tmp_path / "new")
    before = [served.start(old, f"old-{number}") for number in range(2)]
    new.migrate(empty_postgres_url)
    newer = served.start(new, "new")
    for process in (*before, newer):
        served.wait(process, 7)  # at least two conversations are learnt from
    late = served.start(old, "late")  # connects to a database that is newer than it
    served.wait(late, 4)
    acknowledged = served.stop()
    stored = rows(empty_postgres_url, "select session_id, id from chatmemory.messages")
    assert sorted(stored) == sorted(acknowledged)
    for release in (new, old, new):
        assert release.migrate(empty_postgres_url) == "up to date\n"


@pytest.mark.parametrize("rules", [True, False])
def test_an_older_release_leaves_what_a_newer_one_installed(
    served: Served, empty_postgres_url: str, tmp_path: Path, rules: bool
) -> None:
    """The older one's first use of a newer database, and its `migrate`, change no function and no rule."""
    old, new = present(tmp_path / "old"), following(tmp_path / "new", rules=rules)
    old.migrate(empty_postgres_url)
    assert "_following.sql" in new.migrate(empty_postgres_url)
    installed = (
        "select p.proname, p.prosrc, p.xmin::text from pg_proc p "
        "where p.pronamespace = 'chatmemory'::regnamespace order by 1"
    )
    before = rows(empty_postgres_url, installed)
    sources = {str(name): str(source) for name, source, _ in before}
    assert MARK in sources["append_turn"]
    assert {"messages_after", "messages_after_v2"} <= sources.keys()
    served.start(old, "old")
    served.stop()
    assert old.migrate(empty_postgres_url) == "up to date\n"
    assert rows(empty_postgres_url, installed) == before
    assert rows(empty_postgres_url, "select count(*) from pg_policies where tablename = 'following'") == [(1 + rules,)]


def test_a_release_drops_what_the_one_before_the_last_needed(
    served: Served, empty_postgres_url: str, tmp_path: Path
) -> None:
    """Two releases later a retired function goes; its release is refused, the one between goes on and leaves it so."""
    first, second, third = present(tmp_path / "1"), following(tmp_path / "2"), one_but_next(tmp_path / "3")
    first.migrate(empty_postgres_url)
    assert "_following.sql" in third.migrate(empty_postgres_url)
    assert second.migrate(empty_postgres_url) == "up to date\n"
    served.start(second, "second")
    served.start(third, "third")
    served.stop()
    assert rows(empty_postgres_url, "select to_regproc('chatmemory.messages_after')") == [(None,)]
    refused = first.start(WORK, empty_postgres_url, "first", str(tmp_path / "stop"))
    assert (
        "SchemaVersionError: The database was migrated by a chatmemory that is more than one"
        in (refused.communicate(timeout=120)[1])
    )
