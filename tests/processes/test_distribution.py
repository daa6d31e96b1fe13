"""The sdist and the wheel: built, looked into, and installed into an empty environment."""

import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
STEM = f"{PROJECT['name'].replace('-', '_')}-{PROJECT['version']}"
NEEDED = (
    "chatmemory/py.typed",
    "chatmemory/storage/schema/0001_sessions.sql",
    "chatmemory/storage/schema/functions/append.sql",
    "chatmemory_langchain/py.typed",
    "chatmemory_openai_agents/py.typed",
    "chatmemory_training/py.typed",
)
USE = """
import chatmemory, chatmemory_langchain, chatmemory_training
from chatmemory import ChatMemory, MissingExtraError
from chatmemory.storage.schema.files import latest_version
print(chatmemory.__file__, latest_version())
"""


def _run(*command: object, cwd: Path) -> str:
    done = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    return folder


def test_the_wheel_holds_what_is_needed_and_nothing_else(built: Path) -> None:
    """All packages with their SQL and their types, the license, and no tests or notebooks."""
    wheel = zipfile.ZipFile(built / f"{STEM}-py3-none-any.whl")
    names = set(wheel.namelist())
    assert {*NEEDED, f"{STEM}.dist-info/licenses/LICENSE"} <= names
    tops = {name.partition("/")[0] for name in names}
    assert tops == {"chatmemory", "chatmemory_langchain", "chatmemory_openai_agents", "chatmemory_training",
                    f"{STEM}.dist-info"}  # fmt: skip
    metadata = wheel.read(f"{STEM}.dist-info/METADATA").decode()
    assert f"Name: {PROJECT['name']}\n" in metadata
    assert "License-Expression: MIT" in metadata


def test_the_sdist_has_the_license_and_no_file_of_this_machine(built: Path) -> None:
    """Everything in it is in the project, below one folder."""
    with tarfile.open(built / f"{STEM}.tar.gz") as sdist:
        names = {name.removeprefix(f"{STEM}/") for name in sdist.getnames()}
    assert {"LICENSE", "README.md", "CHANGELOG.md", "pyproject.toml"} <= names
    assert not [name for name in names if name.startswith((".venv", "..", "/")) or "__pycache__" in name]


def test_the_wheel_works_in_an_empty_environment(built: Path, tmp_path: Path) -> None:
    """It is imported from there, and its command answers; the packages it needs are this environment's."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv/bin/python"
    wheel = built / f"{STEM}-py3-none-any.whl"
    _run(sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps", wheel, cwd=tmp_path)
    installed = Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    assert "chatmemory" in {path.name for path in installed.iterdir()}
    needed = [path for path in sys.path if path.endswith("site-packages")]
    (installed / "needed.pth").write_text("\n".join(needed))
    where, version = _run(python, "-c", USE, cwd=tmp_path).split()
    assert Path(where).is_relative_to(installed)
    assert int(version) > 0
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CHATMEMORY_")}
    shown = subprocess.run(
        [tmp_path / "venv/bin/chatmemory", "sessions", "--help"], env=environment, capture_output=True, check=True
    )
    assert b"--tenant" in shown.stdout
