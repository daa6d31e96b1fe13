"""The generator of the sync half, on sample trees."""

import ast
import shutil
import sys
from pathlib import Path

import pytest

from scripts import unasync

CLIENT = '''\
"""A sample: what AsyncSession does, and AsyncSessions[int] too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from sample._async.names import name_of
from sample.concurrency import async_in_thread


class AsyncSession:
    """An AsyncSession over "redis.asyncio"."""

    def __init__(self, redis: "Redis[bytes]", parent: "AsyncSession | None" = None) -> None:
        self.redis = redis
        self.parents = [parent]

    async def __aenter__(self) -> "AsyncSession":
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.redis.aclose()

    async def __anext__(self) -> str:
        raise StopAsyncIteration

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[str]:
        async with self.redis.lock(f"{await name_of(self)}:{(await self.size(len('x'))).real}") as lock:
            yield lock

    async def size(self, least: int) -> int:
        return max(least, len(await self.keys()), len([key async for key in self.redis.scan_iter()]))

    async def keys(self) -> list[str]:
        found = (await async_in_thread(lambda: self.redis.get(str(len("k"))))).split(",")
        found.append(sorted(await async_in_thread(list))[0])
        async for key in self.redis.scan_iter():
            found.append(key)
        return found
'''
NAMES = "async def name_of(thing: object) -> str:\n    return type(thing).__name__\n"
TREES = {"sample/_async": "sample/_sync", "checks/_async": "checks/_sync"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project whose sync half is up to date."""
    for name, text in {
        "sample/__init__.py": "",
        "sample/concurrency.py": "",
        "sample/_async/__init__.py": "",
        "sample/_async/client.py": CLIENT,
        "sample/_async/names.py": NAMES,
        "checks/_async/deep/test_client.py": "async def test_async_name() -> None:\n    assert True\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    run(tmp_path)
    return tmp_path


def run(root: Path, *arguments: str) -> None:
    """The script, on the sample."""
    unasync.main(arguments, root, TREES)


def failure(root: Path, *arguments: str) -> str:
    """Return the script's complaint about the sample."""
    with pytest.raises(SystemExit) as exit_:
        run(root, *arguments)
    assert isinstance(exit_.value.code, str), "a message means exit code 1"
    return exit_.value.code


def generated(root: Path) -> str:
    """The sync half of CLIENT."""
    return (root / "sample/_sync/client.py").read_text()


def test_result_is_python_that_never_waits(root: Path) -> None:
    """The sync half parses, on every Python, and has no trace of the other half in code or prose."""
    text = generated(root).removeprefix(unasync.HEADER.format(source="sample/_async/client.py"))
    ast.parse(text)
    assert "async" not in text.lower()
    assert "await" not in text


def test_await_inside_f_string(root: Path) -> None:
    """Code inside f-strings is rewritten too, and needless brackets are removed."""
    assert "f\"{name_of(self)}:{self.size(len('x')).real}\"" in generated(root)


def test_brackets_that_mean_something_stay(tmp_path: Path) -> None:
    """Only brackets around one call are dropped."""
    source = tmp_path / "sample/_async/x.py"
    source.parent.mkdir(parents=True)
    source.write_text("async def f():\n    return (await a() + b()).c, (await (a or b)()).c, (await a(b(c())))[0]\n")
    rules = [rule for rule in unasync.RULES if "await" in rule[0] or "def" in rule[0]]
    [text] = unasync.converted(tmp_path, TREES, rules).values()
    assert text.splitlines()[-1] == "    return (a() + b()).c, ((a or b)()).c, a(b(c()))[0]"


def test_string_annotations_and_docstrings(root: Path) -> None:
    """Names inside strings follow: annotations, docstrings, messages."""
    text = generated(root)
    assert 'parent: "Session | None" = None' in text
    assert '"""A sample: what Session does, and Sessions[int] too."""' in text
    assert '"""An Session over "redis"."""' in text


def test_imports_of_the_other_half(root: Path) -> None:
    """Imports name the sync half's modules, sorted as ruff sorts them."""
    text = generated(root)
    assert "from redis import Redis\n\nfrom sample._sync.names import name_of\n" in text
    assert "from contextlib import contextmanager\n" in text
    assert "from collections.abc import Iterator\n" in text
    assert "from sample.concurrency import in_thread\n" in text


def test_protocol_methods(root: Path) -> None:
    """Special methods and aclose() take their sync names."""
    text = generated(root)
    for name in (
        "def __enter__",
        "def __exit__",
        "def __next__",
        "self.redis.close()",
        "raise StopIteration",
    ):
        assert name in text


def test_unused_import_is_dropped(root: Path) -> None:
    """An import that only the async half needs is gone from the sync half."""
    (root / "sample/_async/names.py").write_text(f"from sample.concurrency import AsyncLock\n\n\n{NAMES}")
    run(root)
    text = (root / "sample/_sync/names.py").read_text()
    assert "import" not in text
    assert "def name_of(" in text


def test_header_names_source_and_command(root: Path) -> None:
    """Every generated file, empty ones too, says what it is made from, how, and not to edit it."""
    for name in ("__init__", "client", "names"):
        text = (root / f"sample/_sync/{name}.py").read_text()
        first, second = text.splitlines()[:2]
        assert first == f"# Generated from sample/_async/{name}.py by `python scripts/unasync.py`."
        assert second == "# Do not edit: change that file, then run: make sync"


def test_directories_below_and_function_names(root: Path) -> None:
    """Subdirectories are generated too, and test functions lose the word."""
    assert "def test_name() -> None:" in (root / "checks/_sync/deep/test_client.py").read_text()


def test_check_accepts_what_was_just_written(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Writing twice changes nothing, and the check agrees; caches of Python do not count."""
    (root / "sample/_sync/__pycache__").mkdir()
    (root / "sample/_sync/__pycache__/client.pyc").write_bytes(b"\xff")
    capsys.readouterr()
    run(root, "--check")
    run(root)
    assert capsys.readouterr().out == "4 files generated, 0 changed.\n" * 2


def test_check_finds_a_cut_file(root: Path) -> None:
    """Twelve lines missing at the end of a generated file are seen."""
    lines = generated(root).splitlines(keepends=True)
    (root / "sample/_sync/client.py").write_text("".join(lines[:-12]))
    message = failure(root, "--check")
    assert "sample/_sync/client.py: not up to date\n" in message
    assert "run: make sync" in message


def test_check_finds_stray_and_missing_files(root: Path) -> None:
    """A file that nothing generates is seen, whatever it is, and so is one that is not there."""
    (root / "sample/_sync/old.py").write_text("")
    (root / "checks/_sync/deep/data.bin").write_bytes(b"\xff")
    (root / "sample/_sync/names.py").unlink()
    lines = failure(root, "--check").splitlines()
    assert lines[:-1] == [
        "checks/_sync/deep/data.bin: stray",
        "sample/_sync/names.py: missing",
        "sample/_sync/old.py: stray",
    ]
    run(root)
    run(root, "--check")


def test_check_finds_a_missing_tree(root: Path) -> None:
    """A whole tree that is not there is seen."""
    shutil.rmtree(root / "checks/_sync")
    assert "checks/_sync/deep/test_client.py: missing" in failure(root, "--check")


@pytest.mark.parametrize("half", ["_async", "_sync"])
def test_check_finds_a_change_of_one_half(root: Path, half: str) -> None:
    """Touching either half alone is seen, and the check writes nothing."""
    path = root / "sample" / half / "names.py"
    path.write_text(path.read_text() + "\n\nMORE = 1\n")
    before = path.read_text()
    assert failure(root, "--check").startswith("sample/_sync/names.py: not up to date\n")
    assert path.read_text() == before


def test_rule_of_no_use_is_an_error(root: Path) -> None:
    """A rule that changes neither tree is refused, so that the list stays short."""
    with pytest.raises(SystemExit, match=r"unused rule: \\baread\\b"):
        unasync.converted(root, TREES, [*unasync.RULES, (r"\baread\b", "read")])


def test_rule_used_in_one_tree_only_is_in_use(root: Path) -> None:
    """Rules are counted over all trees."""
    assert unasync.converted(root, TREES, [*unasync.RULES, (r"test_client_name|name_of", "named")])


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("import asyncio", "asyncio"),
        ("# runs asynchronously", "asynchronously"),
        ('"""Callers must await() it."""', "await"),
        ("def handle_async(): ...", "handle_async"),
        ("MODE = 'ASYNC'", "ASYNC"),
        ("Asyncify = 1", "Asyncify"),
    ],
)
def test_word_without_a_rule_is_an_error(root: Path, line: str, word: str) -> None:
    """Text that still speaks of the async half is rejected, in comments and strings too; the error says where."""
    (root / "sample/_async/names.py").write_text(NAMES + line + "\n")
    assert f"sample/_async/names.py:3: no rule for {word!r}" in failure(root)


def test_source_that_is_not_python_is_an_error(root: Path) -> None:
    """A source that ruff cannot read stops the script; nothing is written."""
    (root / "sample/_async/names.py").write_text("def (:\n")
    assert "ruff cannot tidy" in failure(root)
    assert "name_of" in (root / "sample/_sync/names.py").read_text()


def test_misspelt_option_writes_nothing(root: Path) -> None:
    """An option the script does not know is refused."""
    (root / "sample/_sync/old.py").write_text("")
    with pytest.raises(SystemExit):
        run(root, "--chekc")
    assert (root / "sample/_sync/old.py").exists()


def test_ruff_stands_beside_python(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ruff of this very environment is used, never another version from PATH."""
    monkeypatch.setattr(sys, "executable", str(root / "python"))
    assert "There is no ruff beside" in failure(root, "--check")
