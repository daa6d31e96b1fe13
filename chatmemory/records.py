"""Types shared by all packages: JSON, records that a notebook can show, pages of a list."""

# No `from __future__ import annotations`: public() moves these classes to another module name,
# where typing.get_type_hints could not resolve annotations that are strings.
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Generic, Literal, Self, TypeAlias, TypeVar, overload

from chatmemory._public import public
from chatmemory.json_form import Record, read
from chatmemory.notebook.html import MAX_CELL_CHARACTERS, Table, to_html

if TYPE_CHECKING:
    import pandas


Json: TypeAlias = "bool | int | float | str | list[Any] | dict[str, Any] | None"
JsonObject: TypeAlias = dict[str, Any]
Learns: TypeAlias = Literal["messages", "result", "nothing"]  # the source of a session's long-term memories

MAX_ROWS = 50  # of a list in a notebook


class Shown(Record):
    """A record that can be shown in a notebook."""

    __slots__ = ()

    def _row(self) -> Mapping[str, object]:
        """Return the record as one row of a list, by column."""
        return {"": shorten(repr(self), MAX_CELL_CHARACTERS)}

    def _tables(self) -> list[Table]:
        """Return the record alone: by default, a list with one row."""
        return [list_table([self])]

    def _repr_html_(self) -> str:
        return to_html(self._tables())


def list_table(records: Sequence[Any], caption: str = "") -> Table:
    """Make a table of records of one class, the first 50 of them."""
    if not records:
        return Table((), (), caption, "nothing here")
    rows = [record._row() if isinstance(record, Shown) else {"": repr(record)} for record in records[:MAX_ROWS]]
    footer = f"and {len(records) - MAX_ROWS:,} more" if len(records) > MAX_ROWS else ""
    return Table(list(rows[0]), [list(row.values()) for row in rows], caption, footer)


T = TypeVar("T")


def shorten(text: str, width: int) -> str:
    """Cut `text` to at most `width` characters, at a word where there is one, and end it in … if so."""
    if len(text) <= width:
        return text
    cut = text[: width - 1]
    words = cut.rpartition(" ")[0] if text[width - 1] != " " else cut
    return (words or cut).rstrip() + "…"


@public
@dataclass(frozen=True, slots=True)
class Page(Shown, Generic[T], Sequence[T]):
    """One page of a list.

    Attributes:
        items: The items of this page.
        limit: How many items a page holds at most.
        offset: How many items were skipped before this page; None: a cursor began it.
        next: The cursor of the next page, for the same call; None: this is the last page.
        total: How many items all pages hold; None: not asked for.
    """

    items: tuple[T, ...]
    limit: int
    offset: int | None = 0
    next: str | None = None
    total: int | None = None

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a table with a row for each item.

        Raises:
            MissingExtraError: pandas is not installed.
        """
        from chatmemory.notebook.dataframes import to_pandas

        return to_pandas(self.items)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], item: type[Record] | None = None) -> Self:
        """Read a page that to_dict() rendered.

        Args:
            values: The JSON object.
            item: The class of the items; None: they stay JSON objects.

        Raises:
            InvalidInputError: A field is missing, or has another type.
        """
        page = read(cls, values)
        return page if item is None else replace(page, items=tuple(map(item.from_dict, page.items)))  # type: ignore[arg-type]

    def _tables(self) -> list[Table]:
        return [list_table(self.items, self._extent())]

    def _extent(self) -> str:
        """Return which part of the list this is."""
        whole = "" if self.total is None else f" of {self.total:,}"
        more = ", more follow" if self.next else ""
        if self.offset is None:
            return f"{len(self.items):,}{whole}{more}"
        return f"{self.offset + bool(self.items):,} to {self.offset + len(self.items):,}{whole}{more}"

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[T, ...]: ...
    def __getitem__(self, index: int | slice) -> T | tuple[T, ...]:
        return self.items[index]

    def __repr__(self) -> str:
        lines = "".join(f"\n  {item!r}" for item in self.items)
        return f"<Page {self._extent()}>{lines}"


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def name_key(row: Sequence[Any]) -> tuple[datetime, str]:
    """Return what a list by ids is sorted by; the time is the same for all."""
    return EPOCH, row[0]


@public
@dataclass(frozen=True, slots=True)
class UserInfo(Shown):
    """A user of a tenant.

    Attributes:
        id: The user's id.
        sessions: The number of sessions that are not deleted.
        last_active_at: The last activity of these; None: there is none.
    """

    id: str
    sessions: int
    last_active_at: datetime | None


@public
@dataclass(frozen=True, slots=True)
class TenantInfo(Shown):
    """A tenant with at least one session.

    Attributes:
        id: The tenant's id.
        last_active_at: The last activity of its sessions; None: all are deleted.
    """

    id: str
    last_active_at: datetime | None


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def to_json(value: Any) -> str:
    """Return a value as compact JSON text."""
    return _encode(value)
