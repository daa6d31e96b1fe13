"""The notebooks, executed from a clean kernel; and the library inside Jupyter's running event loop."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


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


CELLS = [
    "from chatmemory import AsyncChatMemory, ChatMemory\nmemory = ChatMemory.open()\n"
    "session = memory.tenant('acme').sessions.create(user_id='ann')\nprint(session.append('user', 'sync').seq)",
    "other = AsyncChatMemory.open()\nagain = await other.tenant('acme').sessions.get(session.id)\n"
    "print((await again.append('user', 'async')).seq)",
    "while True:\n    session.append('user', 'on and on')",
    "session.refresh()\nlast = session.append('user', 'after the interrupt')\n"
    "print([m.seq for m in session.messages()] == list(range(1, last.seq + 1)), (await again.history(1))[0].text)\n"
    "memory.close()\nawait other.close()",
]


@pytest.mark.filterwarnings("ignore")
def test_in_a_running_loop_and_after_an_interrupt() -> None:
    """Sync and async calls work in the kernel's loop; an interrupt in the middle of an append breaks nothing."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS])
    client = NotebookClient(notebook, timeout=60, kernel_name="python3", interrupt_on_timeout=True)
    with client.setup_kernel():
        for index in (0, 1):
            client.execute_cell(notebook.cells[index], index)
        client.timeout, client.allow_errors = 3, True
        client.execute_cell(notebook.cells[2], 2)
        client.timeout, client.allow_errors = 60, False
        client.execute_cell(notebook.cells[3], 3)
    said = [cell.outputs[0].get("text") for cell in notebook.cells]
    assert said[:2] == ["1\n", "2\n"]
    assert notebook.cells[2].outputs[-1].ename == "KeyboardInterrupt"
    assert said[3] == "True after the interrupt\n"
