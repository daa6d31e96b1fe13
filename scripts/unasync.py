"""Generate the sync half, chatmemory/_sync and tests/_sync, from the async half; --check only compares."""

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parent.parent
TREES = {"chatmemory/_async": "chatmemory/_sync", "tests/_async": "tests/_sync"}
HEADER = """\
# Generated from {source} by `python scripts/unasync.py`.
# Do not edit: change that file, then run: make sync
"""
CALL = r"[\w.]+\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)"  # one call, its arguments nested two deep

Rules = Sequence[tuple[str, str]]
RULES: Rules = [
    (r"\basync (?=(?:def|with|for)\b)", ""),
    (rf"(?<!\w)\(await ({CALL})\)(?=[.\[])", r"\1"),  # (await call()).x needs its brackets, call().x does not
    (r"\bawait ", ""),
    (r"\b(__)?a(enter|exit|iter|next|close)(__)?\b", r"\1\2\3"),
    (r"\b(?:async(contextmanager)|(redis)\.asyncio)\b", r"\1\2"),
    (r"Async(?=[A-Z])", ""),  # AsyncSession, StopAsyncIteration, TestAsyncSession
    (r"async_(?=\w)", ""),  # async_in_thread, test_async_iteration
    (r"\b_async\b", "_sync"),
]
LEFTOVER = re.compile(r"\w*(?:async|await)\w*", re.IGNORECASE)
STATE = {(True, False): "missing", (False, True): "stray", (True, True): "not up to date"}  # wanted, found


def converted(root: Path, trees: Mapping[str, str] = TREES, rules: Rules = RULES) -> dict[str, str]:
    """Return the sync half by file; unused rules and leftover async words are errors."""
    files, used, problems = {}, set(), []
    for source, target in trees.items():
        for path in sorted((root / source).rglob("*.py")):
            name, text = path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")
            for pattern, replacement in rules:
                text, count = re.subn(pattern, replacement, text)
                if count:
                    used.add(pattern)
            for number, line in enumerate(text.splitlines(), start=1):
                problems += [f"{name}:{number}: no rule for {word!r}" for word in LEFTOVER.findall(line)]
            files[target + name.removeprefix(source)] = HEADER.format(source=name) + text
    problems += [f"unused rule: {pattern}" for pattern, _ in rules if pattern not in used]
    if problems:
        sys.exit("\n".join([*problems, "Change the async half, or RULES in scripts/unasync.py."]))
    return files


def tidied(root: Path, files: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files after ruff has sorted imports, removed unused ones and formatted."""
    ruff = shutil.which("ruff", path=str(Path(sys.executable).parent))
    if ruff is None:
        sys.exit(f"There is no ruff beside {sys.executable}; run: make sync")
    with TemporaryDirectory() as scratch:
        for name, text in files.items():
            path = Path(scratch, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", newline="\n")
            (
                path.parent.parent / "__init__.py"
            ).touch()  # a package, as in the tree, so that first-party imports sort last
        options = ["--quiet", "--no-cache", f"--config={ROOT / 'pyproject.toml'}", scratch]
        for command in (["check", "--select=F401,I", "--fix"], ["format"]):
            if subprocess.run([ruff, *command, *options], cwd=root).returncode:
                sys.exit("ruff cannot tidy the sync half; see above.")
        return {name: Path(scratch, name).read_bytes() for name in files}


def main(arguments: Sequence[str], root: Path = ROOT, trees: Mapping[str, str] = TREES) -> None:
    """Write the trees or, with --check, compare them: missing and stray files count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if there is something to write")
    check = parser.parse_args(arguments).check
    wanted = tidied(root, converted(root, trees))
    paths = [path for target in trees.values() for path in (root / target).rglob("*") if path.is_file()]
    found = {p.relative_to(root).as_posix(): p.read_bytes() for p in paths if "__pycache__" not in p.parts}
    differing = sorted(name for name in wanted.keys() | found if wanted.get(name) != found.get(name))
    if differing and check:
        lines = [f"{name}: {STATE[name in wanted, name in found]}" for name in differing]
        sys.exit("\n".join([*lines, "The sync half is not what the async half makes; run: make sync"]))
    for name in differing:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wanted[name]) if name in wanted else path.unlink()
    print(f"{len(wanted)} files generated, {len(differing)} changed.")


if __name__ == "__main__":
    main(sys.argv[1:])
