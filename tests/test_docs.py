"""Docs that cannot rot: snippets run, pages are current, links lead somewhere."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import chatmemory
from chatmemory import errors
from tests.fixtures.openai_server import KEY, OpenAIServer, Reply, said

ROOT = Path(__file__).parent.parent
PAGES = sorted(
    path for path in [ROOT / "README.md", ROOT / "integrations/README.md", *ROOT.glob("docs/**/*.md")] if path.exists()
)


def snippets(page: Path) -> list[str]:
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)


def expected_output(snippet: str) -> list[str]:
    """Return the expected output in the comments below a print."""
    return re.findall(r"^ {4}# (.*)$", snippet, re.MULTILINE)


def _travel_desk(body: dict[str, Any]) -> Reply:
    """Answer with what was recalled, if it was."""
    knows = "Lisbon in July" in json.dumps(body)
    return said("Light clothes and sun cream: in July it is hot there." if knows else "When?")


EXAMPLES = [(page, index) for page in PAGES for index in range(len(snippets(page)))]


@pytest.mark.parametrize(("page", "index"), EXAMPLES, ids=lambda value: getattr(value, "name", str(value)))
def test_snippets_run_and_print_what_they_say(
    page: Path, index: int, postgres_url: str, tmp_path: Path, openai_server: OpenAIServer
) -> None:
    """Each Python block of README and docs runs as it stands, in a process of its own; a server plays the model."""
    snippet = snippets(page)[index]
    vocabularies = {"TIKTOKEN_CACHE_DIR": os.environ["TIKTOKEN_CACHE_DIR"]}
    model = {"OPENAI_BASE_URL": openai_server.url, "OPENAI_API_KEY": KEY}
    openai_server.chat = _travel_desk
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", snippet],
        env={"CHATMEMORY_POSTGRES_URL": postgres_url, "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        | vocabularies
        | model,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for line in expected_output(snippet):
        assert line in done.stdout.splitlines()


def test_readme_begins_with_what_it_is_a_command_and_ten_lines() -> None:
    """Title, two sentences, the command, the code: in this order, and the code is short."""
    text = (ROOT / "README.md").read_text()
    title, intro, *rest = text.split("\n\n")
    assert title == "# chatmemory"
    assert len(re.findall(r"[.!?](?:\s|$)", intro)) == 2
    assert rest[0].startswith("```console\n$ make demo")
    code = [line for line in snippets(ROOT / "README.md")[0].splitlines() if line.strip()]
    assert len([line for line in code if not line.strip().startswith("#")]) <= 10


def test_pages_made_from_code_are_current() -> None:
    """Settings and errors say what the code says."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/reference.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_links_lead_somewhere() -> None:
    """Every relative link names a file that is there."""
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_make_targets_of_the_readme_exist() -> None:
    """Every `make x` that the README names is a target."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"make ([a-z]+)", (ROOT / "README.md").read_text())) <= targets


def test_the_error_tree_is_the_tree_of_classes() -> None:
    """The drawing in errors.py has each class, at the depth it has, and no other."""
    drawn = {
        match[2]: len(match[1]) // 4 for match in re.finditer(r"^([│├└─ ]*)(\w+Error)\b", errors.__doc__ or "", re.M)
    }
    real = {
        name: len([base for base in value.__mro__ if issubclass(base, chatmemory.ChatMemoryError)]) - 1
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, chatmemory.ChatMemoryError)
    }
    assert drawn == real


def test_where_things_go_names_what_is_there() -> None:
    """Each path in docs/where-things-go.md exists, each room and package is named in it, and it fits on a screen."""
    page = (ROOT / "docs/where-things-go.md").read_text()
    paths = re.findall(r"`((?:chatmemory|integrations)/[\w/.]*)`", page)
    assert not [path for path in paths if not (ROOT / path).exists()]
    rooms = {path.name for path in (ROOT / "chatmemory").iterdir() if (path / "__init__.py").exists()}
    unnamed = [room for room in rooms - {"_async", "_sync", "admin", "embedded"} if f"chatmemory/{room}/" not in page]
    assert not [room for room in unnamed if f"`{room}`" not in page]
    assert len(page.splitlines()) <= 40
