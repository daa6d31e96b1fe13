"""Other releases of this library, each in a folder and an environment of its own."""

import io
import re
import shutil
import subprocess
import sys
import tarfile
import venv
from pathlib import Path

from chatmemory.storage.schema.files import Release, latest_version

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = Path("chatmemory/storage/schema")
MARK = "-- the function of a later release"


class Installed:
    """A tree, and a virtual environment in which it is the chatmemory that is imported."""

    def __init__(self, tree: Path, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        [packages] = folder.glob("lib/python*/site-packages")
        paths = [tree, tree / "integrations", *(path for path in sys.path if path.endswith("site-packages"))]
        (packages / "tree.pth").write_text("".join(f"{path}\n" for path in paths))
        self.tree = tree
        self.python = str(folder / "bin/python")

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start one of its processes."""
        command = [self.python, *arguments]
        return subprocess.Popen(command, cwd=self.tree, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def migrate(self, url: str) -> str:
        """Run its `chatmemory migrate`; return what it prints."""
        command = [self.python, "-m", "chatmemory.cli", "migrate", "--postgres", url]
        done = subprocess.run(command, cwd=self.tree, text=True, capture_output=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


def present(folder: Path) -> Installed:
    """This tree."""
    shutil.copytree(ROOT / "chatmemory", folder / "tree/chatmemory", ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tree/integrations").mkdir()
    return Installed(folder / "tree", folder / "venv")


def released(release: Release, folder: Path) -> Installed:
    """A release, from the commit that the file names."""
    archive = subprocess.run(
        ["git", "archive", "--format=tar", release.commit, "chatmemory", "integrations"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder / "tree", filter="data")
    return Installed(folder / "tree", folder / "venv")


def following(folder: Path, *, rules: bool = True) -> Installed:
    """The release after this tree: a table and a column more, a newer function, one under a new name, other rules."""
    installed = present(folder)
    schema = installed.tree / SCHEMA
    with (schema / "RELEASES").open("a") as file:
        file.write("0.0.0 present\n")
    (schema / f"{latest_version() + 1:04}_following.sql").write_text(
        "alter table chatmemory.sessions add column following text default 'there';\n"
        "create table chatmemory.following (tenant_id text not null, id text not null, primary key (tenant_id, id));\n"
    )
    append = schema / "functions/append_turn.sql"
    text = re.sub(r"revision: (\d+)", lambda found: f"revision: {int(found[1]) + 1}", append.read_text(), count=1)
    append.write_text(text.replace("$$\n", f"$$\n{MARK}\n", 1))
    _rename(installed, "messages_after", "messages_after_v2")
    if rules:
        _change_rules(schema / "access.sql")
    return installed


def _change_rules(access: Path) -> None:
    text = re.sub(r"revision: (\d+)", lambda found: f"revision: {int(found[1]) + 1}", access.read_text(), count=1)
    rule = "), worker(relname, privileges, command) as (\n    values "
    assert rule in text
    access.write_text(text.replace(rule, rule + "('following', array['SELECT'], 'all'), "))


def one_but_next(folder: Path) -> Installed:
    """The release after that: it drops what only this tree needs, and so says that this tree is too old."""
    installed = following(folder)
    schema = installed.tree / SCHEMA
    with (schema / "RELEASES").open("a") as file:
        file.write("0.0.1 following\n")
    (schema / "functions/messages_after.sql").unlink()
    files = schema / "files.py"
    text = re.sub(r"^OLDEST_RELEASE = .*", "OLDEST_RELEASE = 2", files.read_text(), flags=re.MULTILINE)
    files.write_text(re.sub(r"^RETIRED: .*", 'RETIRED = ("messages_after",)', text, flags=re.MULTILINE))
    return installed


def _rename(installed: Installed, old: str, new: str) -> None:
    """Have a tree call a function under a new name; the old one stays, for the release before."""
    function = installed.tree / SCHEMA / f"functions/{old}.sql"
    function.with_stem(new).write_text(function.read_text().replace(f"chatmemory.{old}(", f"chatmemory.{new}("))
    changed = 0
    for path in (installed.tree / "chatmemory/storage/queries").glob("*.py"):
        text = path.read_text()
        changed += text.count(f"chatmemory.{old}(")
        path.write_text(text.replace(f"chatmemory.{old}(", f"chatmemory.{new}("))
    assert changed, f"no query calls {old}: name another function in following()"
