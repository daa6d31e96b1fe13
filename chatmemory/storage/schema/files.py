"""The files of the schema: tables by number, functions by revision, releases by commit."""

import re
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

_HERE = files(__package__ or __name__)
_LAST_WITH_ROLES = 4  # the last numbered file that names roles
_HEADER = re.compile(r"-- revision: (\d+)(?:; owner: (app|worker))?\n")

# The oldest release whose library works with this schema. Raise it to the number of the release before this one when
# something goes that an older library needs: a retired function, a column.
OLDEST_RELEASE = 1

# Functions that the release before this one no longer calls: they are dropped. Files of functions that only the release
# before calls stay until then.
RETIRED: tuple[str, ...] = ()


def read(name: str) -> str:
    """The text of one file of this folder."""
    return _HERE.joinpath(name).read_text(encoding="utf-8")


def _checksum(text: str) -> str:
    return sha256(text.encode()).hexdigest()


class Migration(NamedTuple):
    """One numbered file: tables and columns."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Of the file's text: the same number must mean the same text."""
        return _checksum(self.text)

    @property
    def sql(self) -> str:
        """The statements to run. The first files name roles of the whole server; access.sql declares what they did."""
        if self.version > _LAST_WITH_ROLES:
            return self.text
        return self.text.replace("chatmemory_app", "current_user").replace("chatmemory_worker", "current_user")


class Function(NamedTuple):
    """One file of a function; its first line says its revision, and which of the two roles it runs as."""

    name: str
    revision: int
    owner: str
    text: str

    @property
    def checksum(self) -> str:
        """Of the file's text: two unreleased texts may have the same revision."""
        return _checksum(self.text)


class Release(NamedTuple):
    """A released version, and the commit it was made from."""

    version: str
    commit: str


@cache
def migrations(folder: str = ".") -> tuple[Migration, ...]:
    """The numbered files of a folder, in order."""
    found = []
    for file in _HERE.joinpath(folder).iterdir():
        match = re.fullmatch(r"(\d{4})_\w+\.sql", file.name)
        if match:
            found.append(Migration(int(match[1]), file.name, file.read_text(encoding="utf-8")))
    return tuple(sorted(found))


@cache
def functions(folder: str = "functions") -> tuple[Function, ...]:
    """The functions of a folder, by name."""
    found = []
    for file in sorted(_HERE.joinpath(folder).iterdir(), key=lambda file: file.name):
        text = file.read_text(encoding="utf-8")
        header = _HEADER.match(text)
        if header:
            found.append(Function(file.name.removesuffix(".sql"), int(header[1]), header[2], text))
    return tuple(found)


def revision(name: str) -> int:
    """The revision that a file of this folder says it is."""
    header = _HEADER.match(read(name))
    assert header is not None
    return int(header[1])


@cache
def releases() -> tuple[Release, ...]:
    """All releases before this tree, oldest first."""
    lines = [line.split() for line in read("RELEASES").splitlines()]
    return tuple(Release(*words) for words in lines if words and not words[0].startswith("#"))


def release_number() -> int:
    """Which release this tree is, or will be: 1 for the first."""
    return len(releases()) + 1


def latest_version() -> int:
    """The number of the newest migration of this library."""
    return migrations()[-1].version
