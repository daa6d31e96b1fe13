"""The changes a release may make to the schema of the release before it."""

import io
import re
import subprocess
import tarfile
from pathlib import Path

from chatmemory.storage.schema.files import OLDEST_RELEASE, RETIRED, release_number, releases

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = "chatmemory/storage/schema"
Files = dict[str, str]


def forbidden(old: Files, new: Files, retired: tuple[str, ...] = ()) -> list[str]:
    """The changes that would break a rolling upgrade, between the SQL files of two releases."""
    return [problem for path in sorted(old) if (problem := _change(path, old[path], new.get(path), retired))]


def _change(path: str, old: str, new: str | None, retired: tuple[str, ...]) -> str | None:
    if old == new:
        return None
    if re.search(r"\d{4}_\w+\.sql$", path):
        return f"{path} is released and has changed"
    if new is None:
        gone = Path(path).stem not in retired and _revision(old) is not None
        return f"{path} is gone: keep the function for a release, then name it in RETIRED" if gone else None
    if _revision(old) is not None and (_revision(new) or 0) <= (_revision(old) or 0):
        return f"{path} has changed: raise its revision"
    if _signature(new) != _signature(old):
        return f"{path} has other arguments or columns: give the function a new name, and keep this one for a release"
    return None


def _revision(text: str) -> int | None:
    found = re.match(r"-- revision: (\d+)", text)
    return int(found[1]) if found else None


def _signature(text: str) -> str | None:
    found = re.search(r"create or replace function (.*?)\blanguage\b", text, re.DOTALL)
    return " ".join(found[1].split()) if found else None


def text(tar: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    """A file of an archive."""
    file = tar.extractfile(member)
    assert file is not None
    return file.read().decode()


def test_released_files_change_only_as_a_rolling_upgrade_allows() -> None:
    """Numbered files never change, functions with a higher revision and the same arguments only."""
    for release in releases()[-1:]:
        archive = subprocess.run(
            ["git", "archive", "--format=tar", release.commit, SCHEMA], cwd=ROOT, capture_output=True, check=True
        )
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            old = {each.name: text(tar, each) for each in tar if each.name.endswith(".sql")}
        new = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / SCHEMA).rglob("*.sql")}
        assert not forbidden(old, new, RETIRED)


def test_the_last_release_may_go_on_working() -> None:
    """The schema names no release as the oldest that is newer than the last one."""
    assert 1 <= OLDEST_RELEASE <= max(1, release_number() - 1)


def test_what_is_forbidden_is_found() -> None:
    """Each kind of change that breaks a rolling upgrade, beside one that does not."""
    body = "-- revision: {}; owner: app\ncreate or replace function f(a text) returns {} language sql as $$ {} $$;\n"
    old = {"functions/f.sql": body.format(1, "text", "select a"), "0001_t.sql": "create table t ();"}
    assert forbidden(old, old) == []
    assert forbidden(old, {**old, "functions/f.sql": body.format(2, "text", "select 'b'")}) == []
    assert forbidden(old, {**old, "functions/g.sql": body.format(1, "text", "select a")}) == []
    for changed, problem in (
        ({"functions/f.sql": body.format(1, "text", "select 'b'")}, "raise its revision"),
        ({"functions/f.sql": body.format(2, "json", "select 'b'")}, "other arguments or columns"),
        ({"0001_t.sql": "create table t (a text);"}, "released and has changed"),
    ):
        [found] = forbidden(old, {**old, **changed})
        assert problem in found
    [found] = forbidden(old, {"0001_t.sql": old["0001_t.sql"]})
    assert "name it in RETIRED" in found
    assert forbidden(old, {"0001_t.sql": old["0001_t.sql"]}, retired=("f",)) == []
