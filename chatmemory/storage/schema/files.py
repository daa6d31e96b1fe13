"""The files of the schema: numbered migrations, functions with revisions, and the list of releases."""

import re
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import NamedTuple

from chatmemory.storage.schema.pins import with_pins

_HERE = files(__package__ or __name__)
_LAST_WITH_ROLES = 4  # the last numbered file that names roles
_HEADER = re.compile(r"-- revision: (\d+)(?:; owner: (app|worker))?\n")

# The oldest release that works with this schema. Raise it to the number of the release before this one when a function
# or a column is removed that an older release needs.
OLDEST_RELEASE = 1

# Functions to drop, since the release before this one no longer calls them. A function that only that release calls
# keeps its file until then.
RETIRED: tuple[str, ...] = ("read_messages",)


def read(name: str) -> str:
    """Return the text of a file in this folder, with the settings of schema/pins.py."""
    return with_pins(_HERE.joinpath(name).read_text(encoding="utf-8"))


def _checksum(text: str) -> str:
    return sha256(text.encode()).hexdigest()


class Migration(NamedTuple):
    """One numbered file: tables and columns."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """The checksum of the text: an applied number must always have the same text."""
        return _checksum(self.text)

    @property
    def sql(self) -> str:
        """The statements to run. Roles in the first files are replaced: access.sql declares the rights today."""
        if self.version > _LAST_WITH_ROLES:
            return self.text
        return self.text.replace("chatmemory_app", "current_user").replace("chatmemory_worker", "current_user")


class Function(NamedTuple):
    """The file of one function; its first line has its revision and the role it runs as."""

    name: str
    revision: int
    owner: str
    text: str

    @property
    def checksum(self) -> str:
        """The checksum of the text: two unreleased texts may have the same revision."""
        return _checksum(self.text)


class Release(NamedTuple):
    """A release and its commit."""

    version: str
    commit: str


@cache
def migrations(folder: str = ".") -> tuple[Migration, ...]:
    """Return the numbered files of a folder, in order."""
    found = []
    for file in _HERE.joinpath(folder).iterdir():
        match = re.fullmatch(r"(\d{4})_\w+\.sql", file.name)
        if match:
            found.append(Migration(int(match[1]), file.name, file.read_text(encoding="utf-8")))
    return tuple(sorted(found))


@cache
def functions(folder: str = "functions") -> tuple[Function, ...]:
    """Return the functions of a folder, sorted by name."""
    found = []
    for file in sorted(_HERE.joinpath(folder).iterdir(), key=lambda file: file.name):
        text = with_pins(file.read_text(encoding="utf-8"))
        header = _HEADER.match(text)
        if header:
            found.append(Function(file.name.removesuffix(".sql"), int(header[1]), header[2], text))
    return tuple(found)


def revision(name: str) -> int:
    """Return the revision in the first line of a file."""
    header = _HEADER.match(read(name))
    assert header is not None
    return int(header[1])


@cache
def releases() -> tuple[Release, ...]:
    """Return all releases before this tree, oldest first."""
    lines = [line.split() for line in read("RELEASES").splitlines()]
    return tuple(Release(*words) for words in lines if words and not words[0].startswith("#"))


def release_number() -> int:
    """Return the number of the release that this tree is or will be, 1 for the first."""
    return len(releases()) + 1


def latest_version() -> int:
    """Return the number of this library's newest migration."""
    return migrations()[-1].version
